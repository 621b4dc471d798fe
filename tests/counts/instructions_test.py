# SPDX-License-Identifier: Apache-2.0
"""Instructions of the CPU backend's steps for a fixed load of the bundled model, counted by callgrind.

valgrind shows programs a processor of its own, with AVX2 and nothing beyond it, so that neither the
machine nor its load changes what is counted. What does is the compiler: the table is of one. Whoever
means a change of kernels writes the table anew: python3 -m tests.counts.instructions_test --write
"""

import json
import os
import pathlib
import re
import subprocess
import sys
import tempfile
import unittest

ROOT = pathlib.Path(__file__).resolve().parents[2]
BENCH = pathlib.Path(os.environ.get("RECURVE_BIN", ROOT / "build" / "cpu" / "bin")) / "recurve-bench"
COMPILER = os.environ.get("RECURVE_COMPILER", "GNU 12")
TABLE = pathlib.Path(__file__).with_name("instructions.json")
LOAD = (f"--model={ROOT / 'models' / 'demo'}", "--threads=1", "--streams=2", "--prompt_tokens=8",
        "--new_tokens=4", "--policy=depthwise", "--repeat=1", "--warmup=0", "--format=json")
KERNELS = ("avx2", "scalar")
# What is counted by itself, calls included, since it is less than all of a step.
PARTS = {"products": "Linear", "attention": "Attention"}
MOST_MORE = 0.03


def count(kernels: str) -> dict[str, int]:
    """Instructions inside CpuBackend::Submit, so without loading the model, and those of its parts."""
    with tempfile.TemporaryDirectory() as scratch:
        out = pathlib.Path(scratch) / "callgrind.out"
        environment = {"PATH": os.environ["PATH"], "LC_ALL": "C"}
        done = subprocess.run(
            ["valgrind", "--tool=callgrind", f"--callgrind-out-file={out}",
             "--toggle-collect=recurve::CpuBackend::Submit*", BENCH, *LOAD, f"--isa={kernels}"],
            capture_output=True, text=True, timeout=800, check=False, env=environment)
        if done.returncode != 0:
            raise RuntimeError(done.stderr)
        counted = {"step": int(re.search(r"^totals: (\d+)$", out.read_text(), re.MULTILINE).group(1))}
        functions = subprocess.run(
            ["callgrind_annotate", "--inclusive=yes", "--threshold=100", "--show-percs=no", out],
            capture_output=True, text=True, check=True, env=environment).stdout
        for part, function in PARTS.items():
            line = re.search(rf"^ *([\d,]+) .*:recurve::{kernels}::{function}\(", functions, re.MULTILINE)
            counted[part] = int(line.group(1).replace(",", ""))
        return counted


class InstructionsTest(unittest.TestCase):
    def test_a_fixed_load_takes_no_more_than_it_did(self):
        table = json.loads(TABLE.read_text())
        if COMPILER != table["compiler"]:
            self.skipTest(f"the table is of {table['compiler']}, and this build of {COMPILER}")
        for kernels in KERNELS:
            counted = count(kernels)
            for part, expected in table["instructions"][kernels].items():
                change = counted[part] / expected - 1
                print(f"{kernels}, {part}: {counted[part]} instructions, {change:+.2%}")
                with self.subTest(kernels=kernels, part=part):
                    self.assertLess(change, MOST_MORE)
                    # A table that is far too high would notice nothing.
                    self.assertGreater(change, -MOST_MORE, "better: write the table anew")


def write() -> None:
    table = {"compiler": COMPILER, "instructions": {kernels: count(kernels) for kernels in KERNELS}}
    TABLE.write_text(json.dumps(table, indent=2) + "\n")


if __name__ == "__main__":
    if sys.argv[1:] == ["--write"]:
        write()
    else:
        unittest.main()
