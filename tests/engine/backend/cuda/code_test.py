# SPDX-License-Identifier: Apache-2.0
"""What nvcc makes of the CUDA kernels for sm_90a is what they are written for: tensor cores where they are meant,
registers instead of local memory, nothing read before the programmatic wait but constants, and as many registers as
the table beside this file says.

RECURVE_CUDA_OBJECTS: the compiled kernels, separated by ':'. After a change that is meant, write the table anew:
    RECURVE_CUDA_OBJECTS=... build/venv/bin/python -m tests.engine.backend.cuda.code_test --write
"""

import os
import pathlib
import re
import subprocess
import sys
import unittest
from typing import NamedTuple

TABLE = pathlib.Path(__file__).with_name("kernels_sm_90a.txt")
HEADER = """# SPDX-License-Identifier: Apache-2.0
# Kernels as compiled for sm_90a by nvcc {version}: registers of a thread, threads of a block at most, of those on tensor
# cores shared memory of a block, and blocks that a multiprocessor has all this for. code_test.py compares them and says
# how to write this anew; shared memory, which launches ask for, is written by hand, and shared_memory_test.cc compares it.
"""
TOOLS = next(pathlib.Path(sys.prefix).glob("lib/python3*/site-packages/nvidia/cu13/bin"), None)

ON_TENSOR_CORES = ("ProductKernel<", "AttentionBf16Kernel<")

# Of one multiprocessor of sm_90.
REGISTERS = 65536
THREADS = 2048
MOST_BLOCKS = 32
SHARED = 228 * 1024
SHARED_KEPT = 1024  # of each block, by the driver


