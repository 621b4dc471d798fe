# SPDX-License-Identifier: Apache-2.0
"""config.json: a Hugging Face LlamaConfig plus the object `mor`; without `mor` a plain Llama.

`num_hidden_layers` is the effective depth L: the number of layers a token passes that runs every
recursion. Sharing says which weights effective layer i uses (b: layers of the shared block,
N: recursions):

  strategy         b          weights of layer i                        recursion of i (from 0)
  cycle            L/N        i % b                                     i / b
  middle_cycle     (L-2)/N    0 first, L-1 last, else 1 + (i-1) % b     (i-1) / b
  sequence         L/N        i / N                                     i % N
  middle_sequence  (L-2)/N    ends as above, else 1 + (i-1) / N         (i-1) % N
  none (vanilla)   L          i                                         -
"""

from __future__ import annotations

import dataclasses
import json
import math
import pathlib
from typing import Any

SHARINGS = ("cycle", "middle_cycle", "sequence", "middle_sequence")
KV_MODES = ("recursion_wise", "shared", "shared_update")
ATTENTION_WEIGHTS = ("tied", "per_recursion")
ROUTER_TYPES = ("expert_choice", "token_choice")
NETWORKS = ("linear", "mlp", "wide_mlp")
FUNCTIONS = {"expert_choice": ("sigmoid", "tanh", "none"), "token_choice": ("softmax", "sigmoid")}
GATINGS = ("weighted", "unweighted")
SAMPLINGS = ("aux_loss", "aux_router")
BALANCINGS = ("none", "loss_free")
ROPE_TYPES = ("default", "linear", "llama3")


@dataclasses.dataclass(frozen=True)
class RopeScaling:
    """How rotary frequencies differ from theta^(-2i/D); see forward.rotary_frequencies."""

    type: str  # "linear" | "llama3"
    factor: float
    # llama3 only: bounds of the transition, in waves over `original` positions.
    low: float = 0.0
    high: float = 0.0
    original: int = 0


class ConfigError(ValueError):
    """config.json says something that no model defined here means."""


@dataclasses.dataclass(frozen=True)
class RouterConfig:
    type: str
    network: str
    function: str
    gating: str
    alpha: float | None  # None iff function is "none"
    temperature: float
    sampling: str | None  # expert_choice only
    threshold: float  # expert_choice only: passes iff the deciding logit >= ln(p / (1 - p))
    balancing: str  # "none" | "loss_free"; loss_free has a tensor router_bias


@dataclasses.dataclass(frozen=True)
class MorConfig:
    sharing: str
    num_recursions: int
    kv_mode: str
    attention_weights: str
    router: RouterConfig | None  # None: fixed depth


