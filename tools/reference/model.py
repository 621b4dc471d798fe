# SPDX-License-Identifier: Apache-2.0
"""Names and shapes of a model's tensors, and the tensors put where the mathematics wants them.

A shared tensor is stored once, under the lowest index that uses it. Checkpoints of the training
code repeat it for every recursion; `duplicates` names those copies.

  kind                     layer j of pass r (from 0)             routers of recursion r (from 0)
  vanilla, fixed depth     model.layers.{effective layer}         -
  expert, cycle            model.layers.{r}.block.{j}             model.layers.{r}.mor_router
  expert, middle_cycle     model.layers.{1+r}.block.{j}           model.layers.{1+r}.mor_router
  token, middle_cycle      model.layers.1.block_list.{r}.{j}      model.layers.1.mor_router

First layer: model.layers.0. Last: model.layers.{L-1}, .{N+1} (expert) or .2 (token). An auxiliary
router stands beside its mor_router as mlp_router.
"""

from __future__ import annotations

import dataclasses
import pathlib
from typing import Protocol

import numpy as np

from . import config as config_lib
from . import safetensors_io
from .config import Config

Shape = tuple[int, ...]


class Matrix(Protocol):
    """A matrix [out, in] that is not kept as its numbers: int8.Int8Matrix."""

    def product(self, x: np.ndarray) -> np.ndarray: ...


def product(x: np.ndarray, w: np.ndarray | Matrix) -> np.ndarray:
    """W x of the rows of x [n, in]: [n, out]."""
    return x @ w.T if isinstance(w, np.ndarray) else w.product(x)


@dataclasses.dataclass
class Layer:
    """One Llama decoder layer; every matrix is [out, in]."""

    q: np.ndarray | Matrix  # [heads * D, d]
    k: np.ndarray | Matrix  # [kv heads * D, d]
    v: np.ndarray | Matrix  # [kv heads * D, d]
    o: np.ndarray | Matrix  # [d, heads * D]
    gate: np.ndarray | Matrix  # [F, d]
    up: np.ndarray | Matrix  # [F, d]
    down: np.ndarray | Matrix  # [d, F]
    attention_norm: np.ndarray  # [d]
    mlp_norm: np.ndarray  # [d]


@dataclasses.dataclass
class Router:
    """`linear`: one matrix [out, d]. `mlp`, `wide_mlp`: two, [2d, d] and [out, 2d]."""

    matrices: list[np.ndarray]


@dataclasses.dataclass
class Model:
    config: Config
    embedding: np.ndarray  # [V, d]
    norm: np.ndarray  # [d]
    head: np.ndarray | Matrix  # [V, d]; the embedding where they are tied
    first: Layer | None
    last: Layer | None
    passes: list[list[Layer]]  # [pass][layer]: shared weights are the same arrays
    routers: list[Router]  # expert-choice: one a recursion; token-choice: one; else none
    aux_routers: list[Router]  # one a recursion where an auxiliary router decides
    router_bias: np.ndarray | None  # [N]


def _router_kind(config: Config) -> str | None:
    return config.mor.router.type if config.mor and config.mor.router else None


def _leaf_shapes(config: Config) -> tuple[dict[str, Shape], dict[str, Shape]]:
    """Leaf names and shapes of a layer: those of attention's matrices, and the others."""
    d, f, size = config.hidden_size, config.intermediate_size, config.head_dim
    q, kv = config.num_attention_heads * size, config.num_key_value_heads * size
    attention: dict[str, Shape] = {
        "self_attn.q_proj.weight": (q, d),
        "self_attn.k_proj.weight": (kv, d),
        "self_attn.v_proj.weight": (kv, d),
        "self_attn.o_proj.weight": (d, q),
    }
    others: dict[str, Shape] = {
        "mlp.gate_proj.weight": (f, d),
        "mlp.up_proj.weight": (f, d),
        "mlp.down_proj.weight": (d, f),
        "input_layernorm.weight": (d,),
        "post_attention_layernorm.weight": (d,),
    }
    return attention, others


def _end_prefix(config: Config) -> str:
    kind, n = _router_kind(config), config.recursions
    last = {"expert_choice": n + 1, "token_choice": 2, None: config.num_hidden_layers - 1}[kind]
    return f"model.layers.{last}"


def layer_prefix(config: Config, r: int, j: int) -> str:
    """Where the training code keeps layer j of pass r, repeated for every pass."""
    kind, offset = _router_kind(config), int(config.has_ends)
    if kind == "expert_choice":
        return f"model.layers.{offset + r}.block.{j}"
    if kind == "token_choice":
        return f"model.layers.1.block_list.{r}.{j}"
    return f"model.layers.{offset + r * config.pass_layers + j}"


def stored_prefix(config: Config, r: int, j: int) -> str:
    """Where the weights of layer j of pass r are stored once: the lowest index that uses them."""
    if _router_kind(config):
        return layer_prefix(config, 0, j)
    i = int(config.has_ends) + r * config.pass_layers + j
    weights = [config.weights_of_layer(k) for k in range(config.num_hidden_layers)]
    return f"model.layers.{weights.index(weights[i])}"


def _attention_prefix(config: Config, r: int, j: int) -> str:
    own = config.mor is not None and config.mor.attention_weights == "per_recursion"
    return layer_prefix(config, r, j) if own else stored_prefix(config, r, j)


def router_leaves(config: Config) -> dict[str, Shape]:
    """Leaf names and shapes of one router, below mor_router or mlp_router."""
    router, d = config.mor.router, config.hidden_size
    out = config.recursions if router.type == "token_choice" else 1
    if router.network == "linear":
        return {"router.weight": (out, d)}
    return {"router.0.weight": (2 * d, d), "router.2.weight": (out, 2 * d)}