class Kernel(NamedTuple):
    registers: int
    threads: int
    stack: int
    instructions: list[str]

    def blocks(self, shared):
        of_warp = -(-self.registers // 8) * 8 * 32
        warps = self.threads // 32
        return min(REGISTERS // (of_warp * warps), THREADS // self.threads, SHARED // (shared + SHARED_KEPT), MOST_BLOCKS)


def run(tool, *arguments):
    # cuobjdump runs nvdisasm, which it looks for on the PATH.
    path = f"{TOOLS}{os.pathsep}{os.environ['PATH']}"
    done = subprocess.run([tool, *arguments], capture_output=True, text=True, check=True, env={"PATH": path})
    return done.stdout


def short_names(mangled):
    """ProductKernel<1, 8, 4, QkvEpilogue> for each of our kernels' names."""
    names = run("c++filt", *mangled).splitlines()
    names = [re.sub(r"recurve::cuda::|\(anonymous namespace\)::|^void |\(recurve.*|\((?!anonymous).*$", "", name)
             for name in names]
    return [re.sub(r"(\d)u\b", r"\1", name) for name in names]


def pieces(text, pattern):
    """What follows each match of `pattern`, by its first group."""
    parts = re.split(pattern, text, flags=re.MULTILINE)
    return dict(zip(parts[1::2], parts[2::2]))


def read_kernels(path):
    cuobjdump = str(TOOLS / "cuobjdump")
    sass = pieces(run(cuobjdump, "-sass", path), r"Function : (\S+)")
    usage = pieces(run(cuobjdump, "--dump-resource-usage", path), r"Function (\S+):")
    elf = run(cuobjdump, "-elf", path)
    infos = pieces(elf, r"^\.nv\.info\.(\S+)$")
    kernels = {}
    for mangled, name in zip(sass, short_names(list(sass))):
        threads = re.search(r"EIATTR_MAX_THREADS.*?Value:\s*0x([0-9a-f]+)", infos[mangled], re.DOTALL)
        numbers = {key: int(value) for key, value in re.findall(r"(REG|STACK|LOCAL):(\d+)", usage[mangled])}
        kernels[name] = Kernel(numbers["REG"], int(threads.group(1), 16), numbers["STACK"] + numbers["LOCAL"],
                               re.findall(r"/\*[0-9a-f]{4,}\*/\s+(?:@!?U?P\d+ )?([A-Z][^;]*?)\s*;", sass[mangled]))
    return kernels, re.search(r"Cuda compilation tools, release \S+, V(\S+)", elf).group(1)


def read_all():
    kernels, versions = {}, set()
    for path in os.environ["RECURVE_CUDA_OBJECTS"].split(":"):
        of_object, version = read_kernels(path)
        kernels |= of_object
        versions.add(version)
    return kernels, versions.pop()


def shared_bytes():
    """What the table says of the shared memory of each kernel on tensor cores."""
    found = re.findall(r"^(.*): .* (\d+) bytes of shared memory", TABLE.read_text(), flags=re.MULTILINE)
    return {name: int(size) for name, size in found}


def table_text(kernels, version):
    lines, shared = [], shared_bytes()
    for name, kernel in sorted(kernels.items()):
        line = f"{name}: {kernel.registers} registers, {kernel.threads} threads, "
        if name.startswith(ON_TENSOR_CORES):
            line += f"{shared.get(name, 0)} bytes of shared memory, "
        lines.append(f"{line}{kernel.blocks(shared.get(name, 0))} blocks\n")
    return HEADER.format(version=version) + "".join(lines)


class CodeTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.kernels, cls.version = read_all()

    def for_each(self, check, families=""):
        """Calls check(name, kernel) for all kernels, or those of these families."""
        for name, kernel in self.kernels.items():
            if name.startswith(families):
                with self.subTest(kernel=name):
                    check(name, kernel)

    def test_all_kernels_are_here(self):
        self.assertGreater(len(self.kernels), 20)
        for family in ("AttentionKernel", "ProductKernel<", "AttentionBf16Kernel<", "PlanExitKernel"):
            self.assertTrue(any(name.startswith(family) for name in self.kernels), family)

    def test_tensor_cores_where_they_are_meant(self):
        def check(name, kernel):
            multiplies = any(text.startswith("HMMA.16816.F32.BF16") for text in kernel.instructions)
            self.assertEqual(multiplies, name.startswith(ON_TENSOR_CORES))
        self.for_each(check)

    def test_no_local_memory_on_tensor_cores(self):
        def check(_, kernel):
            self.assertEqual(kernel.stack, 0)
            self.assertEqual([text for text in kernel.instructions if text.startswith(("LDL", "STL"))], [])
        self.for_each(check, ON_TENSOR_CORES)

    def test_what_kernels_write_is_never_read_as_a_constant(self):
        def check(_, kernel):
            self.assertEqual([text for text in kernel.instructions if ".CONSTANT" in text], [])
        self.for_each(check)

    def test_blocks_that_share_entries_meet_behind_fences(self):
        def check(_, kernel):
            # A count is an atomic of 32 bits; attention mass has 64.
            order = [text.split(".E.")[0].split(" ")[0] for text in kernel.instructions
                     if text.startswith(("BAR.SYNC", "MEMBAR", "CCTL.IVALL", "ATOMG.E.ADD.STRONG"))]
            at = order.index("ATOMG")
            self.assertEqual(order.count("ATOMG"), 1)
            self.assertEqual([text.split(".")[0] for text in order[at - 3:at + 4]],
                             ["BAR", "MEMBAR", "CCTL", "ATOMG", "MEMBAR", "CCTL", "BAR"])
        self.for_each(check, "AttentionBf16Kernel<")

    def test_only_weights_are_read_before_the_wait(self):
        memory = ("LDG", "LD.", "STG", "ST.", "ATOM", "RED", "UBLKCP")

        def check(name, kernel):
            waits = [i for i, text in enumerate(kernel.instructions) if text == "ACQBULK"]
            self.assertEqual(len(waits), 1, "one programmatic wait")
            before = [text for text in kernel.instructions[:waits[0]] if text.startswith(memory)]
            weights = [text for text in before if text.startswith("LDG.E.NA.128")]
            self.assertEqual(before, weights)
            self.assertEqual(len(weights) > 0, name.startswith("ProductKernel<"))
        self.for_each(check)

    def test_registers_are_as_the_table_says(self):
        text = TABLE.read_text()
        if f"nvcc {self.version}:" in text:
            self.assertEqual(text, table_text(self.kernels, self.version))
            return
        # Another compiler takes other registers; what matters is how many blocks run side by side.
        for name, blocks in re.findall(r"^(.*): .* (\d+) blocks$", text, flags=re.MULTILINE):
            with self.subTest(kernel=name, compiler=self.version):
                self.assertGreaterEqual(self.kernels[name].blocks(shared_bytes().get(name, 0)), int(blocks))


if __name__ == "__main__":
    if "--write" in sys.argv:
        TABLE.write_text(table_text(*read_all()))
    else:
        unittest.main()
