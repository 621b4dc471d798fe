# SPDX-License-Identifier: Apache-2.0
"""The same mathematics the other way round: one token at a time, with caches and explicit loops.

Each token runs all its recursions before the next token begins, as when a server generates. This
shares no formula with forward.py, so that the self-test can set one against the other; it is too
slow for anything but that and caches that forget, which only exist here: see Budget.
"""

from __future__ import annotations

import dataclasses
import math

import numpy as np

from .config import Config
from .forward import Keep
from .model import Layer, Model, Router

Entry = tuple[np.ndarray, np.ndarray]  # key and value of one token, [kv heads][D] each


@dataclasses.dataclass(frozen=True)
class Budget:
    """How many entries each cache group may keep, and which go.

    Groups: 0 the first layer, r the layers of recursion r (with shared keys all recursions: 1), and
    last + 1 the last layer. Before the token at a position that is a multiple of `every`, a group
    with more than entries[group] entries keeps its first `sinks`, then its last `recent` and, for
    the rest, with policy
      window     the last ones
      attention  those that got most of it: the sum of the attention weights that all queries up to
                 here gave them, in all heads and layers of the group; with shared keys those of
                 recursion 1
      router     those with the highest score by which a router let their token into the recursion:
                 expert-choice the deciding logit, token-choice the best biased score; where there is
                 none, the last ones
    """

    policy: str
    every: int
    sinks: int
    recent: int
    entries: dict[int, int]


def _norm(x: np.ndarray, weight: np.ndarray, eps: float) -> np.ndarray:
    return x * weight / math.sqrt(sum(v * v for v in x.tolist()) / len(x) + eps)


def _turn(config: Config, i: int) -> float:
    """The angle by which one position turns pair i."""
    scaling, wavelength = config.rope_scaling, 2 * math.pi * config.rope_theta ** (
        2 * i / config.head_dim
    )
    stretched = wavelength * (scaling.factor if scaling else 1)
    if scaling is None or scaling.type == "linear" or wavelength > scaling.original / scaling.low:
        return 2 * math.pi / stretched
    if wavelength < scaling.original / scaling.high:
        return 2 * math.pi / wavelength
    smooth = (scaling.original / wavelength - scaling.low) / (scaling.high - scaling.low)
    return 2 * math.pi * (smooth / wavelength + (1 - smooth) / stretched)


