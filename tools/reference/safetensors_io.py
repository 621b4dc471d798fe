# SPDX-License-Identifier: Apache-2.0
"""Safetensors: 8 bytes little-endian length, a JSON header of that length, then the data.

The header maps each name to {"dtype", "shape", "data_offsets": [begin, end]}, offsets relative to
the end of the header. NumPy has no bfloat16, so BF16 travels as the upper 16 bits of a float32.
"""

from __future__ import annotations

import json
import pathlib

import numpy as np

DTYPES = ("F32", "F16", "BF16")


def round_to(x: np.ndarray, dtype: str) -> np.ndarray:
    """The nearest values that `dtype` can store (ties to even), as float32."""
    return _decode(encode(np.asarray(x, np.float32), dtype), dtype)


def encode(x: np.ndarray, dtype: str) -> np.ndarray:
    if dtype == "F32":
        return x.astype("<f4")
    if dtype == "F16":
        return x.astype("<f2")
    bits = x.astype("<f4").view("<u4")
    return ((bits + 0x7FFF + ((bits >> 16) & 1)) >> 16).astype("<u2")


def _decode(raw: np.ndarray, dtype: str) -> np.ndarray:
    if dtype == "BF16":
        return (raw.astype("<u4") << 16).view("<f4")
    return raw.astype("<f4")


def write_file(path: pathlib.Path, tensors: dict[str, np.ndarray], dtype: str = "F32") -> None:
    """Writes the tensors in the order given, all in one dtype."""
    header: dict[str, object] = {"__metadata__": {"format": "pt"}}
    blobs, end = [], 0
    for name, x in tensors.items():
        blob = encode(np.asarray(x, np.float32), dtype).tobytes()
        offsets = [end, end + len(blob)]
        header[name] = {"dtype": dtype, "shape": list(x.shape), "data_offsets": offsets}
        blobs.append(blob)
        end += len(blob)
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    path.write_bytes(len(text).to_bytes(8, "little") + text + b"".join(blobs))


def read_file(path: pathlib.Path) -> dict[str, np.ndarray]:
    """All tensors of one file as float32 (exact for every dtype of DTYPES)."""
    data = path.read_bytes()
    start = 8 + int.from_bytes(data[:8], "little")
    header = json.loads(data[8:start])
    header.pop("__metadata__", None)
    tensors = {}
    for name, entry in header.items():
        dtype, (begin, end) = entry["dtype"], entry["data_offsets"]
        if dtype not in DTYPES:
            raise ValueError(f"{path}: tensor {name}: expected {DTYPES}, found {dtype}")
        raw_type = {"F32": "<f4", "F16": "<f2", "BF16": "<u2"}[dtype]
        raw = np.frombuffer(data[start + begin : start + end], raw_type)
        tensors[name] = _decode(raw, dtype).reshape(entry["shape"])
    return tensors


def write_sharded(
    directory: pathlib.Path, tensors: dict[str, np.ndarray], dtype: str, shards: int
) -> None:
    """Deals the tensors out to `shards` files and writes model.safetensors.index.json."""
    weight_map: dict[str, str] = {}
    for s in range(shards):
        file_name = f"model-{s + 1:05}-of-{shards:05}.safetensors"
        part = {name: x for i, (name, x) in enumerate(tensors.items()) if i % shards == s}
        write_file(directory / file_name, part, dtype)
        weight_map.update(dict.fromkeys(part, file_name))
    item_size = 4 if dtype == "F32" else 2
    total = sum(x.size * item_size for x in tensors.values())
    index = {"metadata": {"total_size": total}, "weight_map": weight_map}
    (directory / "model.safetensors.index.json").write_text(json.dumps(index, indent=1))


def read_directory(directory: pathlib.Path) -> dict[str, np.ndarray]:
    """The tensors of a model directory, in one file or in the shards that its index names."""
    index = directory / "model.safetensors.index.json"
    if not index.exists():
        return read_file(directory / "model.safetensors")
    weight_map = json.loads(index.read_text(encoding="utf-8"))["weight_map"]
    tensors: dict[str, np.ndarray] = {}
    for file_name in sorted(set(weight_map.values())):
        tensors.update(read_file(directory / file_name))
    return tensors
