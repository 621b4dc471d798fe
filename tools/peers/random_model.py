# SPDX-License-Identifier: Apache-2.0
"""Model directories with random weights, of the shapes that recurve-bench names: for servers of any make.

As a program: python -m tools.peers.random_model DIRECTORY --shape=135m
"""

from __future__ import annotations

import argparse
import json
import math
import pathlib
from typing import NamedTuple

import numpy as np

from tools.reference.safetensors_io import encode

VOCAB = 49152
HEAD_DIM = 64
CONTEXT = 2048


class Shape(NamedTuple):
    """Vanilla Llama with one matrix for embedding and head, as engine/bench/shapes.cc has it."""
    layers: int
    hidden: int
    heads: int
    kv_heads: int
    intermediate: int

    def tensors(self) -> dict[str, tuple[int, ...]]:
        """Names and shapes, in the file's order."""
        hidden, queries, keys = self.hidden, self.heads * HEAD_DIM, self.kv_heads * HEAD_DIM
        shapes: dict[str, tuple[int, ...]] = {"model.embed_tokens.weight": (VOCAB, hidden)}
        for layer in range(self.layers):
            of_layer = {
                "input_layernorm": (hidden,), "self_attn.q_proj": (queries, hidden),
                "self_attn.k_proj": (keys, hidden), "self_attn.v_proj": (keys, hidden),
                "self_attn.o_proj": (hidden, queries), "post_attention_layernorm": (hidden,),
                "mlp.gate_proj": (self.intermediate, hidden), "mlp.up_proj": (self.intermediate, hidden),
                "mlp.down_proj": (hidden, self.intermediate),
            }
            shapes.update({f"model.layers.{layer}.{name}.weight": shape for name, shape in of_layer.items()})
        shapes["model.norm.weight"] = (hidden,)
        return shapes

    def parameters(self) -> int:
        return sum(math.prod(shape) for shape in self.tensors().values())

    def config(self) -> dict[str, object]:
        return {
            "architectures": ["LlamaForCausalLM"], "model_type": "llama", "torch_dtype": "bfloat16",
            "vocab_size": VOCAB, "hidden_size": self.hidden, "intermediate_size": self.intermediate,
            "num_hidden_layers": self.layers, "num_attention_heads": self.heads,
            "num_key_value_heads": self.kv_heads, "head_dim": HEAD_DIM, "hidden_act": "silu",
            "max_position_embeddings": CONTEXT, "rms_norm_eps": 1e-5, "rope_theta": 10000.0,
            "tie_word_embeddings": True, "attention_bias": False, "bos_token_id": 0, "eos_token_id": 0,
        }


SHAPES = {
    "135m": Shape(30, 576, 9, 3, 1536),
    "360m": Shape(32, 960, 15, 5, 2560),
    "730m": Shape(26, 1536, 24, 8, 4096),
    "1.7b": Shape(24, 2048, 32, 32, 8192),
}


def write_model(directory: pathlib.Path, shape: Shape, dtype: str = "BF16", seed: int = 1) -> None:
    """Writes config.json and model.safetensors, a tensor at a time."""
    directory.mkdir(parents=True, exist_ok=True)
    (directory / "config.json").write_text(json.dumps(shape.config(), indent=2) + "\n")
    size = 4 if dtype == "F32" else 2
    header: dict[str, object] = {"__metadata__": {"format": "pt"}}
    end = 0
    for name, dimensions in shape.tensors().items():
        begin, end = end, end + size * math.prod(dimensions)
        header[name] = {"dtype": dtype, "shape": list(dimensions), "data_offsets": [begin, end]}
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    rng = np.random.default_rng(seed)
    with open(directory / "model.safetensors", "wb") as file:
        file.write(len(text).to_bytes(8, "little") + text)
        for dimensions in shape.tensors().values():
            values = rng.standard_normal(dimensions, np.float32)
            scaled = 1 + 0.1 * values if len(dimensions) == 1 else values / math.sqrt(dimensions[-1])
            file.write(encode(scaled, dtype).tobytes())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("directory", type=pathlib.Path)
    parser.add_argument("--shape", choices=SHAPES, default="135m")
    parser.add_argument("--dtype", choices=("BF16", "F16", "F32"), default="BF16")
    args = parser.parse_args()
    write_model(args.directory, SHAPES[args.shape], args.dtype)


if __name__ == "__main__":
    main()