def router_prefixes(config: Config) -> tuple[list[str], list[str]]:
    """Prefixes of the main and of the auxiliary routers, by recursion."""
    kind = _router_kind(config)
    if kind is None:
        return [], []
    if kind == "token_choice":
        return ["model.layers.1.mor_router"], []
    homes = [f"model.layers.{config.has_ends + r}" for r in range(config.recursions)]
    aux = config.mor.router.sampling == "aux_router"
    return [f"{h}.mor_router" for h in homes], [f"{h}.mlp_router" for h in homes if aux]


def shapes(config: Config) -> dict[str, Shape]:
    """Every tensor that a directory of this configuration must have."""
    d, v = config.hidden_size, config.vocab_size
    attention, others = _leaf_shapes(config)
    result: dict[str, Shape] = {"model.embed_tokens.weight": (v, d)}
    ends = ["model.layers.0", _end_prefix(config)] if config.has_ends else []
    for prefix in ends:
        result |= {f"{prefix}.{leaf}": shape for leaf, shape in (attention | others).items()}
    for r in range(config.passes):
        for j in range(config.pass_layers):
            home, own = stored_prefix(config, r, j), _attention_prefix(config, r, j)
            result |= {f"{own}.{leaf}": shape for leaf, shape in attention.items()}
            result |= {f"{home}.{leaf}": shape for leaf, shape in others.items()}
    for prefix in sum(router_prefixes(config), []):
        result |= {f"{prefix}.{leaf}": shape for leaf, shape in router_leaves(config).items()}
    if _router_kind(config) and config.mor.router.balancing == "loss_free":
        result["model.layers.1.router_bias"] = (config.recursions,)
    result["model.norm.weight"] = (d,)
    if not config.tie_word_embeddings:
        result["lm_head.weight"] = (v, d)
    return result


def duplicates(config: Config) -> dict[str, str]:
    """Names that may repeat a stored tensor, each with the name that is stored."""
    attention, others = _leaf_shapes(config)
    result = {}
    for r in range(config.passes):
        for j in range(config.pass_layers):
            copy = layer_prefix(config, r, j)
            home, own = stored_prefix(config, r, j), _attention_prefix(config, r, j)
            result |= {f"{copy}.{leaf}": f"{own}.{leaf}" for leaf in attention}
            result |= {f"{copy}.{leaf}": f"{home}.{leaf}" for leaf in others}
    if config.tie_word_embeddings:
        result["lm_head.weight"] = "model.embed_tokens.weight"
    return {copy: stored for copy, stored in result.items() if copy != stored}


def assemble(config: Config, tensors: dict[str, np.ndarray], dtype: type = np.float64) -> Model:
    """The model of the stored tensors, in arithmetic of `dtype`."""
    arrays = {name: np.asarray(x, dtype) for name, x in tensors.items()}

    def layer(home: str, own: str) -> Layer:
        return Layer(
            q=arrays[f"{own}.self_attn.q_proj.weight"],
            k=arrays[f"{own}.self_attn.k_proj.weight"],
            v=arrays[f"{own}.self_attn.v_proj.weight"],
            o=arrays[f"{own}.self_attn.o_proj.weight"],
            gate=arrays[f"{home}.mlp.gate_proj.weight"],
            up=arrays[f"{home}.mlp.up_proj.weight"],
            down=arrays[f"{home}.mlp.down_proj.weight"],
            attention_norm=arrays[f"{home}.input_layernorm.weight"],
            mlp_norm=arrays[f"{home}.post_attention_layernorm.weight"],
        )

    def router(prefix: str) -> Router:
        return Router([arrays[f"{prefix}.{leaf}"] for leaf in router_leaves(config)])

    main, aux = router_prefixes(config)
    embedding = arrays["model.embed_tokens.weight"]
    first, last = "model.layers.0", _end_prefix(config)
    return Model(
        config=config,
        embedding=embedding,
        norm=arrays["model.norm.weight"],
        head=embedding if config.tie_word_embeddings else arrays["lm_head.weight"],
        first=layer(first, first) if config.has_ends else None,
        last=layer(last, last) if config.has_ends else None,
        passes=[
            [
                layer(stored_prefix(config, r, j), _attention_prefix(config, r, j))
                for j in range(config.pass_layers)
            ]
            for r in range(config.passes)
        ],
        routers=[router(prefix) for prefix in main],
        aux_routers=[router(prefix) for prefix in aux],
        router_bias=arrays.get("model.layers.1.router_bias"),
    )


def load(directory: pathlib.Path, dtype: type = np.float64) -> Model:
    """Reads a model directory; a missing, surplus or misshapen tensor is an error."""
    config = config_lib.load(directory)
    found = safetensors_io.read_directory(directory)
    wanted = shapes(config)
    for name, shape in wanted.items():
        if name not in found:
            raise ValueError(f"tensor {name}: missing, expected shape {shape}")
        if found[name].shape != shape:
            raise ValueError(f"tensor {name}: expected {shape}, found {found[name].shape}")
    copies = duplicates(config)
    for name in set(found) - set(wanted):
        if name.endswith("inv_freq"):
            continue
        if name not in copies:
            raise ValueError(f"tensor {name}: not part of this model")
        if not np.array_equal(found[name], found[copies[name]]):
            raise ValueError(f"tensor {name}: differs from {copies[name]}, which it repeats")
    return assemble(config, {name: found[name] for name in wanted}, dtype)
