# SPDX-License-Identifier: Apache-2.0
"""Products in int8, as `--precision=int8` has them.

Numbers of a row, an output's weights or the inputs of a token, become whole ones from -127 to 127,
ties to even, and a scale: the row's largest magnitude over 127. Products of the whole numbers are
exact.
"""

from __future__ import annotations

import dataclasses

import numpy as np

from .model import Layer, Model

_LEAST = 2.0**-100  # a row without a magnitude as large is all zeros


def quantize(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Whole numbers [..., n] and scales [..., 1] of the rows of x."""
    largest = np.abs(x).max(axis=-1, keepdims=True)
    scale = np.where(largest < _LEAST, 0, largest / 127)
    return np.rint(np.divide(x, scale, out=np.zeros_like(x), where=scale > 0)), scale


@dataclasses.dataclass
class Int8Matrix:
    """Takes the place of a matrix [out, in]."""

    numbers: np.ndarray  # [out, in]
    scales: np.ndarray  # [out, 1]

    def product(self, x: np.ndarray) -> np.ndarray:
        """W x of the rows of x [n, in], each quantized: [n, out]."""
        numbers, scales = quantize(x)
        return numbers @ self.numbers.T * scales * self.scales.T

    def rows(self) -> np.ndarray:
        """The weights again, as they are kept here."""
        return self.numbers * self.scales


def quantized(model: Model) -> Model:
    """The model with its matrices in int8, but for the routers'."""
    made: dict[int, Int8Matrix] = {}  # by the array's id: shared weights stay the same

    def matrix(w: np.ndarray) -> Int8Matrix:
        if id(w) not in made:
            made[id(w)] = Int8Matrix(*quantize(w))
        return made[id(w)]

    def layer(x: Layer) -> Layer:
        leaves = ("q", "k", "v", "o", "gate", "up", "down")
        return dataclasses.replace(x, **{leaf: matrix(getattr(x, leaf)) for leaf in leaves})

    return dataclasses.replace(
        model,
        embedding=matrix(model.embedding).rows(),
        head=matrix(model.head),
        first=model.first and layer(model.first),
        last=model.last and layer(model.last),
        passes=[[layer(x) for x in layers] for layers in model.passes],
    )
