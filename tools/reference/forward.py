# SPDX-License-Identifier: Apache-2.0
"""The forward pass: a whole sequence at once, without a cache.

T: tokens, t: position, r: recursion (1..N), H [T, d]: residual stream, d: hidden size, D: head
size. A *layer* is a Llama decoder layer with its residuals; the *block* is the shared layers in
order. Every token runs recursion 1. A token's depth is the number of recursions that it ran;
vanilla models and those that repeat layers in place have depth 1.

What the formulas leave open, and what is done here:
- The router of expert-choice recursion r reads H as it is when r starts, that is after the update
  of recursion r - 1. Router 1 gives a gate but decides nothing; auxiliary router 1 is unused.
- `temperature` divides the input of the router, so for mlp it stands inside the GELU.
- A token that stops keeps its H: later recursions, and the last layer, see it unchanged.
- Shared KV of per-recursion attention weights: the keys are those of recursion 1's matrices. With
  shared_update the entries of recursion r come from recursion r's matrices and replace recursion
  1's for this recursion only; recursion r + 1 starts from recursion 1's again.
- Without routing every token is active, so shared_update equals recursion_wise.
- Equal token-choice scores go to the lower recursion.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable

import numpy as np

from .config import Config, RouterConfig
from .model import Layer, Model, Router, product

# (keys, values) [n, kv heads, D] of some positions -> (positions, keys, values) that are visible.
KeyChoice = Callable[[np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray, np.ndarray]]

# Keys or values [n, kv heads, D] -> what the cache keeps of them.
Keep = Callable[[np.ndarray], np.ndarray]

_erf = np.vectorize(math.erf, otypes=[np.float64])


@dataclasses.dataclass
class RouterInput:
    """What a router saw: for tools that draw routers."""

    h: np.ndarray  # [T, d], not yet divided by the temperature
    active: np.ndarray  # [T] bool: the tokens among which it decides


@dataclasses.dataclass
class Result:
    logits: np.ndarray  # [T, V]
    depths: np.ndarray  # [T]
    # Least distance of a decision from its opposite: of a deciding logit from ln(p / (1 - p)), or
    # between the two best biased scores of a token. Infinite where nothing is decided.
    margin: float
    router_inputs: list[RouterInput]  # expert-choice: by recursion; token-choice: one


def logit_threshold(p: float) -> float:
    """ln(p / (1 - p)): 0 lets every token pass, 1 none."""
    if p <= 0:
        return -math.inf
    return math.inf if p >= 1 else math.log(p / (1 - p))


def sigmoid(x: np.ndarray) -> np.ndarray:
    return 0.5 * (1 + np.tanh(0.5 * x))


def softmax(x: np.ndarray) -> np.ndarray:
    e = np.exp(x - x.max(axis=-1, keepdims=True))
    return e / e.sum(axis=-1, keepdims=True)


def silu(x: np.ndarray) -> np.ndarray:
    return x * sigmoid(x)


def gelu(x: np.ndarray) -> np.ndarray:
    """Exact: x * Phi(x) = x * (1 + erf(x / sqrt(2))) / 2."""
    return (0.5 * x * (1 + _erf(x / math.sqrt(2)))).astype(x.dtype)


def rms_norm(x: np.ndarray, weight: np.ndarray, eps: float) -> np.ndarray:
    """weight * x / sqrt(mean(x^2) + eps), over the last axis."""
    return weight * (x / np.sqrt(np.mean(x * x, axis=-1, keepdims=True) + eps))


def rotary_frequencies(config: Config) -> np.ndarray:
    """[D/2]: theta^(-2i/D), scaled as config.json says.

    llama3 keeps a frequency whose wave fits `high` times and more into the `original` positions,
    divides by the factor one whose wave fits `low` times or less, and interpolates in between.
    """
    half, scaling = config.head_dim // 2, config.rope_scaling
    frequencies = config.rope_theta ** (-np.arange(half) / half)
    if scaling is None:
        return frequencies
    if scaling.type == "linear":
        return frequencies / scaling.factor
    waves = scaling.original * frequencies / (2 * math.pi)
    kept = np.clip((waves - scaling.low) / (scaling.high - scaling.low), 0, 1)
    return kept * frequencies + (1 - kept) * frequencies / scaling.factor


def rope(x: np.ndarray, positions: np.ndarray, frequencies: np.ndarray) -> np.ndarray:
    """Rotates the pairs (i, i + D/2) of x [n, heads, D] by positions * frequencies[i]."""
    half = x.shape[-1] // 2
    angles = positions[:, None] * frequencies  # [n, D/2]
    cos, sin = (f(angles)[:, None, :].astype(x.dtype) for f in (np.cos, np.sin))
    a, b = x[..., :half], x[..., half:]
    return np.concatenate([a * cos - b * sin, b * cos + a * sin], axis=-1)


def attention(
    q: np.ndarray,  # [n, heads, D]
    q_positions: np.ndarray,  # [n]
    k: np.ndarray,  # [m, kv heads, D]
    v: np.ndarray,  # [m, kv heads, D]
    k_positions: np.ndarray,  # [m]
) -> np.ndarray:
    """softmax(q . k / sqrt(D)) v over the keys with position <= the query's; [n, heads * D].

    Query head h reads kv head h // (heads / kv heads).
    """
    group = q.shape[1] // k.shape[1]
    k, v = np.repeat(k, group, axis=1), np.repeat(v, group, axis=1)
    scores = q.transpose(1, 0, 2) @ k.transpose(1, 2, 0) / math.sqrt(q.shape[-1])
    causal = k_positions[None, :] <= q_positions[:, None]  # [n, m]
    weights = softmax(np.where(causal, scores, -np.inf))  # [heads, n, m]
    return (weights @ v.transpose(1, 0, 2)).transpose(1, 0, 2).reshape(len(q), -1)


def decoder_layer(
    config: Config,
    layer: Layer,
    h: np.ndarray,
    positions: np.ndarray,
    visible: KeyChoice,
    keep: Keep,
) -> np.ndarray:
    """h + o(attention(norm(h))), then h + down(silu(gate(norm(h))) * up(norm(h)))."""

    def heads(x: np.ndarray) -> np.ndarray:
        return x.reshape(len(x), -1, config.head_dim)

    x = rms_norm(h, layer.attention_norm, config.rms_norm_eps)
    frequencies = rotary_frequencies(config)
    q = rope(heads(product(x, layer.q)), positions, frequencies)
    k = rope(heads(product(x, layer.k)), positions, frequencies)
    k_positions, k, v = visible(keep(k), keep(heads(product(x, layer.v))))
    h = h + product(attention(q, positions, k, v, k_positions), layer.o)
    x = rms_norm(h, layer.mlp_norm, config.rms_norm_eps)
    return h + product(silu(product(x, layer.gate)) * product(x, layer.up), layer.down)


class Block:
    """The shared layers, and what a query at recursion r attends to in each of them.

    recursion_wise  s <= t that are active at r, as computed at r
    shared          all s <= t, as computed by recursion 1 of the same layer
    shared_update   all s <= t, as computed at r where active at r, else by recursion 1
    """

    def __init__(self, model: Model, keep: Keep):
        self._model, self._keep = model, keep
        self._mode = model.config.mor.kv_mode if model.config.mor else "recursion_wise"
        self._first: dict[int, tuple[np.ndarray, np.ndarray]] = {}  # layer -> recursion 1's k, v

    def run(self, r: int, h: np.ndarray, positions: np.ndarray) -> np.ndarray:
        """block(H) of the active rows: h [n, d] of `positions` [n]; residuals included."""
        for j, layer in enumerate(self._model.passes[r - 1]):

            def visible(k: np.ndarray, v: np.ndarray, j: int = j) -> tuple:
                return self._visible(r, j, positions, k, v)

            h = decoder_layer(self._model.config, layer, h, positions, visible, self._keep)
        return h

    def _visible(
        self, r: int, j: int, positions: np.ndarray, k: np.ndarray, v: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        if r == 1:  # every token is active
            self._first[j] = (k, v)
        if r == 1 or self._mode == "recursion_wise":
            return positions, k, v
        all_k, all_v = (x.copy() for x in self._first[j])
        if self._mode == "shared_update":
            all_k[positions], all_v[positions] = k, v
        return np.arange(len(all_k)), all_k, all_v


def router_logits(router: Router, h: np.ndarray, temperature: float) -> np.ndarray:
    """router(H_t / temperature), no norm, no bias: W x, or W2 gelu(W0 x); [T, out]."""
    x = h / temperature
    if len(router.matrices) == 2:
        x = gelu(x @ router.matrices[0].T)
    return x @ router.matrices[-1].T


def expert_gate(router: RouterConfig, z: np.ndarray) -> np.ndarray:
    """alpha * sigmoid(z), alpha * tanh(z), or z."""
    if router.function == "none":
        return z
    return router.alpha * (sigmoid(z) if router.function == "sigmoid" else np.tanh(z))


def token_gate(router: RouterConfig, z: np.ndarray) -> np.ndarray:
    """alpha * softmax(z) or alpha * sigmoid(z), over the recursions: [T, N]."""
    return router.alpha * (softmax(z) if router.function == "softmax" else sigmoid(z))


def run_fixed_depth(block: Block, h: np.ndarray, cap: int, result: Result) -> np.ndarray:
    """Every token runs every pass."""
    positions = np.arange(len(h))
    for r in range(1, cap + 1):
        h = block.run(r, h, positions)
    result.depths[:] = cap
    return h


def run_expert_choice(
    model: Model, block: Block, h: np.ndarray, cap: int, threshold: float, result: Result
) -> np.ndarray:
    """Before each recursion but the first a threshold drops tokens for good.

    active(t, r) = active(t, r - 1) and deciding logit >= ln(p / (1 - p)), where the deciding logit
    is z_r(t), or with aux_router that of auxiliary router r on H_t (no temperature).
    H_t <- H_t + g_r(t) * block(H)_t if weighted, else H_t + block(H)_t.
    """
    router = model.config.mor.router
    h, bound = h.copy(), logit_threshold(threshold)
    active = np.ones(len(h), bool)
    for r in range(1, cap + 1):
        result.router_inputs.append(RouterInput(h.copy(), active.copy()))
        z = router_logits(model.routers[r - 1], h, router.temperature)[:, 0]
        if r > 1:
            deciding = z
            if router.sampling == "aux_router":
                deciding = router_logits(model.aux_routers[r - 1], h, 1.0)[:, 0]
            if active.any():
                nearest = float(np.abs(deciding[active] - bound).min())
                result.margin = min(result.margin, nearest)
            active &= deciding >= bound
        rows = np.flatnonzero(active)
        if not len(rows):
            break
        gate = expert_gate(router, z[rows, None]) if router.gating == "weighted" else 1.0
        h[rows] += gate * block.run(r, h[rows], rows)
        result.depths[rows] = r
    return h


def run_token_choice(
    model: Model, block: Block, h1: np.ndarray, cap: int, result: Result
) -> np.ndarray:
    """One router chooses each token's depth before recursion 1; one gate after the last.

    depth(t) = 1 + argmax(g(t) + router_bias), capped after the choice.
    H_t <- H1_t + g(t)[depth - 1] * h_t, the gate without the bias; unweighted: H1_t + h_t.
    """
    router = model.config.mor.router
    result.router_inputs.append(RouterInput(h1.copy(), np.ones(len(h1), bool)))
    gates = token_gate(router, router_logits(model.routers[0], h1, router.temperature))
    scores = gates if model.router_bias is None else gates + model.router_bias
    if scores.shape[1] > 1:
        best = np.sort(scores, axis=1)[:, -2:]
        result.margin = float((best[:, 1] - best[:, 0]).min())
    depths = np.minimum(1 + scores.argmax(axis=1), cap)
    h = h1.copy()
    for r in range(1, int(depths.max()) + 1):
        rows = np.flatnonzero(depths >= r)
        h[rows] = block.run(r, h[rows], rows)
    result.depths[:] = depths
    if router.gating == "unweighted":
        return h1 + h
    return h1 + gates[np.arange(len(h)), depths - 1][:, None] * h


def _cap(config: Config, max_recursions: int | None) -> int:
    """The passes that may run; the knob is checked."""
    n, c = config.recursions, max_recursions
    if c is None or c == n:
        return config.passes
    if config.mor is None or config.repeats_layers:
        raise ValueError(f"max_recursions: this model takes only {n}, found {c}")
    if not 1 <= c <= n:
        raise ValueError(f"max_recursions: expected 1..{n}, found {c}")
    return c


def forward(
    model: Model,
    ids: list[int],
    max_recursions: int | None = None,
    router_threshold: float | None = None,
    keep: Keep = lambda x: x,
) -> Result:
    """Logits and depths of every position.

    max_recursions: c in 1..N; expert-choice and fixed-depth cycles stop after recursion c,
    token-choice runs min(depth, c). router_threshold: p in [0, 1] in place of the configuration's,
    for expert-choice only. None: as trained. keep: what the cache keeps of keys and values.
    """
    config = model.config
    router = config.mor.router if config.mor else None
    expert = router is not None and router.type == "expert_choice"
    cap = _cap(config, max_recursions)
    if router_threshold is not None and not (expert and 0 <= router_threshold <= 1):
        raise ValueError(f"router_threshold: expert-choice only, in 0..1: {router_threshold}")
    if not ids or min(ids) < 0 or max(ids) >= config.vocab_size:
        raise ValueError(f"ids: expected one or more in 0..{config.vocab_size - 1}")

    positions = np.arange(len(ids))

    def own_keys(k: np.ndarray, v: np.ndarray) -> tuple:
        return positions, k, v  # an end layer sees all s <= t, as computed by itself

    result = Result(np.empty(0), np.ones(len(ids), np.int64), math.inf, [])
    h = model.embedding[np.asarray(ids)]
    block = Block(model, keep)
    if model.first:
        h = decoder_layer(config, model.first, h, positions, own_keys, keep)
    if expert:
        threshold = router.threshold if router_threshold is None else router_threshold
        h = run_expert_choice(model, block, h, cap, threshold, result)
    elif router:
        h = run_token_choice(model, block, h, cap, result)
    else:
        h = run_fixed_depth(block, h, cap, result)
    if model.last:
        h = decoder_layer(config, model.last, h, positions, own_keys, keep)
    result.logits = product(rms_norm(h, model.norm, config.rms_norm_eps), model.head)
    return result
