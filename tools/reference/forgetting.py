# SPDX-License-Identifier: Apache-2.0
"""Golden cases of caches that forget: what a model says under budgets.

DIR/NAME/forgetting.json  [{"ids", "policy", "every", "sinks", "recent", "entries": [by group],
                          "depths", "logits_file"}, ...]
"""

from __future__ import annotations

import json
import pathlib
from typing import Any

import numpy as np

from . import random_models
from .model import Model
from .token_by_token import Budget, TokenByToken

LENGTH = 61


def _groups(model: Model) -> int:
    """Cache groups: the first layer, those of the recursions, the last layer."""
    mor = model.config.mor
    return 3 if mor.kv_mode == "shared" else model.config.passes + 2


def _policies(model: Model) -> list[str]:
    return ["window", "attention"] + (["router"] if model.config.mor.router else [])


def _draw(model: Model, policy: str, rng: np.random.Generator) -> dict[str, Any]:
    """One case in which no choice is close."""
    for _ in range(50):
        sinks, recent = int(rng.integers(0, 3)), int(rng.integers(0, 4))
        entries = [int(rng.integers(sinks + recent + 1, 15)) for _ in range(_groups(model))]
        every = int(rng.choice((3, 7, 16)))
        budget = Budget(policy, every, sinks, recent, dict(enumerate(entries)))
        ids = rng.integers(model.config.vocab_size, size=LENGTH).tolist()
        sequence = TokenByToken(model, budget=budget)
        logits, depths = zip(*(sequence.step(token) for token in ids))
        if sequence.margin >= random_models.MARGIN:
            return {"ids": ids, "policy": policy, "every": every, "sinks": sinks, "recent": recent,
                    "entries": entries, "depths": list(depths), "logits": np.array(logits)}  # fmt: skip
    raise RuntimeError(f"{policy}: no case without close choices in 50 attempts")


def write(model: Model, directory: pathlib.Path, rng: np.random.Generator) -> None:
    """Writes a case for each policy that `model`, which has `mor`, allows."""
    listed = []
    for policy in _policies(model):
        case = _draw(model, policy, rng)
        case["logits_file"] = f"forgetting_{policy}.f32"
        logits = case.pop("logits").astype("<f4")
        (directory / case["logits_file"]).write_bytes(logits.tobytes())
        listed.append(case)
    (directory / "forgetting.json").write_text(json.dumps(listed) + "\n")
