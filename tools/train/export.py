# SPDX-License-Identifier: Apache-2.0
"""Exports a checkpoint of the MoR model as a model directory.

config.json (with the `mor` object), model.safetensors in bfloat16, tokenizer.json and
generation_config.json.
"""

import argparse
import json
import pathlib
import shutil

from safetensors.torch import save_file
from tokenizers import Tokenizer
import torch

import bpe
import checkpoint
import model as models


def exported_tensors(state, config):
    """The weights in bfloat16 under their exported names; shared ones once, at recursion 0."""
    renamed = {
        "embed_tokens": "model.embed_tokens.weight",
        "norm.weight": "model.norm.weight",
    }
    for r in range(config.recursions):
        renamed[f"routers.{r}"] = f"model.layers.{1 + r}.mor_router.router.weight"
    prefixes = {
        "first.": "model.layers.0.",
        "block.": "model.layers.1.block.",
        "last.": f"model.layers.{config.recursions + 1}.",
    }
    tensors = {}
    for name, weight in state.items():
        target = renamed.get(name)
        if target is None:
            prefix = next(p for p in prefixes if name.startswith(p))
            target = prefixes[prefix] + name[len(prefix) :]
        tensors[target] = weight.to(torch.bfloat16).contiguous()
    return tensors


def llama_config(config, end_of_text):
    """config.json: a LlamaConfig whose num_hidden_layers is the effective depth, and `mor`."""
    return {
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "vocab_size": config.vocabulary,
        "hidden_size": config.hidden,
        "intermediate_size": config.ffn,
        "num_hidden_layers": config.effective_layers,
        "num_attention_heads": config.heads,
        "num_key_value_heads": config.kv_heads,
        "head_dim": config.head_dim,
        "hidden_act": "silu",
        "max_position_embeddings": config.max_positions,
        "rms_norm_eps": config.norm_eps,
        "rope_theta": config.rope_theta,
        "rope_scaling": None,
        "attention_bias": False,
        "mlp_bias": False,
        "tie_word_embeddings": True,
        "torch_dtype": "bfloat16",
        "bos_token_id": None,
        "eos_token_id": end_of_text,
        "mor": {
            "sharing": "middle_cycle",
            "num_recursions": config.recursions,
            "kv_mode": "recursion_wise",
            "attention_weights": "tied",
            "router": {
                "type": "expert_choice",
                "network": "linear",
                "function": "sigmoid",
                "alpha": config.alpha,
                "temperature": 1.0,
                "gating": "weighted",
                "sampling": "aux_loss",
                "threshold": 0.5,
            },
        },
    }


def write_json(path, value):
    path.write_text(json.dumps(value, indent=2) + "\n")


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--data", type=pathlib.Path, required=True, help="data directory made by corpus.py"
    )
    parser.add_argument("--checkpoint", type=pathlib.Path, required=True)
    parser.add_argument("--out", type=pathlib.Path, required=True, help="model directory to make")
    args = parser.parse_args()

    saved = torch.load(args.checkpoint, map_location="cpu")
    config = models.ModelConfig(**saved["config"])
    if config.kind != "mor":
        raise SystemExit(
            f"{args.checkpoint} is a {config.kind} model; only mor models are exported"
        )
    args.out.mkdir(parents=True, exist_ok=True)
    tokenizer = Tokenizer.from_file(str(args.data / "tokenizer.json"))
    end_of_text = tokenizer.token_to_id(bpe.END_OF_TEXT)
    weights = args.out / "model.safetensors"
    save_file(exported_tensors(saved["model"], config), str(weights), {"format": "pt"})
    weights.chmod(0o644)  # safetensors makes it private
    shutil.copyfile(args.data / "tokenizer.json", args.out / "tokenizer.json")
    write_json(args.out / "config.json", llama_config(config, end_of_text))
    write_json(args.out / "generation_config.json", {"eos_token_id": end_of_text})


if __name__ == "__main__":
    main()
