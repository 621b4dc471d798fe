# SPDX-License-Identifier: Apache-2.0
"""`recurve bench`, mode by mode, against a real server."""

import csv
import json
import pathlib
import subprocess
import tempfile
import unittest

from tests.e2e.harness import BIN, Server, pb, run_client

SIZE = ("--prompt_tokens=12", "--max_tokens=6")


class LoadTesterTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.server = Server("--threads=1", "--slots=4")
        cls.addClassCleanup(cls.server.kill)
        scratch = tempfile.TemporaryDirectory()
        cls.addClassCleanup(scratch.cleanup)
        cls.scratch = pathlib.Path(scratch.name)

    def bench(self, *flags: str, size=SIZE, code: int = 0) -> dict:
        done = run_client("bench", *size, "--format=json", *flags, server=self.server)
        self.assertEqual(done.returncode, code, done.stderr)
        return json.loads(done.stdout)

    def check_refusal(self, words: list[str], *flags: str, code: int = 2, printed=False) -> None:
        done = run_client("bench", *flags, server=self.server)
        self.assertEqual((done.returncode, bool(done.stdout)), (code, printed), done.stderr)
        for word in words:
            self.assertIn(word, done.stderr)

    def test_open_loops(self):
        trace = self.scratch / "trace.jsonl"
        trace.write_text("".join(json.dumps({"timestamp": 10 * i}) + "\n" for i in range(7)))
        rate = "--rate=200"
        for name, flags in (("poisson", (rate,)), ("constant", (rate, "--arrivals=constant")),
                            ("gamma", (rate, "--arrivals=gamma", "--burstiness=0.5")),
                            ("trace", (f"--trace={trace}",))):
            with self.subTest(name=name):
                report = self.bench("--warmup=2", "--requests=5", *flags)
                self.assertEqual(report["arrivals"], name)
                self.assertEqual(report["requests_by_status"], {"OK": 5})
                self.assertEqual(report["generated_tokens"], 30)
                self.assertEqual(report["client_queue_seconds"]["count"], 5)
                self.assertGreater(report["time_to_first_token_seconds"]["min"], 0)
                self.assertIsNone(report["streams"])
        whole = self.bench("--warmup=0", f"--trace={trace}")
        self.assertEqual((whole["requests"], whole["requests_completed"]), (7, 7))

    def test_places_that_are_taken_are_waited_for_in_the_client(self):
        report = self.bench("--rate=100000", "--arrivals=constant", "--max_in_flight=1",
                            "--requests=6", "--warmup=0")
        queue, e2e = report["client_queue_seconds"], report["end_to_end_seconds"]
        self.assertGreater(queue["max"], e2e["min"])
        self.assertGreater(e2e["max"], queue["max"])

    def test_loads_of_a_time(self):
        open_loop = self.bench("--rate=20", "--arrivals=constant", "--warmup=200ms",
                               "--duration=500ms")
        self.assertEqual(open_loop["requests_sent"], 10)  # those intended at 200, 250, ... 650 ms
        self.assertAlmostEqual(open_loop["seconds"], 0.5)
        self.assertEqual(open_loop["warmup"], {"requests": None, "seconds": 0.2})
        closed = self.bench("--streams=2", "--duration=300ms", "--warmup=2")
        self.assertGreater(closed["requests_completed"], 0)
        self.assertAlmostEqual(closed["seconds"], 0.3)
        self.assertAlmostEqual(closed["duration_seconds"], 0.3)

    def test_a_sweep_has_a_point_for_each_load(self):
        sweep = self.bench("--streams=1,4", "--requests=6", "--warmup=1")
        self.assertEqual([point["streams"] for point in sweep["points"]], [1, 4])
        self.assertEqual([point["requests_by_status"] for point in sweep["points"]], [{"OK": 6}] * 2)
        self.assertNotEqual(*(point["prompt_seed"] for point in sweep["points"]))
        self.assertIn(sweep["knee"], (0, 1))
        table = run_client("bench", *SIZE, "--rate=50,100", "--requests=3", server=self.server)
        self.assertEqual(table.returncode, 0, table.stderr)
        self.assertEqual(table.stdout.count("<- knee"), 1)

    def test_a_search_finds_the_highest_rate_under_an_objective(self):
        load = ("--rate=1000", "--find_rate", "--requests=4", "--warmup=0")
        kept = self.bench(*load, "--slo=e2e:1000000")
        self.assertEqual(kept["highest_rate"], 1000 * 1024)  # no further
        self.assertEqual(len(kept["points"]), 11)
        missed = self.bench("--rate=1e6", *load[1:], "--slo=e2e:0.0001", code=3)
        self.assertIsNone(missed["highest_rate"])

    def test_tells_what_the_server_says_of_itself(self):
        server = self.bench("--requests=6", "--warmup=2", "--prompt_seed=77")["server"]
        self.assertEqual((server["prompt_tokens"], server["generated_tokens"]), (8 * 12, 8 * 6))
        self.assertEqual(server["time_to_first_token_seconds"]["count"], 8)
        self.assertGreater(server["steps"], 0)
        self.assertEqual(server["preemptions"], 0)

    def test_compares_two_reports(self):
        files = [self.scratch / name for name in ("before.json", "after.json")]
        for file, streams in zip(files, (1, 2)):
            file.write_text(json.dumps(self.bench("--requests=2", f"--streams={streams}")))
        done = subprocess.run([BIN / "recurve", "compare", *files], capture_output=True, text=True, check=False)
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertIn("not the same: streams is 1 before and 2 after", done.stdout)
        self.assertIn("E2E p99 ms", done.stdout)
        for arguments, code, words in (([files[0], "/dev/null"], 1, "AFTER is no report"),
                                       ([files[0], "nowhere.json"], 1, "nowhere.json"),
                                       ([files[0]], 2, "after is required")):
            done = subprocess.run([BIN / "recurve", "compare", *arguments], capture_output=True, text=True,
                                  check=False)
            self.assertEqual(done.returncode, code)
            self.assertIn(words, done.stderr)

    def test_a_page_with_plots(self):
        page = self.scratch / "report.html"
        self.bench("--requests=4", f"--html_file={page}")
        text = page.read_text()
        self.assertEqual(text.count("<svg"), 5)
        self.assertIn("TPOT", text)
        self.check_refusal(["/nowhere/x.html"], "--requests=1", "--html_file=/nowhere/x.html",
                           code=1, printed=True)

    def test_faults_stand_apart(self):
        report = self.bench("--requests=60", "--streams=6", "--faults=cancel:0.3,deadline:0.2:5ms")
        faults = report["faults"]
        self.assertLessEqual(set(faults["cancel"]), {"CANCELLED", "OK"})
        self.assertLessEqual(set(faults["deadline"]), {"DEADLINE_EXCEEDED", "OK"})
        self.assertGreater(faults["cancel"]["CANCELLED"], 0)
        faulted = sum(sum(outcomes.values()) for outcomes in faults.values())
        self.assertEqual(report["requests_by_status"], {"OK": 60 - faulted})
        self.server.wait_until_idle()

    def test_files_of_requests(self):
        lines, table = self.scratch / "requests.jsonl", self.scratch / "requests.csv"
        report = self.bench("--requests=3", "--warmup=1", f"--requests_file={lines}")
        requests = [json.loads(line) for line in lines.read_text().splitlines()]
        self.assertEqual([request["index"] for request in requests], [0, 1, 2, 3])
        self.assertEqual([request["measured"] for request in requests], [False, True, True, True])
        self.assertEqual(sum(m["tokens"] for m in requests[1]["messages"]), 6)
        self.assertEqual(max(request["end_to_end_seconds"] for request in requests[1:]),
                         report["end_to_end_seconds"]["max"])
        self.bench("--requests=3", "--warmup=0", f"--requests_file={table}")
        with open(table, newline="") as file:
            rows = list(csv.DictReader(file))
        self.assertEqual([row["status"] for row in rows], ["OK"] * 3)
        self.assertEqual([row["generated_tokens"] for row in rows], ["6"] * 3)

    def test_lengths(self):
        file = self.scratch / "lengths.jsonl"
        def lengths(*flags: str) -> list[tuple[int, int]]:
            self.bench("--requests=8", "--warmup=0", f"--requests_file={file}", *flags, size=())
            requests = [json.loads(line) for line in file.read_text().splitlines()]
            return [(request["prompt_tokens"], request["generated_tokens"]) for request in requests]
        drawn = ("--prompt_tokens=uniform:5:30", "--max_tokens=lognormal:8:4")
        first = lengths(*drawn)
        self.assertTrue(all(5 <= prompt <= 30 for prompt, _ in first))
        self.assertGreater(len(set(first)), 4)
        self.assertEqual(lengths(*drawn), first)
        self.assertNotEqual(lengths(*drawn, "--load_seed=1"), first)
        trace = self.scratch / "with_lengths.jsonl"
        trace.write_text("".join(json.dumps({"timestamp": i, "input_length": 3 + i, "output_length": 9 - i})
                                 + "\n" for i in range(8)))
        self.assertEqual(lengths(f"--trace={trace}"), [(3 + i, 9 - i) for i in range(8)])

    def test_conversations(self):
        file = self.scratch / "sharegpt.json"
        turns = [("def f():", "    return 1\n"), ("import os", "\n"), ("x" * 5000, "y" * 5000)]
        file.write_text(json.dumps([{"conversations": [{"from": "human", "value": prompt},
                                                       {"from": "gpt", "value": reply}]}
                                    for prompt, reply in turns]))
        report = self.bench(f"--sharegpt={file}", "--requests=4", "--warmup=0", size=())
        count = lambda text: len(self.server.stub.Tokenize(
            pb.TokenizeRequest(text=text, add_special_tokens=False), timeout=30).ids)
        self.assertEqual(report["generated_tokens"], 2 * sum(count(reply) for _, reply in turns[:2]))
        file.write_text("[]")
        self.check_refusal(["--sharegpt", "sharegpt.json", "none of its 0 entries"],
                           f"--sharegpt={file}", code=1)

    def test_an_objective_decides_the_exit_code(self):
        met = self.bench("--requests=4", "--slo=ttft:100000,itl:100000")
        self.assertEqual((met["slo"]["met"], met["slo"]["requests_good"]), (True, 4))
        self.assertGreater(met["goodput_requests_per_second"], 0)
        missed = self.bench("--requests=4", "--slo=e2e:0.001", "--slo_share=0.5", code=3)
        self.assertEqual(missed["slo"]["missed_by"], {"e2e": 4})
        self.bench("--requests=4", "--slo=ttft:100000", "--max_recursions=99", code=3)

    def test_flags_that_do_not_fit(self):
        for flags, words in (
                (("--rate=1", "--streams=2"), ["--rate", "--streams"]),
                (("--arrivals=gamma",), ["--arrivals", "--rate"]),
                (("--rate=1", "--burstiness=2"), ["--burstiness", "--arrivals=gamma"]),
                (("--rate=1", "--arrivals=gamma"), ["--burstiness"]),
                (("--rate=0",), ["--rate", "from 0.0001"]),
                (("--rate=1", "--trace=x"), ["--rate", "--trace"]),
                (("--streams=1", "--max_in_flight=2"), ["--max_in_flight", "--streams"]),
                (("--duration=5",), ["--duration", "'5'", "30s"]),
                (("--duration=5s", "--requests=5"), ["--duration", "--requests"]),
                (("--slo=speed:5",), ["--slo", "'speed:5'", "ttft"]),
                (("--slo_share=0.5",), ["--slo_share", "--slo"]),
                (("--requests_file=x.json",), ["--requests_file", ".jsonl or .csv"]),
                (("--prompt_tokens=gauss:1:1",), ["--prompt_tokens", "lognormal:MEAN:STDDEV"]),
                (("--sharegpt=x", "--prompts=y"), ["--sharegpt", "--prompts"]),
                (("--rate=5", "--find_rate"), ["--find_rate", "--slo"]),
                (("--streams=1,x",), ["--streams", "'x'"]),
                (("--faults=hang:1",), ["--faults", "'hang:1'", "cancel:SHARE"]),
                (("--streams=1,2", "--html_file=x.html"), ["--html_file", "one load"]),
                (("--warmup=-1",), ["--warmup", "'-1'"])):
            with self.subTest(flags=flags):
                self.check_refusal(words, *flags)

    def test_files_that_cannot_be_used(self):
        broken = self.scratch / "broken.jsonl"
        broken.write_text('{"timestamp": 0}\n{"time": 1}\n')
        self.check_refusal(["--trace", "broken.jsonl", "line 2"], f"--trace={broken}", code=1)
        self.check_refusal(["nowhere.jsonl"], "--trace=nowhere.jsonl", code=1)


if __name__ == "__main__":
    unittest.main()
