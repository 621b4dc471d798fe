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
        "--new_tokens=4", "--repeat=1", "--warmup=0", "--format=json")
KERNELS = {"avx2": (), "scalar": ("--force_scalar",)}
MOST_MORE = 0.03


def count(flags: tuple[str, ...]) -> int:
    """Instructions inside CpuBackend::Submit: without loading and packing the model."""
    with tempfile.TemporaryDirectory() as scratch:
        out = pathlib.Path(scratch) / "callgrind.out"
        done = subprocess.run(
            ["valgrind", "--tool=callgrind", f"--callgrind-out-file={out}",
             "--toggle-collect=recurve::CpuBackend::Submit*", BENCH, *LOAD, *flags],
            capture_output=True, text=True, timeout=1500, check=False,
            env={"PATH": os.environ["PATH"], "LC_ALL": "C"})
        if done.returncode != 0:
            raise RuntimeError(done.stderr)
        totals = re.search(r"^totals: (\d+)$", out.read_text(), re.MULTILINE)
        return int(totals.group(1))


class InstructionsTest(unittest.TestCase):
    def test_a_fixed_load_takes_no_more_than_it_did(self):
        table = json.loads(TABLE.read_text())
        if COMPILER != table["compiler"]:
            self.skipTest(f"the table is of {table['compiler']}, and this build of {COMPILER}")
        for kernels, flags in KERNELS.items():
            expected = table["instructions"][kernels]
            counted = count(flags)
            print(f"{kernels}: {counted} instructions, {counted / expected - 1:+.2%}")
            with self.subTest(kernels=kernels):
                self.assertLess(counted, expected * (1 + MOST_MORE))
                # A table that is far too high would notice nothing.
                self.assertGreater(counted, expected * (1 - MOST_MORE), "better: write the table anew")


def write() -> None:
    instructions = {kernels: count(flags) for kernels, flags in KERNELS.items()}
    TABLE.write_text(json.dumps({"compiler": COMPILER, "instructions": instructions}, indent=2) + "\n")


if __name__ == "__main__":
    if sys.argv[1:] == ["--write"]:
        write()
    else:
        unittest.main()
