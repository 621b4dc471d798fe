# SPDX-License-Identifier: Apache-2.0
"""What a cache keeps of keys and values, and golden cases of it.

DIR/NAME/quantized.json  [{"ids", "kv_precision", "depths", "logits_file"}, ...]
"""

from __future__ import annotations

import json
import pathlib
from collections.abc import Callable

import numpy as np

from . import random_models
from .forward import Result, forward
from .model import Model

LENGTH = 70


def to_bf16(x: np.ndarray) -> np.ndarray:
    """Rounded to 8 significant bits, ties to even."""
    mantissa, exponent = np.frexp(x)
    return np.ldexp(np.rint(mantissa * 256), exponent - 8)


def to_int8(x: np.ndarray) -> np.ndarray:
    """Each vector along the last axis as whole multiples of a 127th of its largest magnitude."""
    scale = np.abs(x).max(axis=-1, keepdims=True) / 127
    return np.rint(x / np.where(scale == 0, 1, scale)) * scale


KEEP: dict[str, Callable[[np.ndarray], np.ndarray]] = {"bf16": to_bf16, "int8": to_int8}


def _draw(model: Model, precision: str, rng: np.random.Generator) -> tuple[list[int], Result]:
    """A prompt for which no choice is close."""
    for _ in range(200):
        ids = rng.integers(model.config.vocab_size, size=LENGTH).tolist()
        result = forward(model, ids, keep=KEEP[precision])
        # What is rounded the other way in another arithmetic moves a router's score by more than
        # that arithmetic's own errors.
        if result.margin >= 5 * random_models.MARGIN:
            return ids, result
    raise RuntimeError(f"{precision}: no prompt without close choices in 200 attempts")


def write(model: Model, directory: pathlib.Path, rng: np.random.Generator) -> None:
    """Writes a case for each precision, by the model as it is in `directory`."""
    listed = []
    for precision in KEEP:
        ids, result = _draw(model, precision, rng)
        name = f"quantized_{precision}.f32"
        (directory / name).write_bytes(result.logits.astype("<f4").tobytes())
        listed.append({"ids": ids, "kv_precision": precision, "depths": result.depths.tolist(),
                       "logits_file": name})  # fmt: skip
    (directory / "quantized.json").write_text(json.dumps(listed) + "\n")
