# SPDX-License-Identifier: Apache-2.0
"""Whether `staged` loses to `depthwise` or `lockstep` anywhere; see README.md beside this file."""

import argparse
import json
import os
import pathlib
import statistics
import subprocess
import sys

BIN = pathlib.Path(__file__).resolve().parents[2] / "build" / "cpu" / "bin"
BENCH = pathlib.Path(os.environ.get("RECURVE_BIN", BIN)) / "recurve-bench"
# They take turns in each round; staged once more, for what a run differs from itself.
POLICIES = ("staged", "depthwise", "lockstep", "staged")
RATE = "steady_tokens_per_second"  # while all streams run


def parse():
    parser = argparse.ArgumentParser(description=__doc__, allow_abbrev=False)
    parser.add_argument("--streams", default="1,2,4,8,16,32,64", help="numbers of streams")
    parser.add_argument("--depths", default="uniform,deep,shallow", help="how deep tokens go")
    parser.add_argument("--recursions", type=int, default=3, help="of the model that --shape of recurve-bench makes")
    parser.add_argument("--tokens", type=int, help="that each stream generates in a run; else 48, or one and a half "
                        "times as many as there are streams, since these begin one after the other")
    parser.add_argument("--pairs", type=int, default=20, help="of a run of staged and one of each other policy")
    parser.add_argument("--format", choices=("text", "json"), default="text", help="a table, or an object a line")
    parser.add_argument("bench", nargs="*", help="further flags for recurve-bench, behind --; default: --shape=135m")
    return parser.parse_args()


def shares(depths: str, recursions: int) -> str:
    """Of the tokens that take each recursion."""
    if depths == "uniform":
        return ",".join(f"{1 - r / recursions:.4f}" for r in range(recursions))
    if depths not in ("deep", "shallow"):
        sys.exit(f"compare: --depths has '{depths}'; expected uniform, deep and shallow")
    return ",".join(["1"] + ["1" if depths == "deep" else "0"] * (recursions - 1))


def run(args, streams: int, depths: str) -> list[list[float]]:
    """Tokens a second by policy and round."""
    tokens = args.tokens or max(48, streams * 3 // 2)
    done = subprocess.run(
        [BENCH, *(args.bench or ["--shape=135m"]), f"--recursions={args.recursions}",
         f"--streams={streams}", f"--depths={shares(depths, args.recursions)}", "--prompt_tokens=8",
         f"--new_tokens={tokens}", f"--policy={','.join(POLICIES)}", f"--repeat={args.pairs}", "--format=json"],
        capture_output=True, text=True, check=False)
    if done.returncode != 0:
        sys.exit(done.stderr)
    rates = [line[RATE] for line in map(json.loads, done.stdout.splitlines()) if isinstance(line["run"], int)]
    if min(rates) == 0:
        sys.exit(f"compare: a stream of {tokens} tokens ended before all had begun; raise --tokens")
    return [rates[i::len(POLICIES)] for i in range(len(POLICIES))]


def compare(rates: list[list[float]]) -> dict:
    """The medians, and of pairs of one round the median ratio; from quarter to quarter of a run against itself."""
    staged, depthwise, lockstep, again = rates
    medians = [statistics.median(policy) for policy in rates]
    better = depthwise if medians[1] >= medians[2] else lockstep
    itself = statistics.quantiles([a / b for a, b in zip(staged, again)], n=4)
    # Each run alone: a mean of two would meet a slow spell of the machine twice as often as the run it is compared with.
    ratio = statistics.median(run / c for runs in (staged, again) for run, c in zip(runs, better))
    return {"staged": statistics.median(staged + again), "depthwise": medians[1], "lockstep": medians[2],
            "ratio": ratio, "itself_low": itself[0], "itself": itself[1], "itself_high": itself[2],
            "loses": ratio < min(1, itself[0])}


def main():
    args = parse()
    if args.pairs < 2:
        sys.exit(f"compare: --pairs is {args.pairs}; expected at least 2")
    if args.format == "text":
        print(f"{'streams':>7} {'depths':8} {'staged':>9} {'depthwise':>9} {'lockstep':>9} {'ratio':>7}  "
              "against itself")
    loses = False
    for streams in map(int, args.streams.split(",")):
        for depths in args.depths.split(","):
            found = compare(run(args, streams, depths))
            loses |= found["loses"]
            if args.format == "json":
                print(json.dumps({"streams": streams, "depths": depths, **found}), flush=True)
                continue
            print(f"{streams:7} {depths:8} {found['staged']:9.1f} {found['depthwise']:9.1f} "
                  f"{found['lockstep']:9.1f} {found['ratio']:7.3f}  {found['itself_low']:.3f} {found['itself']:.3f} "
                  f"{found['itself_high']:.3f}{'  loses' if found['loses'] else ''}", flush=True)
    sys.exit(1 if loses else 0)


if __name__ == "__main__":
    main()
