# SPDX-License-Identifier: Apache-2.0
"""Continues a prompt with a checkpoint, by the serving rule, and prints text and depths.

A look at how the training goes.

Runs the whole sequence anew for each token; serving is the engine's task.
"""

import argparse
import pathlib

import torch
from tokenizers import Tokenizer

import bpe
import checkpoint


@torch.no_grad()
def continue_ids(model, ids, count, temperature, end, generator):
    """(ids and up to count more, the depth of the row that each new id was sampled from)."""
    depths = []
    for _ in range(count):
        window = torch.tensor([ids[-model.config.max_positions :]])
        h, routing = model(window, "threshold")
        logits = model.logits(h[0, -1])
        if temperature > 0:
            chances = torch.softmax(logits / temperature, dim=-1)
            token = torch.multinomial(chances, 1, generator=generator).item()
        else:
            token = logits.argmax().item()
        if token == end:
            break
        ids = ids + [token]
        if routing is not None:
            depths.append(1 + sum(chosen[0, -1].item() for chosen in routing.chosen))
    return ids, depths


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--data", type=pathlib.Path, required=True, help="data directory made by corpus.py"
    )
    parser.add_argument("--checkpoint", type=pathlib.Path, required=True)
    parser.add_argument("--prompt", default="import os\n\n\ndef read_file(path):\n")
    parser.add_argument("--tokens", type=int, default=120)
    parser.add_argument("--temperature", type=float, default=0.8)
    parser.add_argument("--seed", type=int, default=1)
    args = parser.parse_args()

    torch.set_num_threads(1)
    model, saved = checkpoint.load_model(args.checkpoint, "float32", "bfloat16")
    tokenizer = Tokenizer.from_file(str(args.data / "tokenizer.json"))
    generator = torch.Generator().manual_seed(args.seed)
    ids, depths = continue_ids(
        model,
        tokenizer.encode(args.prompt).ids,
        args.tokens,
        args.temperature,
        tokenizer.token_to_id(bpe.END_OF_TEXT),
        generator,
    )
    print(f"--- {saved['tokens']} tokens trained, temperature {args.temperature}")
    print(tokenizer.decode(ids))
    print("--- depths", "".join(str(d) for d in depths))


if __name__ == "__main__":
    main()
