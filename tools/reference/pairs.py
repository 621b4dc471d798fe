# SPDX-License-Identifier: Apache-2.0
"""Covering arrays: few rows that hold every pair of values of any two factors.

Greedy, after the idea of AETG: each new row is the best of some random candidates, each of which
starts from a pair not yet covered, so that the number of pairs left always falls.
"""

from __future__ import annotations

import itertools
import random
from typing import Any

_CANDIDATES = 60

Row = dict[str, Any]
Pair = tuple[tuple[str, Any], tuple[str, Any]]


def pairs_of(row: Row) -> set[Pair]:
    return set(itertools.combinations(row.items(), 2))


def all_pairs(factors: dict[str, tuple]) -> set[Pair]:
    """Every pair of values of two different factors, in the factors' order."""
    settings = [[(name, value) for value in values] for name, values in factors.items()]
    return {
        pair for a, b in itertools.combinations(settings, 2) for pair in itertools.product(a, b)
    }


def covering_rows(factors: dict[str, tuple], seed: int) -> list[Row]:
    """Rows of one value a factor that cover all_pairs(factors); the same for the same seed."""
    rng = random.Random(seed)
    left = all_pairs(factors)
    rows = []
    while left:
        ordered = sorted(left, key=repr)
        candidates = []
        for _ in range(_CANDIDATES):
            row = {name: rng.choice(values) for name, values in factors.items()}
            row.update(rng.choice(ordered))
            candidates.append(row)
        best = max(candidates, key=lambda row: len(pairs_of(row) & left))
        rows.append(best)
        left -= pairs_of(best)
    return rows