@dataclasses.dataclass(frozen=True)
class Config:
    vocab_size: int
    hidden_size: int
    intermediate_size: int
    num_hidden_layers: int
    num_attention_heads: int
    num_key_value_heads: int
    head_dim: int
    rms_norm_eps: float
    rope_theta: float
    rope_scaling: RopeScaling | None
    tie_word_embeddings: bool
    mor: MorConfig | None

    @property
    def recursions(self) -> int:
        """N; 1 for a vanilla model."""
        return self.mor.num_recursions if self.mor else 1

    @property
    def has_ends(self) -> bool:
        """Whether a first and a last layer of their own surround the shared ones."""
        return self.mor is not None and self.mor.sharing.startswith("middle_")

    @property
    def repeats_layers(self) -> bool:
        """`sequence` and `middle_sequence`: each layer is repeated in place."""
        return self.mor is not None and self.mor.sharing.endswith("sequence")

    @property
    def passes(self) -> int:
        """How often a token may run the block, which is its greatest depth.

        Models that repeat layers in place run all their effective layers in one pass.
        """
        return 1 if self.repeats_layers else self.recursions

    @property
    def pass_layers(self) -> int:
        """Effective layers of one pass."""
        return (self.num_hidden_layers - 2 * self.has_ends) // self.passes

    def weights_of_layer(self, i: int) -> int:
        """Which weights effective layer i uses: the table of this file's head."""
        last = self.num_hidden_layers - 1
        if self.mor is None:
            return i
        if self.has_ends:
            if i in (0, last):
                return i
            b = (last - 1) // self.recursions
            return 1 + ((i - 1) // self.recursions if self.repeats_layers else (i - 1) % b)
        b = (last + 1) // self.recursions
        return i // self.recursions if self.repeats_layers else i % b


class _Object:
    """A JSON object whose fields are taken one by one, with their types checked."""

    def __init__(self, fields: Any, where: str):
        if not isinstance(fields, dict):
            raise ConfigError(f"{where or 'config.json'}: expected an object, found {fields!r}")
        self._fields = dict(fields)
        self._where = where

    def name(self, key: str) -> str:
        return f"{self._where}.{key}" if self._where else key

    def has(self, key: str) -> bool:
        return self._fields.get(key) is not None

    def _take(self, key: str, default: Any) -> Any:
        value = self._fields.pop(key, None)
        if value is None:
            if default is None:
                raise ConfigError(f"{self.name(key)}: missing")
            return default
        return value

    def integer(self, key: str, default: int | None = None) -> int:
        value = self._take(key, default)
        if isinstance(value, bool) or not isinstance(value, int) or value < 1:
            raise ConfigError(f"{self.name(key)}: expected an integer >= 1, found {value!r}")
        return value

    def number(self, key: str, low: float, high: float, default: float | None = None) -> float:
        """A number in (low, high); a bound that is 0 or 1 and named by `threshold` is included."""
        value = self._take(key, default)
        inside = (
            isinstance(value, (int, float))
            and not isinstance(value, bool)
            and math.isfinite(value)
            and (low < value < high or (key == "threshold" and low <= value <= high))
        )
        if not inside:
            raise ConfigError(
                f"{self.name(key)}: expected a number in {low}..{high}, found {value!r}"
            )
        return float(value)

    def choice(self, key: str, choices: tuple[str, ...], default: str | None = None) -> str:
        value = self._take(key, default)
        if value not in choices:
            raise ConfigError(
                f"{self.name(key)}: expected one of {', '.join(choices)}, found {value!r}"
            )
        return value

    def boolean(self, key: str, default: bool) -> bool:
        value = self._take(key, default)
        if not isinstance(value, bool):
            raise ConfigError(f"{self.name(key)}: expected true or false, found {value!r}")
        return value

    def pop(self, key: str) -> Any:
        return self._fields.pop(key, None)

    def expect_empty(self) -> None:
        for key in self._fields:
            raise ConfigError(f"{self.name(key)}: unknown field, or one that does not apply here")


def _parse_router(fields: Any) -> RouterConfig:
    o = _Object(fields, "mor.router")
    kind = o.choice("type", ROUTER_TYPES)
    function = o.choice("function", FUNCTIONS[kind])
    router = RouterConfig(
        type=kind,
        network=o.choice("network", NETWORKS),
        function=function,
        gating=o.choice("gating", GATINGS),
        alpha=None if function == "none" else o.number("alpha", 0, math.inf),
        temperature=o.number("temperature", 0, math.inf, 1.0),
        sampling=o.choice("sampling", SAMPLINGS) if kind == "expert_choice" else None,
        threshold=o.number("threshold", 0, 1, 0.5) if kind == "expert_choice" else 0.5,
        balancing=o.choice("balancing", BALANCINGS, "none") if kind == "token_choice" else "none",
    )
    o.expect_empty()
    return router


def _parse_mor(fields: Any, layers: int) -> MorConfig:
    o = _Object(fields, "mor")
    mor = MorConfig(
        sharing=o.choice("sharing", SHARINGS),
        num_recursions=o.integer("num_recursions"),
        kv_mode=o.choice("kv_mode", KV_MODES, "recursion_wise"),
        attention_weights=o.choice("attention_weights", ATTENTION_WEIGHTS, "tied"),
        router=_parse_router(o.pop("router")) if o.has("router") else None,
    )
    o.pop("router")
    o.expect_empty()
    if mor.sharing.endswith("sequence") and mor.kv_mode != "recursion_wise":
        raise ConfigError(f"mor.kv_mode: {mor.kv_mode} is not defined for {mor.sharing}")
    kind = mor.router.type if mor.router else None
    if kind and mor.sharing.endswith("sequence"):
        raise ConfigError(f"mor.router: not defined for {mor.sharing}")
    if kind == "token_choice" and mor.sharing != "middle_cycle":
        raise ConfigError(f"mor.router.type: token_choice is not defined for {mor.sharing}")
    if mor.attention_weights == "per_recursion" and kind != "expert_choice":
        raise ConfigError("mor.attention_weights: per_recursion needs expert_choice")
    shared = layers - 2 if mor.sharing.startswith("middle_") else layers
    if shared < 1 or shared % mor.num_recursions:
        raise ConfigError(
            f"num_hidden_layers: {layers} does not fit {mor.sharing} with"
            f" {mor.num_recursions} recursions"
        )
    return mor


def _parse_scaling(o: _Object) -> RopeScaling | None:
    kind = o.choice("rope_type", ROPE_TYPES, o.choice("type", ROPE_TYPES, "default"))
    if kind == "default":
        return None
    factor = o.number("factor", 0, math.inf)
    if factor < 1:
        raise ConfigError(f"{o.name('factor')}: expected at least 1, found {factor}")
    if kind == "linear":
        return RopeScaling(kind, factor)
    low, high = o.number("low_freq_factor", 0, math.inf), o.number("high_freq_factor", 0, math.inf)
    if low >= high:
        raise ConfigError(f"{o.name('low_freq_factor')}: {low} is not below high_freq_factor")
    return RopeScaling(kind, factor, low, high, o.integer("original_max_position_embeddings"))


def _parse_rope(fields: _Object) -> tuple[float, RopeScaling | None]:
    """Theta and scaling: rope_theta and rope_scaling, or rope_parameters, which holds both."""
    theta, found = fields.number("rope_theta", 0, math.inf, 10000.0), []
    for key in ("rope_scaling", "rope_parameters"):
        if not fields.has(key):
            continue
        o = _Object(fields.pop(key), key)
        found.append(_parse_scaling(o))
        theta = o.number("rope_theta", 0, math.inf, theta)
        o.expect_empty()
    if len(set(found)) > 1:
        raise ConfigError("rope_parameters: contradicts rope_scaling")
    return theta, found[0] if found else None


def parse(fields: dict[str, Any]) -> Config:
    """Checks the content of config.json. Absent Llama fields have LlamaConfig's defaults."""
    o = _Object(fields, "")
    heads = o.integer("num_attention_heads")
    hidden = o.integer("hidden_size")
    layers = o.integer("num_hidden_layers")
    if not o.has("head_dim") and hidden % heads:
        raise ConfigError(f"hidden_size: {hidden} is no multiple of {heads} heads, head_dim absent")
    for key in ("attention_bias", "mlp_bias"):
        if o.pop(key):
            raise ConfigError(f"{key}: true is not supported")
    theta, scaling = _parse_rope(o)
    o.choice("hidden_act", ("silu",), "silu")
    config = Config(
        vocab_size=o.integer("vocab_size"),
        hidden_size=hidden,
        intermediate_size=o.integer("intermediate_size"),
        num_hidden_layers=layers,
        num_attention_heads=heads,
        num_key_value_heads=o.integer("num_key_value_heads", heads),
        head_dim=o.integer("head_dim", hidden // heads),
        rms_norm_eps=o.number("rms_norm_eps", 0, 1, 1e-6),
        rope_theta=theta,
        rope_scaling=scaling,
        tie_word_embeddings=o.boolean("tie_word_embeddings", False),
        mor=_parse_mor(o.pop("mor"), layers) if o.has("mor") else None,
    )
    if config.head_dim % 2:
        raise ConfigError(f"head_dim: expected an even number, found {config.head_dim}")
    if heads % config.num_key_value_heads:
        raise ConfigError(
            f"num_key_value_heads: {config.num_key_value_heads} does not divide {heads} heads"
        )
    return config


def load(directory: pathlib.Path) -> Config:
    return parse(json.loads((directory / "config.json").read_text(encoding="utf-8")))
