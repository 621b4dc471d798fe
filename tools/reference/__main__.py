# SPDX-License-Identifier: Apache-2.0
"""Command line: `python3 -m tools.reference --help`."""

from __future__ import annotations

import argparse
import pathlib
import sys

import numpy as np

from . import config as config_lib
from . import generate as generate_lib
from . import model as model_lib
from .forward import forward


def _ids(text: str) -> list[int]:
    return [int(part) for part in text.split(",")]


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python3 -m tools.reference",
        description="Reference forward pass of Mixture-of-Recursions models, in NumPy and float64.",
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")

    gen = commands.add_parser(
        "generate",
        help="write random models with their expected logits and depths",
        description="Writes one model directory for every golden model, each with cases.json and"
        " the logits in caseN.f32, and index.json, which lists them.",
        epilog="example: python3 -m tools.reference generate --out /tmp/golden --only 'keys_*'",
    )
    gen.add_argument("--out", type=pathlib.Path, required=True, metavar="DIR")
    gen.add_argument("--seed", type=int, default=1, metavar="S", help="default: 1")
    gen.add_argument(
        "--only", metavar="NAME", help="only models of this name; * and ? match as in a shell"
    )

    run = commands.add_parser(
        "run",
        help="print the depth and the likeliest next tokens at each position",
        description="Runs a model directory (config.json and safetensors) on a list of token ids.",
        epilog="example: python3 -m tools.reference run --model models/demo --ids 1,2,3",
    )
    run.add_argument("--model", type=pathlib.Path, required=True, metavar="DIR")
    run.add_argument("--ids", type=_ids, required=True, metavar="1,2,3", help="token ids")
    run.add_argument(
        "--max_recursions", type=int, metavar="C", help="stop every token after recursion C"
    )
    run.add_argument(
        "--router_threshold",
        type=float,
        metavar="P",
        help="expert-choice: a token goes on iff its score is at least ln(P/(1-P)), P in 0..1",
    )
    run.add_argument("--top", type=int, default=3, metavar="K", help="tokens shown; default: 3")
    return parser


def _run(args: argparse.Namespace) -> None:
    model = model_lib.load(args.model)
    result = forward(model, args.ids, args.max_recursions, args.router_threshold)
    shifted = result.logits - result.logits.max(axis=1, keepdims=True)
    logprobs = shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))
    print("position      id  depth  next token: logit (logprob)")
    for t, token in enumerate(args.ids):
        best = np.argsort(-result.logits[t], kind="stable")[: args.top]
        shown = "  ".join(
            f"{i}: {result.logits[t, i]:.4f} ({logprobs[t, i]:.4f})" for i in best.tolist()
        )
        print(f"{t:8} {token:7} {result.depths[t]:6}  {shown}")
    print(f"mean depth {result.depths.mean():.3f}; nearest decision {result.margin:.3g}")


def main() -> int:
    args = _parser().parse_args()
    try:
        if args.command == "generate":
            chosen = generate_lib.generate(args.out, args.seed, args.only)
            if not chosen:
                raise ValueError(f"--only: no model matches {args.only!r}")
            print(f"{len(chosen)} models in {args.out}")
        else:
            _run(args)
    except (OSError, ValueError, config_lib.ConfigError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
