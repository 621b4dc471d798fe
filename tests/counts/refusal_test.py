# SPDX-License-Identifier: Apache-2.0
"""What a call costs the server that refuses it since its queue is full, in instructions, counted by callgrind.

All of the process counts, from the bytes of the call to those of its status: gRPC, our part of it, the log. That
differs a little from run to run, and more between compilers and versions of gRPC, so bounds have room; what they
must notice costs more. A server whose first step hangs has a queue that stays full.
"""

import os
import pathlib
import re
import subprocess
import tempfile
import unittest

import grpc

from tests.e2e.harness import BIN, Server, request

FLAGS = ("--threads=1", "--slots=1", "--max_queued_requests=1", "--kv_pages=200", "--step_timeout=1h",
         "--self_check_interval=1h")
# A copy of it is at least 1,000 more instructions, with which the engine would pass its bound; to tokenize it takes
# millions.
PROMPT = "def f():\n" * 2000
FEW, MANY = 100, 400
MOST = {"engine": 2_000, "server": 300_000}


def count(refusals: int) -> dict[str, int]:
    """Instructions of a server's life with so many refusals: in Engine::Start, and all."""
    with tempfile.TemporaryDirectory() as scratch:
        out = pathlib.Path(scratch) / "callgrind.out"
        environment = {"PATH": os.environ["PATH"], "LC_ALL": "C"}
        server = Server(
            *FLAGS, program=("valgrind", "--tool=callgrind", f"--callgrind-out-file={out}", str(BIN / "recurve-soak-server")),
            patience=600, env=environment | {"RECURVE_SOAK_STEP": "1", "RECURVE_SOAK_HANGS": "1"})
        held = []
        try:
            while len(held) < 2:  # one for the slot, one for the queue
                held.append(server.stub.Complete.future(request(ids=[1, 2, 3], max_tokens=1)))
                server.wait_until(lambda: _requests(server) == len(held), "a request was not queued", 600)
            for _ in range(refusals):
                error = server.stub.Complete.future(request(PROMPT, max_tokens=1)).exception()
                assert error is not None and error.code() == grpc.StatusCode.RESOURCE_EXHAUSTED, error
        finally:
            server.stop()
        functions = subprocess.run(
            ["callgrind_annotate", "--inclusive=yes", "--threshold=100", "--show-percs=no", out],
            capture_output=True, text=True, check=True, env=environment).stdout
        engine = re.search(r"^ *([\d,]+) .*::EngineImpl::Start\(", functions, re.MULTILINE)
        total = re.search(r"^totals: (\d+)$", out.read_text(), re.MULTILINE)
        return {"engine": int(engine.group(1).replace(",", "")), "server": int(total.group(1))}


def _requests(server: Server) -> int:
    load = server.load()
    return load.requests_running + load.requests_waiting


class RefusalTest(unittest.TestCase):
    def test_a_refusal_costs_little_whatever_its_prompt(self):
        few, many = count(FEW), count(MANY)
        for part, most in MOST.items():
            each = (many[part] - few[part]) / (MANY - FEW)
            print(f"{part}: {each:.0f} instructions a refusal")
            with self.subTest(part=part):
                self.assertGreater(each, most / 10)  # else calls are refused elsewhere, and nothing was counted
                self.assertLess(each, most)


if __name__ == "__main__":
    unittest.main()
