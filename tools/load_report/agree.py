# SPDX-License-Identifier: Apache-2.0
"""Whether `recurve bench` and `vllm bench serve` say the same of one server; see README.md beside this file."""

from __future__ import annotations

import argparse
import json
import os
import pathlib
import random
import statistics
import subprocess
import sys
import tempfile

BIN = pathlib.Path(os.environ.get("RECURVE_BIN", "build/cpu/bin"))

WORDS = "the of and to in is that for it as was with be by on not he his but at are this have from or had".split()

# Name, path into our report, name in theirs, and what theirs is in our unit. Their ITL is of messages, so it is left
# out where a message has several tokens.
FIGURES = [
    ("requests/s", "requests_per_second", "request_throughput", 1),
    ("tokens/s", "generated_tokens_per_second", "output_throughput", 1),
    ("TTFT mean, ms", "time_to_first_token_seconds/mean", "mean_ttft_ms", 1e3),
    ("TTFT p50, ms", "time_to_first_token_seconds/p50", "median_ttft_ms", 1e3),
    ("TPOT mean, ms", "time_per_output_token_seconds/mean", "mean_tpot_ms", 1e3),
    ("TPOT p50, ms", "time_per_output_token_seconds/p50", "median_tpot_ms", 1e3),
    ("ITL mean, ms", "inter_token_latency_seconds/mean", "mean_itl_ms", 1e3),
    ("E2E mean, ms", "end_to_end_seconds/mean", "mean_e2el_ms", 1e3),
]


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--vllm", required=True, help="the program")
    parser.add_argument("--server", required=True, help="http://HOST:PORT")
    parser.add_argument("--model", required=True)
    parser.add_argument("--tokenizer", required=True, help="directory")
    parser.add_argument("--rounds", type=int, default=5, help="of each, in turn")
    parser.add_argument("--streams", type=int, default=4)
    parser.add_argument("--requests", type=int, default=64)
    parser.add_argument("--prompt_words", type=int, default=64)
    parser.add_argument("--max_tokens", type=int, default=64)
    return parser.parse_args()


def write_prompts(args: argparse.Namespace, folder: pathlib.Path) -> None:
    """The same texts for both, as each reads them."""
    random_numbers = random.Random(1)
    texts = [" ".join(random_numbers.choices(WORDS, k=args.prompt_words)) for _ in range(args.requests)]
    (folder / "ours.txt").write_text("".join(text + "\n" for text in texts))
    (folder / "theirs.jsonl").write_text("".join(json.dumps({"prompt": text}) + "\n" for text in texts))


def run(command: list[str | pathlib.Path]) -> str:
    """What the program prints."""
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        sys.exit(f"agree: {command[0]} ended with {done.returncode}: {done.stderr}")
    return done.stdout


def ours(args: argparse.Namespace, folder: pathlib.Path) -> list[float]:
    done = run(
        [BIN / "recurve", "bench", f"--server={args.server}", f"--model={args.model}", "--ignore_eos",
         f"--streams={args.streams}", f"--requests={args.requests}", "--warmup=0", f"--prompts={folder / 'ours.txt'}",
         f"--max_tokens={args.max_tokens}", "--format=json"])
    report = json.loads(done)
    if report["requests_completed"] != args.requests:
        sys.exit(f"agree: {report['requests_completed']} of {args.requests} requests of recurve bench were completed")

    def at(path: str) -> float:
        value = report
        for key in path.split("/"):
            value = value[key]
        if value is None:
            sys.exit(f"agree: recurve bench measured no {path}: {report['warnings']}")
        return value
    return [at(path) * unit for _, path, _, unit in FIGURES]


def theirs(args: argparse.Namespace, folder: pathlib.Path) -> list[float]:
    run(
        [args.vllm, "bench", "serve", "--backend=openai", f"--base-url={args.server}", "--endpoint=/v1/completions",
         f"--model={args.model}", f"--tokenizer={args.tokenizer}", "--dataset-name=custom", "--disable-shuffle",
         f"--dataset-path={folder / 'theirs.jsonl'}", f"--custom-output-len={args.max_tokens}", "--skip-chat-template",
         "--ignore-eos", f"--num-prompts={args.requests}", f"--max-concurrency={args.streams}", "--temperature=0",
         "--percentile-metrics=ttft,tpot,itl,e2el", "--save-result", f"--result-dir={folder}",
         "--result-filename=result.json"])
    result = json.loads((folder / "result.json").read_text())
    if result["completed"] != args.requests:
        sys.exit(f"agree: {result['completed']} of {args.requests} requests of vllm bench serve were completed")
    return [result[name] for _, _, name, _ in FIGURES]


def main() -> None:
    args = parse()
    rounds: list[tuple[list[float], list[float]]] = []
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        write_prompts(args, folder)
        for _ in range(args.rounds):
            rounds.append((ours(args, folder), theirs(args, folder)))
    print("| median of", args.rounds, "rounds | recurve bench | least, most | vllm bench serve | least, most | ratio |")
    print("|---|---|---|---|---|---|")
    for i, (name, *_) in enumerate(FIGURES):
        cells = []
        for tool in (0, 1):
            values = [one[tool][i] for one in rounds]
            cells.append((statistics.median(values), min(values), max(values)))
        print(f"| {name} | " + " | ".join(f"{middle:.2f} | {least:.2f}, {most:.2f}" for middle, least, most in cells)
              + (f" | {cells[0][0] / cells[1][0]:.3f} |" if cells[1][0] else " | - |"))


if __name__ == "__main__":
    main()
