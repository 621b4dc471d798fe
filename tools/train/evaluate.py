# SPDX-License-Identifier: Apache-2.0
"""Held-out loss and routing of a checkpoint, as JSON.

Under the serving rule (threshold) and under training's (top-k).
"""

import argparse
import json
import pathlib

import numpy as np
import torch
import torch.nn.functional as F

import checkpoint


def heldout_rows(data_dir, length, most=None):
    """[rows, length + 1] int64: consecutive pieces of the held-out text, overlapping by one id.

    At most `most` of them, spread over the text.
    """
    ids = np.fromfile(pathlib.Path(data_dir) / "heldout.bin", dtype=np.uint16).astype(np.int64)
    rows = np.stack([ids[i : i + length + 1] for i in range(0, ids.size - length, length)])
    if most is not None and most < len(rows):
        rows = rows[np.linspace(0, len(rows) - 1, most).astype(int)]
    return torch.from_numpy(rows)


@torch.no_grad()
def evaluate(model, rows, rule, rows_at_once=4):
    """Mean loss in nats a token and, of a model that routes, for each recursion r >= 2:
    share       tokens that take it, of all tokens
    agreement   candidates whose score is on the side of the threshold that training's choice says
                (top-k rule only)
    and depth   shares of tokens by the number of recursions they took (threshold rule only).
    """
    total, tokens = 0.0, 0
    shares, agreements = [], []
    for batch in rows.split(rows_at_once):
        h, routing = model(batch[:, :-1], rule)
        targets = batch[:, 1:].reshape(-1)
        total += F.cross_entropy(model.logits(h).flatten(0, 1), targets, reduction="sum").item()
        tokens += targets.numel()
        if routing is not None:
            shares.append([chosen.sum().item() for chosen in routing.chosen])
            agreements.append(
                [
                    ((z >= 0) == chosen).float().mean().item() * len(batch)
                    for z, chosen in zip(routing.logits, routing.chosen)
                ]
            )
    result = {"loss": total / tokens, "positions": tokens}
    if shares:
        share = np.sum(shares, axis=0) / tokens
        result["share"] = share.tolist()
        if rule == "threshold":
            result["depth"] = (-np.diff(np.concatenate([[1.0], share, [0.0]]))).tolist()
        else:
            result["agreement"] = (np.sum(agreements, axis=0) / len(rows)).tolist()
    return result


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--data", type=pathlib.Path, required=True, help="data directory made by corpus.py"
    )
    parser.add_argument("--checkpoint", type=pathlib.Path, required=True)
    parser.add_argument(
        "--length", type=int, default=1024, help="positions a sequence (%(default)s)"
    )
    parser.add_argument(
        "--dtype", choices=checkpoint.DTYPES, default="float32", help="of products (%(default)s)"
    )
    parser.add_argument(
        "--weights",
        choices=checkpoint.DTYPES,
        default="bfloat16",
        help="weights are rounded to this first (%(default)s, as exported)",
    )
    args = parser.parse_args()

    model, saved = checkpoint.load_model(args.checkpoint, args.dtype, args.weights)
    rows = heldout_rows(args.data, args.length)
    rules = ["threshold", "top-k"] if saved["config"]["kind"] == "mor" else ["threshold"]
    result = {"trained_tokens": saved["tokens"], "length": args.length}
    for rule in rules:
        result[rule] = evaluate(model, rows, rule)
    print(json.dumps(result, indent=2))


if __name__ == "__main__":
    main()
