# SPDX-License-Identifier: Apache-2.0
"""What a server of a model of some size takes of the machine's memory: while it loads, and once it serves."""

import pathlib
import re
import tempfile
import unittest

from tests.e2e.harness import Server, request
from tools.peers.random_model import SHAPES, write_model

SHAPE = SHAPES["135m"]
ELSE = 100e6  # bytes of everything but weights and pages


def memory(server, name):
    """VmRSS or VmHWM, its highest value so far, in bytes."""
    status = pathlib.Path(f"/proc/{server.process.pid}/status").read_text()
    return int(re.search(rf"{name}:\s+(\d+) kB", status).group(1)) * 1024


def pool(server):
    pages, page_bytes = re.search(r'num_pages="(\d+)",page_bytes="(\d+)"', server.metrics()).groups()
    return int(pages) * int(page_bytes)


def serve(server, prompts):
    calls = [server.stub.Complete.future(request(ids=[(7 * i + n) % 49000 for n in range(200)], max_tokens=20,
                                                 stop={"ignore_eos": True})) for i in range(prompts)]
    for call in calls:
        call.result()


class MemoryTest(unittest.TestCase):
    def hold(self, dtype, precision, number_bytes):
        weights = SHAPE.parameters() * number_bytes
        with tempfile.TemporaryDirectory(prefix="recurve-memory-") as scratch:
            directory = pathlib.Path(scratch)
            write_model(directory, SHAPE, dtype)
            server = Server("--slots=8", "--max_context=512", f"--precision={precision}", model=directory)
            try:
                pages = pool(server)
                self.assertLess(memory(server, "VmHWM"), 1.25 * weights + pages + ELSE)
                serve(server, 8)
                self.assertLess(memory(server, "VmRSS"), 1.15 * (weights + pages) + ELSE)
                self.assertGreater(memory(server, "VmRSS"), weights)  # which the test has counted right
            finally:
                server.kill()

    def test_weights_are_in_memory_once(self):
        self.hold("BF16", "bf16", 2)

    def test_a_file_of_larger_numbers_is_not_kept(self):
        self.hold("F32", "bf16", 2)


if __name__ == "__main__":
    unittest.main()
