# SPDX-License-Identifier: Apache-2.0
"""Loss on held-out text and changed routing decisions by precision; see README.md beside this file."""

import argparse
import concurrent.futures
import dataclasses
import math
import statistics

from tests.e2e.harness import Server, pb, request
from tools.eviction.loss import LENGTH, sequences


@dataclasses.dataclass
class Result:
    losses: list  # [sequences]: nats a token
    depths: list  # [sequences][tokens]
    recursions: int


def measure(precision, texts, count):
    """Runs `precision`, as --precisions has it; the texts are read by the first server."""
    weights, _, keys = precision.partition("/")
    server = Server(f"--precision={weights}", "--ends=256", *([f"--kv_precision={keys}"] if keys else []))

    def one(ids):
        answer = server.stub.Complete(request(
            ids=ids, max_tokens=0, output={"prompt_logprobs": True, "prompt_depths": True}))
        loss = -math.fsum(p.logprob for p in answer.prompt_logprobs) / len(answer.prompt_logprobs)
        return loss, list(answer.final.prompt_token_depths)

    try:
        if not texts:
            texts += sequences(server, count)
        recursions = server.stub.GetModelInfo(pb.GetModelInfoRequest()).num_recursions
        with concurrent.futures.ThreadPoolExecutor(4) as pool:
            losses, depths = zip(*pool.map(one, texts))
    finally:
        server.stop()
    return Result(list(losses), list(depths), recursions)


def changed_decisions(exact, other):
    """Of the decisions that routers make, the share that comes out another way. A token's decisions
    after its first changed one have no counterpart."""
    made = changed = 0
    for a, b in zip(exact.depths, other.depths):
        made += sum(min(depth, exact.recursions - 1) for depth in a)
        changed += sum(x != y for x, y in zip(a, b))
    return changed / made if made else 0.0


def row(precision, exact, result):
    """A line of the table."""
    gaps = [b - a for a, b in zip(exact.losses, result.losses)]
    mean = statistics.fmean(gaps)
    error = statistics.stdev(gaps) / math.sqrt(len(gaps))
    weights, _, keys = precision.partition("/")
    gap = "" if result is exact else f"{mean:+.4f} ± {error:.4f}"
    changed = "" if result is exact else f"{100 * changed_decisions(exact, result):.2f} %"
    keys = keys or ("f32" if weights == "f32" else "bf16")
    return f"| {weights} | {keys} | {statistics.fmean(result.losses):.4f} | {gap} | {changed} |"


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sequences", type=int, default=100, help=f"of {LENGTH} tokens; default: 100")
    parser.add_argument("--precisions", default="f32,bf16,bf16/int8,int8,int8/int8",
                        help="of weights, after a slash of keys and values; default: f32,bf16,bf16/int8,int8,int8/int8")
    args = parser.parse_args()
    if args.sequences < 2:
        parser.error(f"--sequences is {args.sequences}; expected at least 2")
    print("| weights | KV | loss | above the first | changed decisions |\n|---|---|---|---|---|")
    texts, exact = [], None
    for precision in args.precisions.split(","):
        result = measure(precision, texts, args.sequences)
        exact = exact or result
        print(row(precision, exact, result), flush=True)


if __name__ == "__main__":
    main()
