# SPDX-License-Identifier: Apache-2.0
"""`recurve bench` by each protocol: one server at the end of all, which says the same of each load."""

import csv
import io
import json
import unittest

from tests.e2e.gateway import Gateway
from tests.e2e.harness import Server, pb, run_client

LOAD = ("--requests=6", "--warmup=2", "--streams=3", "--max_tokens=9", "--prompt_tokens=12")
FAULTS = ("--streams=4", "--requests=12", "--warmup=0", "--max_tokens=30", "--prompt_tokens=5")


class LoadProtocolsTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.server = Server("--threads=1", "--slots=4")
        cls.addClassCleanup(cls.server.kill)
        cls.gateway = Gateway(cls.server.address)
        cls.addClassCleanup(cls.gateway.kill)
        info = cls.server.stub.GetModelInfo(pb.GetModelInfoRequest(), timeout=30)
        cls.model, cls.vocab = info.model_name, info.vocab_size
        cls.protocols = {
            "recurve": (),
            "oip": ("--protocol=oip", f"--model={cls.model}"),
            "openai": (f"--server=http://{cls.gateway.address}", f"--vocab_size={cls.vocab}"),
        }

    def run_bench(self, *flags: str):
        if any(flag.startswith("--server=") for flag in flags):  # the last one would not win
            class At:
                address = next(flag for flag in flags if flag.startswith("--server="))[len("--server="):]
            return run_client("bench", *(flag for flag in flags if not flag.startswith("--server=")), server=At)
        return run_client("bench", *flags, server=self.server)

    def bench(self, *flags: str, code: int = 0) -> dict:
        done = self.run_bench("--format=json", *flags)
        self.assertEqual(done.returncode, code, done.stderr)
        return json.loads(done.stdout)

    def test_each_tells_the_same_counts(self):
        for name, flags in self.protocols.items():
            with self.subTest(name):
                before = self.server.load()
                report = self.bench(*flags, *LOAD)
                after = self.server.load()
                self.assertEqual(report["requests_by_status"], {"OK": 6})
                self.assertEqual(report["model"], self.model)
                self.assertEqual(report["generated_tokens"], 6 * 9)
                self.assertEqual(after.generated_tokens - before.generated_tokens, 8 * 9)
                self.assertEqual((report["requests_with_spread_tokens"], report["requests_with_unknown_tokens"]), (0, 0))
                self.assertEqual(report["time_to_first_token_seconds"]["count"], 6)
                self.assertGreater(report["generated_tokens_per_second"], 0)
                self.assertGreater(report["client_processors"], 0)
                self.assertEqual(report["peak_requests_in_flight"], 3)
                prompt = after.prompt_tokens - before.prompt_tokens
                self.assertGreater(report["prompt_tokens"], 0)
                if name != "oip":  # whose prompts are words
                    self.assertEqual((report["prompt_tokens"], prompt), (6 * 12, 8 * 12))

    def test_a_server_that_tells_sums_alone(self):
        report = self.bench(*self.protocols["openai"], *LOAD,
                            '--extra_body={"stream_options": {"continuous_usage_stats": null}}')
        self.assertEqual(report["generated_tokens"], 6 * 9)
        self.assertEqual(report["requests_with_spread_tokens"], 6)
        silent = self.bench(*self.protocols["openai"], *LOAD, '--extra_body={"stream_options": null}')
        self.assertEqual(silent["requests_with_unknown_tokens"], 6)
        self.assertIn("did not tell how many tokens", " ".join(silent["warnings"]))

    def test_faults(self):
        for name, flags in self.protocols.items():
            with self.subTest(name):
                report = self.bench(*flags, *FAULTS, "--faults=cancel:0.4,slow:0.4:5ms")
                self.assertEqual(sum(report["faults"]["cancel"].values()) + sum(report["faults"]["slow"].values())
                                 + report["requests_sent"], 12)
                self.assertEqual(set(report["faults"]["slow"]), {"OK"})
                self.assertIn("CANCELLED", report["faults"]["cancel"])
                self.server.wait_until_idle()

    def test_a_full_server_is_asked_again_when_it_says(self):
        server = Server("--threads=1", "--slots=1", "--max_queued_requests=1", "--retry_pushback=20ms")
        self.addCleanup(server.kill)
        gateway = Gateway(server.address)
        self.addCleanup(gateway.kill)
        load = ("--streams=6", "--requests=12", "--warmup=0", "--max_tokens=40")
        for name, flags in self.protocols.items():
            with self.subTest(name):
                at = f"--server=http://{gateway.address}" if name == "openai" else f"--server={server.address}"
                flags = (at, *(flag for flag in flags if not flag.startswith("--server=")))
                refused = self.bench(*flags, *load, code=1)
                self.assertEqual(refused["pushbacks"], refused["requests_by_status"]["RESOURCE_EXHAUSTED"])
                self.assertGreater(refused["pushback_seconds"], 0)
                waited = self.bench(*flags, *load, "--attempts=100")
                self.assertEqual(waited["requests_by_status"], {"OK": 12})
                self.assertGreater(waited["retries"], 0)

    def test_forms_of_the_report(self):
        done = self.run_bench("--requests=6", "--max_tokens=5", "--streams=1,2", "--format=csv")
        rows = list(csv.DictReader(io.StringIO(done.stdout)))
        self.assertEqual([row["streams"] for row in rows], ["1", "2"])
        self.assertEqual([row["requests_completed"] for row in rows], ["6", "6"])
        self.assertGreater(float(rows[0]["end_to_end_seconds_p99"]), 0)
        text = self.run_bench(*LOAD).stdout
        for words in ("ITL, ms\n", "#", "peaks ", "client ", "TTFT: "):
            self.assertIn(words, text)
        brief = self.run_bench(*LOAD, "--quiet", "--no_color").stdout
        for words in ("ITL, ms\n", "#", "TTFT: ", "\x1b"):
            self.assertNotIn(words, brief)
        head = text.split("\nIntended start: ")[0]
        self.assertTrue(all(len(line) <= 80 or line.startswith(("server", "WARNING")) for line in head.splitlines()),
                        head)

    def test_what_does_not_fit_is_named(self):
        for flags, words in (
                (("--protocol=oip",), ["--protocol=oip", "--model"]),
                (("--vocab_size=5",), ["--vocab_size", "openai"]),
                (("--protocol=oip", f"--model={self.model}", "--max_recursions=2"), ["--max_recursions", "recurve"]),
                (("--protocol=oip", "--model=nobody"), ["nobody"]),
                (("--server=https://a:x",), ["https://a:x", "port"]),
                (("--server=http://127.0.0.1:1",), ["cannot connect to 127.0.0.1:1"])):
            with self.subTest(flags=flags):
                done = self.run_bench(*flags)
                self.assertEqual((done.returncode, done.stdout), (1, ""), done.stderr)
                for word in words:
                    self.assertIn(word, done.stderr)


if __name__ == "__main__":
    unittest.main()
