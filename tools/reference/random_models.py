# SPDX-License-Identifier: Apache-2.0
"""Small random models whose routing is mixed, and prompts whose decisions are clear.

Random weights alone route badly: a router's scores depend on the scale of the residual stream, and
may send every token the same way. So routers are drawn last, recursion by recursion, against the
residual stream of a probe prompt, until each takes a share of the tokens.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from . import model as model_lib
from .config import Config
from .forward import Result, forward, logit_threshold, router_logits, token_gate
from .model import Router
from .safetensors_io import round_to

# No decision of a golden case is nearer than this to its opposite: two hundred times and more what
# an engine in float32 gets wrong, and above the 1e-4 that is promised.
MARGIN = 2e-4

_PROBE_LENGTH = 64
_ROUTER_DRAWS = 200
_SPREAD = 1.5  # standard deviation of a router's logits

# Bounds within the length of the prompts: some waves are kept, some stretched, some in between.
_LLAMA3 = {
    "rope_type": "llama3",
    "factor": 8.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 64,
}
_ROPE: dict[str, dict[str, Any]] = {
    "none": {},
    "linear": {"rope_scaling": {"type": "linear", "factor": 2.5}, "rope_theta": 100.0},
    "llama3": {"rope_scaling": _LLAMA3, "rope_theta": 1000.0},
    "llama3_parameters": {"rope_parameters": _LLAMA3 | {"rope_theta": 500.0}, "rope_theta": None},
}

_HEADS = {1: (2, 3, 4, 6), 2: (2, 4, 6), 3: (3, 6)}  # by query heads per kv head
_HIDDEN = range(32, 97, 4)
_FFN = (48, 56, 72, 88, 96, 104, 120, 136, 152, 160)


class NotMixed(Exception):
    """These weights do not route as a golden model must; draw others."""


def _pick(rng: np.random.Generator, values: Any) -> Any:
    return values[int(rng.integers(len(values)))]


def _draw_sizes(rng: np.random.Generator, group: int, own_head_dim: bool) -> dict[str, int]:
    """Hidden size, heads and, where it is its own choice, the head size."""
    while True:
        heads = _pick(rng, _HEADS[group])
        sizes = {"num_attention_heads": heads, "num_key_value_heads": heads // group}
        if own_head_dim:
            hidden, size = _pick(rng, (32, 40, 48, 64, 72, 96)), _pick(rng, (8, 12, 16, 20, 32))
            if size * heads != hidden and size * heads <= 96:
                return sizes | {"hidden_size": hidden, "head_dim": size}
        else:
            size = _pick(rng, (8, 10, 12, 16, 18, 20, 24, 32))
            if size * heads in _HIDDEN:
                return sizes | {"hidden_size": size * heads}


def _draw_router(f: dict[str, Any], rng: np.random.Generator) -> dict[str, Any]:
    router = {
        "type": f["type"],
        "network": f["network"],
        "function": f["function"],
        "gating": f["gating"],
        "temperature": 1.0 if f["temperature"] == "one" else _pick(rng, (0.7, 1.6)),
    }
    usual = 1.0 if f["function"] == "softmax" else 0.1
    if f["function"] != "none":
        router["alpha"] = usual if f["alpha"] == "usual" else _pick(rng, (0.45, 0.8, 1.3))
    if f["type"] == "expert_choice":
        router["sampling"] = f["sampling"]
        router["threshold"] = 0.5 if f["threshold"] == "half" else _pick(rng, (0.36, 0.6))
    else:
        router["balancing"] = f["balancing"]
    return router


def draw_config(f: dict[str, Any], rng: np.random.Generator) -> dict[str, Any]:
    """config.json of a row of factors (see generate.py)."""
    n, b, sharing = f["recursions"], f["block_layers"], f["sharing"]
    fields: dict[str, Any] = {
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "hidden_act": "silu",
        "attention_bias": False,
        "mlp_bias": False,
        "rope_scaling": None,
        "bos_token_id": 1,
        "eos_token_id": 2,
        "max_position_embeddings": 128,
        "vocab_size": int(rng.integers(50, 301)),
        "intermediate_size": _pick(rng, _FFN),
        "num_hidden_layers": n * b + 2 * sharing.startswith("middle_"),
        "rms_norm_eps": _pick(rng, (1e-5, 1e-6, 1e-3)),
        "rope_theta": _pick(rng, (10000.0, 500000.0, 100.0)),
        "tie_word_embeddings": f["tie"],
    } | _draw_sizes(rng, f["group"], f["head_dim"] == "own")
    fields |= _ROPE[f["rope"]]
    if sharing != "none":
        fields["mor"] = {
            "sharing": sharing,
            "num_recursions": n,
            "kv_mode": f["kv_mode"],
            "attention_weights": f["attention_weights"],
        }
        if f["type"] != "none":
            fields["mor"]["router"] = _draw_router(f, rng)
    return fields


def drop_defaults(fields: dict[str, Any]) -> dict[str, Any]:
    """config.json without the fields that say what their absence says."""

    def without(o: dict[str, Any], defaults: dict[str, Any]) -> dict[str, Any]:
        return {k: v for k, v in o.items() if k not in defaults or v != defaults[k]}

    router_defaults = {"temperature": 1.0, "threshold": 0.5, "balancing": "none"}
    mor_defaults = {"kv_mode": "recursion_wise", "attention_weights": "tied"}
    llama_defaults = {
        "num_key_value_heads": fields["num_attention_heads"],
        "rms_norm_eps": 1e-6,
        "rope_theta": 10000.0,
        "rope_scaling": None,
        "tie_word_embeddings": False,
        "attention_bias": False,
        "mlp_bias": False,
        "hidden_act": "silu",
    }
    fields = without(fields, llama_defaults)
    if "mor" in fields:
        fields["mor"] = without(fields["mor"], mor_defaults)
        if "router" in fields["mor"]:
            fields["mor"]["router"] = without(fields["mor"]["router"], router_defaults)
    return fields


def _draw_matrix(shape: tuple[int, ...], gain: float, rng: np.random.Generator) -> np.ndarray:
    """Keeps the scale of its input, times `gain`."""
    return gain / math.sqrt(shape[-1]) * rng.standard_normal(shape)


def draw_tensors(config: Config, rng: np.random.Generator, dtype: str) -> dict[str, np.ndarray]:
    """Every tensor of the model, routers not yet calibrated; values that `dtype` can store."""
    tensors = {}
    for name, shape in model_lib.shapes(config).items():
        if name.endswith("norm.weight"):
            x = 1 + 0.2 * rng.standard_normal(shape)
        elif name == "lm_head.weight" or (
            name == "model.embed_tokens.weight" and config.tie_word_embeddings
        ):
            x = _draw_matrix(shape, 2.0, rng)  # logits with a spread of 2
        elif name == "model.embed_tokens.weight":
            x = rng.standard_normal(shape)
        elif ".q_proj." in name or ".k_proj." in name:
            x = _draw_matrix(shape, 1.3, rng)  # attention sharp enough to matter
        else:
            x = _draw_matrix(shape, 1.0, rng)
        tensors[name] = round_to(x, dtype)
    return tensors


class _Calibration:
    """Draws the routers of one model."""

    def __init__(
        self, config: Config, tensors: dict[str, np.ndarray], rng: np.random.Generator, dtype: str
    ):
        self._config, self._tensors, self._rng, self._dtype = config, tensors, rng, dtype
        self._router = config.mor.router
        self._probe = rng.integers(config.vocab_size, size=_PROBE_LENGTH).tolist()

    def _draw(self, prefix: str, h: np.ndarray, temperature: float) -> np.ndarray:
        """Draws one router with logits of the wanted spread over h, and returns them."""
        leaves = model_lib.router_leaves(self._config)
        matrices = [_draw_matrix(shape, 1.0, self._rng) for shape in leaves.values()]
        spread = router_logits(Router(matrices), h, temperature).std()
        matrices[-1] *= _SPREAD / spread
        matrices = [round_to(m, self._dtype) for m in matrices]
        for leaf, matrix in zip(leaves, matrices, strict=True):
            self._tensors[f"{prefix}.{leaf}"] = matrix
        doubles = [m.astype(np.float64) for m in matrices]
        return router_logits(Router(doubles), h, temperature)

    def _forward(self, cap: int) -> Result:
        return forward(model_lib.assemble(self._config, self._tensors), self._probe, cap)

    def expert_choice(self) -> None:
        """Each recursion takes 45 % to 85 % of the tokens that reach it."""
        router, (main, aux) = self._router, model_lib.router_prefixes(self._config)
        bound = logit_threshold(router.threshold)
        for r in range(1, self._config.recursions + 1):
            inputs = self._forward(r).router_inputs
            if len(inputs) < r or not inputs[-1].active.any():
                raise NotMixed
            h = inputs[-1].h
            for _ in range(_ROUTER_DRAWS):
                deciding = self._draw(main[r - 1], h, router.temperature)
                if router.sampling == "aux_router":
                    deciding = self._draw(aux[r - 1], h, 1.0)
                share = (deciding[inputs[-1].active] >= bound).mean()
                if r == 1 or 0.45 <= share <= 0.85:
                    break
            else:
                raise NotMixed

    def token_choice(self) -> None:
        """Each depth is chosen by a tenth of the tokens; a bias changes some choices."""
        router, (main, _) = self._router, model_lib.router_prefixes(self._config)
        n, h = self._config.recursions, self._forward(1).router_inputs[0].h
        for _ in range(_ROUTER_DRAWS):
            gates = token_gate(router, self._draw(main[0], h, router.temperature))
            scores = gates
            if router.balancing == "loss_free":
                bias = round_to(0.15 * router.alpha * self._rng.standard_normal(n), self._dtype)
                self._tensors["model.layers.1.router_bias"] = bias
                scores = gates + bias
            chosen = scores.argmax(axis=1)
            moved = scores is gates or n == 1 or (chosen != gates.argmax(axis=1)).any()
            if moved and np.bincount(chosen, minlength=n).min() >= len(h) / 10:
                return
        raise NotMixed


def calibrate(
    config: Config, tensors: dict[str, np.ndarray], rng: np.random.Generator, dtype: str
) -> None:
    """Redraws the routers in `tensors` so that routing is mixed; raises NotMixed if it cannot."""
    if config.mor is None or config.mor.router is None:
        return
    calibration = _Calibration(config, tensors, rng, dtype)
    if config.mor.router.type == "expert_choice":
        calibration.expert_choice()
    else:
        calibration.token_choice()


def draw_prompt(
    model: model_lib.Model,
    length: int,
    max_recursions: int | None,
    router_threshold: float | None,
    want_mixed: bool,
    rng: np.random.Generator,
) -> tuple[list[int], Result]:
    """Random ids with every decision at least MARGIN from its opposite, and what they give.

    want_mixed: every depth is some token's.
    """
    config = model.config
    routed = config.mor is not None and config.mor.router is not None
    for _ in range(100):
        ids = rng.integers(config.vocab_size, size=length).tolist()
        result = forward(model, ids, max_recursions, router_threshold)
        mixed = not routed or len(set(result.depths.tolist())) == config.recursions
        if result.margin >= MARGIN and (mixed or not want_mixed):
            return ids, result
    raise NotMixed
