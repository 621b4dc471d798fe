# SPDX-License-Identifier: Apache-2.0
"""recurve-bench --size says what a server then takes."""

import json
import re
import unittest

from tests.e2e.bench_test import DEMO, bench
from tests.e2e.harness import Server, pb


def size(*flags):
    done = bench("--size", "--format=json", *flags)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


class SizeTest(unittest.TestCase):
    def test_pages_and_parameters_are_the_servers(self):
        for flags in (["--precision=bf16"], ["--precision=f32"], ["--precision=int8"],
                      ["--precision=f32", "--kv_precision=int8"]):
            server = Server("--slots=4", "--max_context=500", *flags)
            try:
                pages, page_bytes = re.search(r'num_pages="(\d+)",page_bytes="(\d+)"', server.metrics()).groups()
                info = server.stub.GetModelInfo(pb.GetModelInfoRequest(), timeout=30)
            finally:
                server.kill()
            said = size(DEMO, "--streams=4", "--context=500", *flags)
            self.assertEqual(said["kv_pages"], int(pages))
            self.assertEqual(said["kv_bytes"], int(pages) * int(page_bytes))
            self.assertEqual(said["parameters"], info.parameters)
            self.assertEqual(said["memory_bytes"], said["weight_bytes"] + said["kv_bytes"])
            self.assertLess(said["expected_kv_bytes"], said["kv_bytes"])

    def test_bounds_need_a_bandwidth(self):
        self.assertNotIn("tokens_per_second", size(DEMO))
        said = size(DEMO, "--bandwidth=100", "--tflops=1")
        self.assertGreater(said["tokens_per_second"], 0)
        self.assertGreater(said["prompt_tokens_per_second"], 0)

    def test_what_is_not_possible_is_refused(self):
        for flags, why in (
                ((DEMO, "--size", "--context=1025"), "--context is 1025; the model's is 1024"),
                ((DEMO, "--size", "--depths=1,2,3"), "--depths"),
                ((DEMO, "--context=100"), "--context requires --size"),
                ((DEMO, "--size", "--tflops=1"), "--tflops requires --bandwidth"),
                ((DEMO, "--size", "--bandwidth=-1"), "--bandwidth")):
            done = bench(*flags)
            self.assertNotEqual(done.returncode, 0)
            self.assertIn(why, done.stderr)


if __name__ == "__main__":
    unittest.main()
