# SPDX-License-Identifier: Apache-2.0
"""Golden models: which there are, and the files of each.

DIR/index.json         [{"name", "description"}, ...]
DIR/NAME/config.json, model.safetensors (or shards with model.safetensors.index.json)
DIR/NAME/cases.json    [{"ids", "max_recursions" (or null), "router_threshold" (or null), "depths",
                       "logits_file", "shape": [T, V], "int8": {"depths", "logits_file"}}, ...]
DIR/NAME/case0.f32 ... the logits of every position, float32, little-endian, row by row
DIR/NAME/case0.int8.f32 ...  the same of the model in int8 (int8.py), its cache in bf16
DIR/NAME/forgetting.json  of some models, see forgetting.py

The weights in the files are what the logits were computed from: with f16 and bf16 files too. Every
token-choice gap and every distance of a deciding logit from its threshold is at least
random_models.MARGIN, so depths must agree exactly; in int8 nothing sees to that.
"""

from __future__ import annotations

import dataclasses
import fnmatch
import json
import pathlib
import zlib
from collections.abc import Iterable
from typing import Any

import numpy as np

from . import config as config_lib
from . import model as model_lib
from . import forgetting, int8, quantized, random_models, safetensors_io
from .config import Config
from .forward import forward, rotary_frequencies
from .pairs import covering_rows

_LONG = (70, 69, 65, 49, 48, 37)  # long enough for every depth to occur
_SHORT = (1, 2, 15, 16, 17, 31, 32, 33)  # around multiples of 16 as well
_PAIRS_SEED = 7  # fixed, so that names mean the same model structure for every --seed

# Factors that every model has.
_COMMON: dict[str, tuple] = {
    "tie": (True, False),
    "group": (1, 2, 3),  # query heads per kv head
    "head_dim": ("derived", "own"),  # hidden / heads, or a field of its own
}
_RECURSIVE: dict[str, tuple] = {"recursions": (2, 3, 4), "block_layers": (1, 2)}
_KV: dict[str, tuple] = {"kv_mode": ("recursion_wise", "shared", "shared_update")}
_CAP: dict[str, tuple] = {"cap": (False, True)}  # whether a case sets max_recursions
_ROUTER: dict[str, tuple] = {
    "network": ("linear", "mlp", "wide_mlp"),
    "gating": ("weighted", "unweighted"),
    "temperature": ("one", "other"),
    "alpha": ("usual", "other"),
}

# Families in which every factor combines with every other; what differs is which factors exist.
FAMILIES: dict[str, dict[str, tuple]] = {
    "vanilla": {"sharing": ("none",), "block_layers": (1, 3)} | _COMMON,
    "fixed_sequence": {"sharing": ("sequence", "middle_sequence")} | _RECURSIVE | _COMMON,
    "fixed_cycle": {"sharing": ("cycle", "middle_cycle")} | _KV | _CAP | _RECURSIVE | _COMMON,
    "expert": {
        "type": ("expert_choice",),
        "sharing": ("cycle", "middle_cycle"),
        "function": ("sigmoid", "tanh", "none"),
        "sampling": ("aux_loss", "aux_router"),
        "threshold": ("half", "other"),
        "attention_weights": ("tied", "per_recursion"),
        "knob": ("none", "other", "always", "never"),  # whether a case sets router_threshold
    } | _ROUTER | _KV | _CAP | _RECURSIVE | _COMMON,
    "token": {
        "type": ("token_choice",),
        "sharing": ("middle_cycle",),
        "function": ("softmax", "sigmoid"),
        "balancing": ("none", "loss_free"),
    } | _ROUTER | _KV | _CAP | _RECURSIVE | _COMMON,
}  # fmt: skip

_PLAIN: dict[str, Any] = {
    "type": "none", "sharing": "none", "kv_mode": "recursion_wise", "attention_weights": "tied",
    "recursions": 1, "block_layers": 2, "tie": True, "group": 3, "head_dim": "derived",
    "network": "linear", "function": "sigmoid", "gating": "weighted", "sampling": "aux_loss",
    "balancing": "none", "temperature": "one", "alpha": "usual", "threshold": "half",
    "cap": False, "knob": "none", "rope": "none",
}  # fmt: skip
_EXPERT = {"type": "expert_choice", "sharing": "middle_cycle", "recursions": 3}
_TOKEN = {"type": "token_choice", "sharing": "middle_cycle", "recursions": 3, "function": "softmax"}


@dataclasses.dataclass(frozen=True)
class Spec:
    """One golden model."""

    name: str
    description: str
    factors: dict[str, Any]  # what differs from _PLAIN
    dtype: str = "F32"
    shards: int = 1
    duplicates: bool = False  # repeats shared tensors for every recursion, and adds inv_freq
    sparse_config: bool = False  # config.json leaves out what equals its default