def _rotate(head: np.ndarray, position: int, config: Config) -> np.ndarray:
    """Multiplies each pair (i, i + D/2), taken as a complex number, by e^(i * angle)."""
    size = len(head)
    pairs = head[: size // 2] + 1j * head[size // 2 :]
    turned = [
        pair * complex(math.cos(angle), math.sin(angle))
        for i, pair in enumerate(pairs)
        for angle in [position * _turn(config, i)]
    ]
    return np.array([p.real for p in turned] + [p.imag for p in turned])


def _score(router: Router, h: np.ndarray) -> list[float]:
    if len(router.matrices) == 1:
        return (router.matrices[0] @ h).tolist()
    hidden = [0.5 * x * math.erfc(-x / math.sqrt(2)) for x in (router.matrices[0] @ h).tolist()]
    return (router.matrices[1] @ np.array(hidden)).tolist()


def _logistic(x: float) -> float:
    return 1 / (1 + math.exp(-x))


class TokenByToken:
    """One sequence in progress."""

    def __init__(
        self,
        model: Model,
        max_recursions: int | None = None,
        threshold: float | None = None,
        budget: Budget | None = None,
        keep: Keep = lambda x: x,
    ):
        self._model, self._config = model, model.config
        self._cap = min(max_recursions or model.config.passes, model.config.passes)
        self._threshold = threshold
        self._position = 0
        self._cache: dict[tuple, dict[int, Entry]] = {}  # (recursion, layer) -> position -> entry
        self._budget, self._keep = budget, keep
        self._mass: dict[int, dict[int, float]] = {}  # group -> position -> attention that it got
        self._scores: dict[tuple[int, int], float] = {}  # (recursion, position) -> router's score
        # Least distance of a decision from its opposite: a router's, or which entries go.
        self.margin = math.inf

    def step(self, token: int) -> tuple[np.ndarray, int]:
        """Logits [V] and depth of the next token."""
        model, mor = self._model, self._config.mor
        if self._budget and self._position and self._position % self._budget.every == 0:
            self._evict()
        h = model.embedding[token]
        if model.first:
            h = self._layer(model.first, h, ("first", 0), [("first", 0)])
        if mor is None or mor.router is None:
            depth = self._cap
            for r in range(1, depth + 1):
                h = self._block(r, h)
        elif mor.router.type == "expert_choice":
            h, depth = self._expert_choice(h)
        else:
            h, depth = self._token_choice(h)
        if model.last:
            h = self._layer(model.last, h, ("last", 0), [("last", 0)])
        self._position += 1
        return model.head @ _norm(h, model.norm, self._config.rms_norm_eps), depth

    def _expert_choice(self, h: np.ndarray) -> tuple[np.ndarray, int]:
        router, depth = self._config.mor.router, 0
        p = router.threshold if self._threshold is None else self._threshold
        for r in range(1, self._cap + 1):
            (z,) = _score(self._model.routers[r - 1], h / router.temperature)
            deciding = z
            if router.sampling == "aux_router":
                (deciding,) = _score(self._model.aux_routers[r - 1], h)
            if r > 1 and 0 < p < 1:
                self.margin = min(self.margin, abs(deciding - math.log(p / (1 - p))))
            if r > 1 and not _logistic(deciding) >= p:
                break
            self._scores[r, self._position] = deciding
            gate = {"sigmoid": _logistic, "tanh": math.tanh, "none": float}[router.function](z)
            gate *= 1.0 if router.alpha is None else router.alpha
            h = h + (gate if router.gating == "weighted" else 1.0) * self._block(r, h)
            depth = r
        return h, depth

    def _token_choice(self, h1: np.ndarray) -> tuple[np.ndarray, int]:
        router, n = self._config.mor.router, self._config.recursions
        z = _score(self._model.routers[0], h1 / router.temperature)
        if router.function == "softmax":
            gates = [router.alpha / sum(math.exp(y - x) for y in z) for x in z]
        else:
            gates = [router.alpha * _logistic(x) for x in z]
        bias = [0.0] * n if self._model.router_bias is None else self._model.router_bias.tolist()
        best = sorted(gates[i] + bias[i] for i in range(n))
        if n > 1:
            self.margin = min(self.margin, best[-1] - best[-2])
        depth = 1 + max(range(n), key=lambda i: gates[i] + bias[i])
        depth = min(depth, self._cap)
        self._scores |= {(r, self._position): best[-1] for r in range(1, depth + 1)}
        h = h1
        for r in range(1, depth + 1):
            h = self._block(r, h)
        return h1 + (gates[depth - 1] if router.gating == "weighted" else 1.0) * h, depth

    def _block(self, r: int, h: np.ndarray) -> np.ndarray:
        mode = self._config.mor.kv_mode if self._config.mor else "recursion_wise"
        for j, layer in enumerate(self._model.passes[r - 1]):
            groups = {
                "recursion_wise": [(r, j)],
                "shared": [(1, j)],
                "shared_update": [(1, j), (r, j)],
            }
            h = self._layer(layer, h, (r, j), groups[mode])
        return h

    def _layer(self, layer: Layer, h: np.ndarray, write: tuple, read: list[tuple]) -> np.ndarray:
        """One layer; its entry goes to group `write`, later groups of `read` hide earlier ones."""
        c = self._config
        x = _norm(h, layer.attention_norm, c.rms_norm_eps)
        k, v = (m.reshape(c.num_key_value_heads, c.head_dim) for m in (layer.k @ x, layer.v @ x))
        k = np.array([_rotate(head, self._position, c) for head in k])
        self._cache.setdefault(write, {})[self._position] = (self._keep(k), self._keep(v))
        visible: dict[int, Entry] = {}
        for group in read:
            visible |= self._cache[group]
        outputs = []
        for i, q in enumerate((layer.q @ x).reshape(-1, c.head_dim)):
            kv_head = i * c.num_key_value_heads // c.num_attention_heads
            q = _rotate(q, self._position, c)
            exps = [
                (math.exp(float(q @ key[kv_head]) / math.sqrt(c.head_dim)), value[kv_head])
                for key, value in visible.values()
            ]
            total = sum(e for e, _ in exps)
            outputs.append(sum(e * value for e, value in exps) / total)
            if write in read:
                for position, (e, _) in zip(visible, exps):
                    mass = self._mass.setdefault(self._group(write), {})
                    mass[position] = mass.get(position, 0.0) + e / total
        h = h + layer.o @ np.concatenate(outputs)
        x = _norm(h, layer.mlp_norm, c.rms_norm_eps)
        gated = [g * _logistic(g) for g in (layer.gate @ x).tolist()] * (layer.up @ x)
        return h + layer.down @ gated

    def _group(self, key: tuple) -> int | None:
        """The cache group of the entries of (recursion, layer)."""
        shared = self._config.mor is not None and self._config.mor.kv_mode == "shared"
        if key[0] == "first":
            return 0
        if key[0] == "last":
            return 2 if shared else self._config.passes + 1
        return None if shared and key[0] > 1 else key[0]  # nobody reads those of later recursions

    def _evict(self) -> None:
        for group, most in self._budget.entries.items():
            layers = [key for key in self._cache if self._group(key) == group]
            if not layers:
                continue
            positions = sorted(self._cache[layers[0]])
            if len(positions) <= most:
                continue
            kept = self._kept(group, positions, most)
            for key in layers:
                self._cache[key] = {p: self._cache[key][p] for p in kept}

    def _router_scores(self, group: int, positions: list[int]) -> dict[int, float] | None:
        is_recursion = self._group((group, 0)) == group and group <= self._config.passes
        if group < 2 or not is_recursion or not self._scores:
            return None
        return {p: self._scores[group, p] for p in positions}

    def _kept(self, group: int, positions: list[int], most: int) -> list[int]:
        budget = self._budget
        worth = {
            "window": None,
            "attention": self._mass.get(group),
            "router": self._router_scores(group, positions),
        }[budget.policy]
        if worth is None:
            return positions[: budget.sinks] + positions[len(positions) - most + budget.sinks :]
        middle = positions[budget.sinks : len(positions) - budget.recent]
        ranked = sorted(middle, key=lambda p: worth[p], reverse=True)
        chosen = most - budget.sinks - budget.recent
        if 0 < chosen < len(ranked):
            self.margin = min(self.margin, worth[ranked[chosen - 1]] - worth[ranked[chosen]])
        best = set(ranked[:chosen])
        return [p for p in positions if p in best or p not in middle]
