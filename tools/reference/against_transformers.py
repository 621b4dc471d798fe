# SPDX-License-Identifier: Apache-2.0
"""Compares the reference with transformers' Llama, and keeps what transformers said.

`python3 -m tools.reference.against_transformers --help`. Writing the file needs torch and
transformers; checking it, which the self-test does too, needs NumPy alone. The models are small and
their weights a formula, so that the file holds nothing but configurations, tokens and logits.
"""

from __future__ import annotations

import argparse
import json
import pathlib
import sys
import zlib
from typing import Any

import numpy as np

from . import config as config_lib
from . import model as model_lib
from .forward import forward

RECORD = pathlib.Path(__file__).with_name("transformers_logits.json")

_LLAMA3 = {
    "rope_type": "llama3",
    "factor": 8.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 64,
}
_ROPE: dict[str, dict[str, Any]] = {
    "default": {"rope_theta": 1000.0},
    "linear": {"rope_theta": 1000.0, "rope_scaling": {"type": "linear", "factor": 2.5}},
    "llama3": {"rope_theta": 1000.0, "rope_scaling": _LLAMA3},
    "llama3_parameters": {"rope_parameters": _LLAMA3 | {"rope_theta": 500.0}},
}
_SIZES = {
    "vocab_size": 40,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "num_key_value_heads": 1,
    "max_position_embeddings": 256,
    "rms_norm_eps": 1e-5,
    "tie_word_embeddings": False,
}
_TOKENS = [(7 * i * i + 3 * i) % 40 for i in range(120)]
_POSITIONS = (1, 40, 119)  # whose logits are kept


def _values(name: str, shape: tuple[int, ...]) -> np.ndarray:
    """Numbers that look random and are the same everywhere; exact in float32."""
    count = int(np.prod(shape))
    k = np.arange(count, dtype=np.uint64) + np.uint64(zlib.crc32(name.encode()))
    mixed = (k * np.uint64(2654435761)) % np.uint64(2**32)
    mixed = ((mixed ^ (mixed >> np.uint64(15))) * np.uint64(2246822519)) % np.uint64(2**32)
    unit = (mixed >> np.uint64(12)).astype(np.float64) / 2**19 - 1  # in [-1, 1)
    if name.endswith("norm.weight"):
        return (1 + 0.25 * unit).reshape(shape)
    gain = 4.0 if "q_proj" in name or "k_proj" in name else 2.0
    scale = 1.0 if "embed" in name else gain / 2 ** round(np.log2(np.sqrt(shape[-1])))
    return (scale * unit).reshape(shape)


def _tensors(config: config_lib.Config) -> dict[str, np.ndarray]:
    return {name: _values(name, shape) for name, shape in model_lib.shapes(config).items()}


def _reference(fields: dict[str, Any], tokens: list[int]) -> np.ndarray:
    """Logits [T, V]."""
    config = config_lib.parse(fields)
    return forward(model_lib.assemble(config, _tensors(config)), tokens).logits


def _ask_transformers(fields: dict[str, Any], tokens: list[int]) -> np.ndarray:
    """Logits [T, V]."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    config = LlamaConfig(**fields, attn_implementation="eager")
    model = LlamaForCausalLM(config)
    tensors = _tensors(config_lib.parse(fields))
    model.load_state_dict({name: torch.tensor(x, dtype=torch.float32) for name, x in tensors.items()})
    model.eval()
    with torch.no_grad():
        return model(torch.tensor([tokens])).logits[0].double().numpy()


def write(path: pathlib.Path) -> None:
    import torch
    import transformers

    cases = {}
    for name, rope in _ROPE.items():
        logits = _ask_transformers(_SIZES | rope, _TOKENS)
        kept = {str(t): [round(x, 6) for x in logits[t].tolist()] for t in _POSITIONS}
        cases[name] = {"config": _SIZES | rope, "logits": kept}
    record = {
        "transformers": transformers.__version__,
        "torch": torch.__version__,
        "tokens": _TOKENS,
        "cases": cases,
    }
    path.write_text(json.dumps(record) + "\n", encoding="utf-8")


def errors(path: pathlib.Path) -> dict[str, float]:
    """The reference's greatest distance from the logits in the file, relative to their norm."""
    record = json.loads(path.read_text(encoding="utf-8"))
    found = {}
    for name, case in record["cases"].items():
        logits = _reference(case["config"], record["tokens"])
        found[name] = max(
            float(np.linalg.norm(logits[int(t)] - expected) / np.linalg.norm(expected))
            for t, expected in case["logits"].items()
        )
    return found


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--write", action="store_true", help="ask transformers anew; needs torch and transformers"
    )
    args = parser.parse_args()
    if args.write:
        write(RECORD)
    found = errors(RECORD)
    for name, error in found.items():
        print(f"{name:20} relative error {error:.2g}")
    return int(max(found.values()) > 1e-5)


if __name__ == "__main__":
    sys.exit(main())