def _pair_specs() -> Iterable[Spec]:
    for family, factors in FAMILIES.items():
        for i, row in enumerate(covering_rows(factors, _PAIRS_SEED)):
            told = ", ".join(f"{k} {v}" for k, v in row.items())
            yield Spec(f"pairs_{family}_{i:02}", f"All pairs of options: {told}.", row)


def _sharing_specs() -> Iterable[Spec]:
    yield Spec("sharing_none", "A plain Llama model.", {"block_layers": 4})
    for sharing in ("cycle", "middle_cycle", "sequence", "middle_sequence"):
        yield Spec(
            f"sharing_{sharing}",
            f"Fixed depth, {sharing}, 3 recursions of 2 layers.",
            {"sharing": sharing, "recursions": 3, "cap": sharing.endswith("cycle")},
        )
    yield Spec("sharing_cycle_n1", "A cycle of one recursion: a plain Llama in other words.",
               {"sharing": "cycle", "block_layers": 3})  # fmt: skip


def _key_specs() -> Iterable[Spec]:
    for kv_mode in _KV["kv_mode"]:
        keys = {"kv_mode": kv_mode, "cap": True}
        yield Spec(f"keys_fixed_{kv_mode}", f"Fixed depth, keys {kv_mode}.",
                   {"sharing": "middle_cycle", "recursions": 3} | keys)  # fmt: skip
        yield Spec(f"keys_expert_{kv_mode}", f"Expert-choice, keys {kv_mode}.",
                   _EXPERT | keys | {"knob": "other"})  # fmt: skip
        yield Spec(f"keys_token_{kv_mode}", f"Token-choice, keys {kv_mode}.", _TOKEN | keys)


def _rope_specs() -> Iterable[Spec]:
    for scaling in ("linear", "llama3"):
        yield Spec(f"rope_{scaling}", f"A plain Llama model, RoPE scaling {scaling}.",
                   {"block_layers": 2, "rope": scaling})  # fmt: skip
    yield Spec("rope_llama3_expert", "Expert-choice, llama3 scaling in rope_parameters.",
               _EXPERT | {"rope": "llama3_parameters"})  # fmt: skip


def _checkpoint_specs() -> Iterable[Spec]:
    kinds = {
        "expert_middle_cycle": _EXPERT | {"network": "mlp", "sampling": "aux_router"},
        "expert_cycle": _EXPERT | {"sharing": "cycle", "sampling": "aux_router"},
        "expert_per_recursion": _EXPERT | {"attention_weights": "per_recursion"},
        "token_middle_cycle": _TOKEN | {"balancing": "loss_free"},
        "fixed_cycle": {"sharing": "cycle", "recursions": 3},
        "fixed_middle_sequence": {"sharing": "middle_sequence", "recursions": 3},
    }
    for name, factors in kinds.items():
        yield Spec(
            f"duplicates_{name}",
            "Shared tensors and the tied head repeated as training code writes them; inv_freq.",
            factors,
            duplicates=True,
        )
    for dtype in ("F16", "BF16"):
        low = dtype.lower()
        yield Spec(f"{low}_expert", f"Expert-choice, weights in {low}.", _EXPERT, dtype)
        yield Spec(f"{low}_token", f"Token-choice, weights in {low}.",
                   _TOKEN | {"network": "mlp", "balancing": "loss_free"}, dtype)  # fmt: skip
    yield Spec("bf16_vanilla", "A plain Llama model, weights in bf16.", {"tie": False}, "BF16")
    yield Spec("sharded_expert", "Expert-choice in three shards.", _EXPERT | {"tie": False},
               shards=3)  # fmt: skip
    yield Spec("sharded_bf16_token", "Token-choice in two shards of bf16, with duplicates.",
               _TOKEN, "BF16", 2, duplicates=True)  # fmt: skip
    sparse = {"group": 1, "tie": False}
    yield Spec("sparse_vanilla", "A plain Llama whose config.json leaves out every default.",
               sparse, sparse_config=True)  # fmt: skip
    yield Spec("sparse_expert", "Expert-choice whose config.json leaves out every default.",
               sparse | _EXPERT, sparse_config=True)  # fmt: skip
    yield Spec("sparse_token", "Token-choice whose config.json leaves out every default.",
               sparse | _TOKEN, sparse_config=True)  # fmt: skip


def specs() -> list[Spec]:
    """Every golden model, in order."""
    return [*_sharing_specs(), *_key_specs(), *_rope_specs(), *_checkpoint_specs(), *_pair_specs()]


@dataclasses.dataclass(frozen=True)
class Case:
    ids: list[int]
    max_recursions: int | None
    router_threshold: float | None
    depths: np.ndarray  # [T]
    logits: np.ndarray  # [T, V]


@dataclasses.dataclass(frozen=True)
class Golden:
    """A drawn model with its cases."""

    fields: dict[str, Any]  # config.json
    config: Config
    tensors: dict[str, np.ndarray]  # stored names
    cases: list[Case]


def _draw_cases(
    factors: dict[str, Any], model: model_lib.Model, rng: np.random.Generator
) -> list[Case]:
    """A long prompt; a long one with knobs where the factors ask for it; a short one."""
    n = model.config.recursions
    cap = int(rng.integers(1, n)) if factors["cap"] and n > 1 else None
    p = {"none": None, "other": float(rng.choice((0.25, 0.7))), "always": 0.0, "never": 1.0}
    threshold = p[factors["knob"]]
    plans = [(int(rng.choice(_LONG)), None, None)]
    if cap is not None or threshold is not None:
        plans.append((int(rng.choice(_LONG)), cap, threshold))
    plans.append((int(rng.choice(_SHORT)), None, None))
    cases = []
    for i, (length, c, t) in enumerate(plans):
        ids, result = random_models.draw_prompt(model, length, c, t, i == 0, rng)
        cases.append(Case(ids, c, t, result.depths, result.logits))
    return cases


def draw(spec: Spec, seed: int) -> Golden:
    """Draws the model and its cases; depends on the seed and the name alone."""
    factors = _PLAIN | spec.factors
    for attempt in range(50):
        rng = np.random.default_rng([seed, zlib.crc32(spec.name.encode()), attempt])
        fields = random_models.draw_config(factors, rng)
        if spec.sparse_config:
            fields |= {"rms_norm_eps": 1e-6, "rope_theta": 10000.0}
            fields = random_models.drop_defaults(fields)
        config = config_lib.parse(fields)
        tensors = random_models.draw_tensors(config, rng, spec.dtype)
        try:
            random_models.calibrate(config, tensors, rng, spec.dtype)
            cases = _draw_cases(factors, model_lib.assemble(config, tensors), rng)
        except random_models.NotMixed:
            continue
        return Golden(fields, config, tensors, cases)
    raise RuntimeError(f"{spec.name}: no model with mixed routing in 50 attempts, seed {seed}")


def _with_duplicates(config: Config, tensors: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The tensors as training code writes them: repeated, and with RoPE's frequencies."""
    copies = {copy: tensors[name] for copy, name in model_lib.duplicates(config).items()}
    frequencies = rotary_frequencies(config).astype(np.float32)
    return tensors | copies | {"model.layers.0.self_attn.rotary_emb.inv_freq": frequencies}


def write(spec: Spec, golden: Golden, directory: pathlib.Path) -> None:
    """Writes one model directory with its cases."""
    directory.mkdir(parents=True, exist_ok=True)
    (directory / "config.json").write_text(json.dumps(golden.fields, indent=2) + "\n")
    tensors = golden.tensors
    if spec.duplicates:
        tensors = _with_duplicates(golden.config, tensors)
    if spec.shards > 1:
        safetensors_io.write_sharded(directory, tensors, spec.dtype, spec.shards)
    else:
        safetensors_io.write_file(directory / "model.safetensors", tensors, spec.dtype)
    listed = []
    int8_model = int8.quantized(model_lib.assemble(golden.config, golden.tensors))
    for i, case in enumerate(golden.cases):
        file_name, int8_name = f"case{i}.f32", f"case{i}.int8.f32"
        (directory / file_name).write_bytes(case.logits.astype("<f4").tobytes())
        in_int8 = forward(int8_model, case.ids, case.max_recursions, case.router_threshold,
                          keep=quantized.KEEP["bf16"])
        (directory / int8_name).write_bytes(in_int8.logits.astype("<f4").tobytes())
        listed.append(
            {
                "ids": case.ids,
                "max_recursions": case.max_recursions,
                "router_threshold": case.router_threshold,
                "depths": case.depths.tolist(),
                "logits_file": file_name,
                "shape": list(case.logits.shape),
                "int8": {"depths": in_int8.depths.tolist(), "logits_file": int8_name},
            }
        )
    (directory / "cases.json").write_text(json.dumps(listed) + "\n")


def generate(out: pathlib.Path, seed: int, only: str | None) -> list[Spec]:
    """Writes the models whose names match the pattern `only` (None: all) and their index."""
    chosen = [s for s in specs() if only is None or fnmatch.fnmatchcase(s.name, only)]
    for spec in chosen:
        golden = draw(spec, seed)
        write(spec, golden, out / spec.name)
        if spec.name.startswith("keys_"):
            rng = np.random.default_rng([seed, zlib.crc32(spec.name.encode())])
            model = model_lib.assemble(golden.config, golden.tensors)
            if not spec.name.endswith("shared_update"):
                forgetting.write(model, out / spec.name, rng)
            quantized.write(model, out / spec.name, rng)
    out.mkdir(parents=True, exist_ok=True)
    index = [{"name": s.name, "description": s.description} for s in chosen]
    (out / "index.json").write_text(json.dumps(index, indent=1) + "\n")
    return chosen
