# SPDX-License-Identifier: Apache-2.0
"""The `recurve` command line and the server's own, as scripts use them."""

import contextlib
import json
import os
import pathlib
import pty
import select
import shutil
import signal
import subprocess
import tempfile
import unittest

from tests.e2e.harness import BIN, MODEL, Collected, Server, json_lines, request, run_client

PROMPT = "import sys\n\ndef "


class Terminal:
    """A command of `recurve` on a terminal of its own."""

    def __init__(self, *arguments: str):
        self.master, slave = pty.openpty()
        self.process = subprocess.Popen([BIN / "recurve", *arguments], stdin=slave, stdout=slave,
                                        stderr=slave, env={**os.environ, "TERM": "xterm"})
        os.close(slave)

    def read_until(self, words: str, seconds: float = 60) -> str:
        """What it writes up to these words; the bound is generous, machines are slow."""
        text = ""
        while words not in text:
            if not select.select([self.master], [], [], seconds)[0]:
                raise AssertionError(f"no '{words}' in:\n{text}")
            text += os.read(self.master, 1 << 16).decode(errors="replace")
        return text

    def close(self) -> None:
        self.process.kill()
        self.process.wait()
        os.close(self.master)


class CommandLineTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.server = Server("--slots=4")

    @classmethod
    def tearDownClass(cls):
        cls.server.kill()

    def client(self, *arguments, stdin=""):
        return run_client(*arguments, server=self.server, stdin=stdin)

    def test_generate_streams_the_text_to_a_pipe(self):
        expected = Collected(self.server.stub.Generate(request(PROMPT, max_tokens=30)))
        done = self.client("generate", PROMPT, "--max_tokens=30")
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertEqual(done.stdout, expected.text + "\n")
        self.assertIn("mean depth", done.stderr)
        by_stdin = self.client("generate", "--max_tokens=30", stdin=PROMPT)
        self.assertEqual(by_stdin.stdout, done.stdout)

    def test_generate_prints_no_depth_without_rows(self):
        done = self.client("generate", PROMPT, "--max_tokens=1")
        self.assertIn("; mean depth -:", done.stderr)

    def test_generate_marks_depths(self):
        done = self.client("generate", PROMPT, "--max_tokens=20", "--ignore_eos",
                           "--depth_marks=subscript")
        marks = [c for c in done.stdout if c in "₁₂₃₄₅₆₇₈₉"]
        self.assertEqual(len(marks), 20)
        colors = self.client("generate", PROMPT, "--max_tokens=20", "--depth_marks=color")
        self.assertIn("\x1b[38;5;", colors.stdout)

    def test_generate_samples(self):
        flags = ("--max_tokens=10", "--temperature=1", "--seed=4", "--samples=3")
        done = self.client("generate", PROMPT, *flags)
        self.assertEqual(done.returncode, 0, done.stderr)
        parts = done.stdout.split("==> sample ")
        self.assertEqual(parts[0], "")
        self.assertEqual([part.split(" <==\n")[0] for part in parts[1:]], ["0", "1", "2"])
        self.assertEqual(done.stderr.count("mean depth"), 3)
        texts = ["", "", ""]
        for message in json_lines(self.client("generate", PROMPT, "--json", *flags).stdout):
            texts[message["sample"]] += message["text"]
        self.assertEqual([part.split(" <==\n")[1][:-1] for part in parts[1:]], texts)

    def test_generate_json(self):
        done = self.client("generate", PROMPT, "--max_tokens=10", "--ignore_eos", "--json",
                           "--logprobs=2", "--seed=9")
        messages = json_lines(done.stdout)
        self.assertEqual(sum(len(m["tokens"]) for m in messages), 10)
        self.assertEqual(messages[-1]["final"]["finish_reason"], "FINISH_REASON_LENGTH")
        self.assertEqual(len(messages[0]["tokens"][0]["logprobs"]["top"]), 2)

    def test_info_health_tokenize(self):
        info = json.loads(self.client("info", "--json").stdout)
        self.assertGreater(info["model"]["vocab_size"], 1)
        self.assertEqual(info["load"]["slots"], 4)
        self.assertIn("recursions", self.client("info").stdout)
        self.assertEqual(self.client("health").returncode, 0)
        self.assertEqual(self.client("health", "--service=no.such").returncode, 1)
        tokens = json.loads(self.client("tokenize", PROMPT, "--json").stdout)
        self.assertEqual("".join(tokens["texts"]), PROMPT)

    def test_bench(self):
        done = self.client("bench", "--streams=4", "--requests=12", "--warmup=2",
                           "--prompt_tokens=16", "--max_tokens=8", "--format=json")
        self.assertEqual(done.returncode, 0, done.stderr)
        report = json.loads(done.stdout)
        self.assertEqual(report["requests_by_status"], {"OK": 12})
        self.assertEqual(report["generated_tokens"], 96)
        self.assertGreater(report["time_to_first_token_seconds"]["p50"], 0)
        self.assertGreaterEqual(report["mean_depth"], 1)
        self.assertIn("time_per_output_token_seconds", report["definitions"])
        self.assertEqual(report["cached_prompt_share"], 0)
        self.assertEqual((report["warnings"], report["interrupted"]), ([], False))
        table = self.client("bench", "--streams=2", "--requests=4", "--warmup=0",
                            "--prompt_tokens=4", "--max_tokens=4").stdout
        self.assertIn("TTFT", table)

    def bench(self, *flags: str) -> dict:
        done = self.client("bench", "--streams=1", "--warmup=0", "--format=json", *flags)
        self.assertTrue(done.stdout, done.stderr)
        return {"exit_code": done.returncode, **json.loads(done.stdout)}

    def test_bench_tells_of_prompts_that_are_cached(self):
        size = ("--requests=2", "--prompt_tokens=129", "--max_tokens=2")
        first, second = self.bench(*size), self.bench(*size)
        self.assertNotEqual(first["prompt_seed"], second["prompt_seed"])
        self.assertEqual((first["cached_prompt_share"], second["cached_prompt_share"]), (0, 0))
        again = self.bench(*size, f"--prompt_seed={first['prompt_seed']}")
        self.assertEqual(again["prompt_seed"], first["prompt_seed"])
        self.assertAlmostEqual(again["cached_prompt_share"], 128 / 129, delta=0.01)
        self.assertIn("99 % of the prompt tokens", again["warnings"][0])
        with tempfile.TemporaryDirectory() as scratch:
            file = pathlib.Path(scratch) / "prompts.txt"
            file.write_text("def parse(self): return 1; " * 20 + "\n")
            report = self.bench("--requests=4", "--max_tokens=2", f"--prompts={file}")
        self.assertIsNone(report["prompt_seed"])
        self.assertGreater(report["cached_prompt_share"], 0.5)  # the one line, four times
        self.assertIn("Prompts of a file", report["warnings"][0])

    def test_bench_rates_are_of_completed_requests(self):
        report = self.bench("--requests=5", "--prompt_tokens=16", "--max_recursions=99")
        self.assertEqual(report["requests_by_status"], {"INVALID_ARGUMENT": 5})
        self.assertEqual((report["requests_completed"], report["exit_code"]), (0, 1))
        self.assertIsNone(report["requests_per_second"])
        self.assertGreater(report["requests_per_second_by_status"]["INVALID_ARGUMENT"], 0)
        one = self.bench("--requests=2", "--prompt_tokens=16", "--max_tokens=1")
        self.assertEqual((one["exit_code"], one["time_to_first_token_seconds"]["count"]), (0, 2))
        self.assertIsNone(one["time_per_output_token_seconds"]["mean"])

    def interrupt_bench(self, sig: int, **streams) -> subprocess.Popen:
        """A bench that is interrupted as soon as the server has completed some of its requests."""
        before = self.server.metric("recurve_request_finished_total")
        process = subprocess.Popen(
            [BIN / "recurve", "bench", f"--server={self.server.address}", "--requests=1000000",
             "--warmup=0", "--streams=3", "--max_tokens=8", "--prompt_tokens=8", "--format=json"],
            **streams)
        self.server.wait_until(
            lambda: self.server.metric("recurve_request_finished_total") >= before + 10,
            "nothing was completed")
        process.send_signal(sig)
        return process

    def test_bench_reports_what_it_has_when_interrupted(self):
        for sig in (signal.SIGINT, signal.SIGTERM):
            process = self.interrupt_bench(sig, stdout=subprocess.PIPE)
            process.send_signal(sig)  # as GNU timeout does
            report = json.loads(process.communicate(timeout=60)[0])
            self.assertEqual(process.returncode, 128 + sig)
            self.assertTrue(report["interrupted"])
            self.assertGreaterEqual(report["requests_completed"], 9)  # one may not be heard yet
            self.assertLess(report["requests_sent"], 1000000)
            self.assertGreater(report["requests_per_second"], 0)
            self.assertLessEqual(set(report["requests_by_status"]), {"OK", "CANCELLED"})
            self.server.wait_until_idle()

    def test_a_later_interrupt_ends_bench_at_once(self):
        reader, writer = os.pipe()
        os.set_blocking(writer, False)
        with contextlib.suppress(BlockingIOError):
            while True:
                os.write(writer, bytes(4096))
        os.set_blocking(writer, True)  # the report cannot be written
        process = self.interrupt_bench(signal.SIGINT, stdout=writer)
        def ends() -> bool:
            process.send_signal(signal.SIGINT)
            return process.poll() is not None
        self.server.wait_until(ends, "it did not end")
        self.assertEqual(process.returncode, 128 + signal.SIGINT)
        os.close(reader)
        os.close(writer)

    def test_top_once_is_plain_text(self):
        self.client("generate", PROMPT, "--max_tokens=20", "--ignore_eos")
        self.server.wait_until_idle()
        done = self.client("top", "--once")
        self.assertEqual((done.returncode, done.stderr), (0, ""))
        self.assertNotIn("\x1b", done.stdout)
        self.assertLessEqual(max(map(len, done.stdout.splitlines())), 80)
        self.assertIn("figures since the start", done.stdout)
        self.assertRegex(done.stdout, r"requests +0 of 4 slots \[\.{10}\]  0 waiting \(0 tokens\)")
        self.assertRegex(done.stdout, r"first token +[1-9]")
        self.assertNotRegex(done.stdout, r"mean depth +- ")
        for group in ["entry", "1", "2", "3", "exit", "all"]:
            self.assertRegex(done.stdout, rf"(?m)^{group} .* \[\.{{16}}\] +0 ")
        piped = self.client("top")
        self.assertEqual(piped.returncode, 0)
        self.assertIn("requests", piped.stdout)
        self.assertNotIn("\x1b", piped.stdout)
        self.assertIn("--once", piped.stderr)

    def test_top_goes_on_without_the_server(self):
        server = Server()
        terminal = Terminal("top", f"--server={server.address}", "--interval=100ms")
        try:
            terminal.read_until("of the last")
            server.kill()
            terminal.read_until("no figures since")
            terminal.read_until("UNAVAILABLE")
            terminal.process.send_signal(signal.SIGINT)
            terminal.read_until("\x1b[?25h")  # the cursor is back
            self.assertEqual(terminal.process.wait(60), -signal.SIGINT)
        finally:
            terminal.close()
            server.kill()

    def test_errors_say_what_to_do(self):
        for command in (["health"], ["top"], ["top", "--once"]):
            nowhere = subprocess.run([BIN / "recurve", *command, "--server=127.0.0.1:1"],
                                     capture_output=True, text=True, check=False)
            self.assertEqual(nowhere.returncode, 1)
            self.assertIn("--server", nowhere.stderr)
        wrong = self.client("generate", PROMPT, "--max_recursions=99")
        self.assertEqual(wrong.returncode, 1)
        self.assertIn("max_recursions", wrong.stderr)
        self.assertEqual(self.client("generate", "--no_such_flag").returncode, 2)
        for command in (["generate", PROMPT], ["bench"]):
            wrong = self.client(*command, "--request_id=a\nb")
            self.assertEqual(wrong.returncode, 1)
            self.assertIn("request_id has the byte 0x0A at offset 1", wrong.stderr)
        for interval in ("2", "99ms", "2h"):
            wrong = self.client("top", f"--interval={interval}")
            self.assertEqual(wrong.returncode, 2)
            self.assertIn("from 100ms to 1h", wrong.stderr)

    def test_prompts_come_from_one_place(self):
        with tempfile.TemporaryDirectory() as scratch:
            file = pathlib.Path(scratch) / "prompt.txt"
            file.write_text(PROMPT)
            expected = self.client("generate", PROMPT, "--max_tokens=5").stdout
            self.assertEqual(
                self.client("generate", f"--prompt_file={file}", "--max_tokens=5").stdout, expected)
            for command, arguments, names in [
                ("generate", [PROMPT, f"--prompt_file={file}"], ["prompt", "--prompt_file"]),
                ("generate", [PROMPT, "--ids=1,2"], ["prompt", "--ids"]),
                ("generate", ["--ids=1,2", f"--prompt_file={file}"], ["--ids", "--prompt_file"]),
                ("tokenize", [PROMPT, f"--file={file}"], ["text", "--file"]),
            ]:
                with self.subTest(names=names):
                    done = self.client(command, *arguments)
                    self.assertEqual(done.returncode, 2)
                    for name in names:
                        self.assertIn(name, done.stderr)

    def test_usage_errors_name_what_is_wrong(self):
        for arguments, words in [
            (["frobnicate"], ["'frobnicate'", "generate", "top"]),
            ([], ["generate", "top"]),
            (["generate", PROMPT, "--seed=-1"], ["--seed", "0 to 18446744073709551615"]),
            (["generate", PROMPT, "--seed=18446744073709551616"], ["--seed", "0 to 184467"]),
            (["generate", PROMPT, "--top_k=-18446744073709551615"], ["--top_k", "0 to 4294967295"]),
            (["generate", PROMPT, "--stop_id=-1"], ["--stop_id", "0 to 4294967295"]),
            (["generate", PROMPT, "--logprobs=x"], ["--logprobs", "0 to 4294967295"]),
            (["generate", "--ids=1,-2"], ["--ids", "'-2'"]),
            (["bench", "--prompt_seed=-1"], ["--prompt_seed", "0 to 184467"]),
            (["bench", "--requests=-1"], ["--requests", "1 to 100000000"]),
            (["bench", "--streams=0"], ["--streams", "1 to 10000"]),
            (["bench", "--prompt_seed=1", "--prompts=x"], ["--prompt_seed", "--prompts"]),
            (["info", "--timeout=nan"], ["--timeout", "'nan'", "from 0 to 1e+06"]),
            (["info", "--timeout=inf"], ["--timeout", "'inf'"]),
            (["info", "--timeout=-1"], ["--timeout", "'-1'"]),
            (["health", "--wait=nan"], ["--wait", "'nan'"]),
            (["generate", PROMPT, "--attempts=101"], ["--attempts", "1 to 100"]),
            (["generate", PROMPT, "--balance=most"], ["--balance", "round_robin"]),
            (["generate", PROMPT, "--server=a:1,,b:1"], ["--server", "an empty name"]),
            (["generate", PROMPT, "--server=a:1,a:1"], ["--server", "a:1 twice"]),
            (["info", "--server=a:1,b:1"], ["--server", "names 2 servers"]),
            *((["generate", PROMPT, f"--{flag}=nan"], [f"--{flag}", "'nan'"])
              for flag in ("temperature", "top_p", "min_p", "repetition_penalty", "presence_penalty",
                           "frequency_penalty", "router_threshold")),
            (["generate", PROMPT, "--temperature=1e30"], ["--temperature", "0 to 100"]),
            (["health", b"--service=caf\xe9"], ["the service is not UTF-8", "offset 3"]),
        ]:
            with self.subTest(arguments=arguments):
                done = subprocess.run([BIN / "recurve", *arguments], capture_output=True, text=True,
                                      check=False)
                self.assertEqual((done.returncode, done.stdout), (2, ""))
                for word in words:
                    self.assertIn(word, done.stderr)
        ten = self.client("generate", PROMPT, "--max_tokens=010", "--ignore_eos")  # not octal
        self.assertIn(" 10 generated", ten.stderr)

    def test_a_refused_request_writes_nothing(self):
        done = self.client("generate", PROMPT, "--max_recursions=99")
        self.assertEqual((done.returncode, done.stdout), (1, ""))
        done = self.client("generate", PROMPT, "--max_recursions=99", "--echo")
        self.assertEqual((done.returncode, done.stdout), (1, PROMPT + "\n"))

    def test_flags_take_one_value_each(self):
        expected = self.client("generate", PROMPT, "--max_tokens=5").stdout
        for flags in (["--stop", "END", PROMPT], ["--stop=[a,b]", PROMPT],
                      ["--stop={}", PROMPT], ["--stop_id", "1", PROMPT],
                      ["--stop=END", "--stop_id=1", PROMPT, "--stop=[a", "--stop_id=2"]):
            with self.subTest(flags=flags):
                done = self.client("generate", "--max_tokens=5", *flags)
                self.assertEqual((done.returncode, done.stdout), (0, expected), done.stderr)
        tokens = json.loads(self.client("tokenize", PROMPT, "--json").stdout)["ids"]
        by_ids = self.client("generate", "--max_tokens=5", "--ids=" + ",".join(map(str, tokens)))
        self.assertEqual((by_ids.returncode, by_ids.stdout), (0, expected), by_ids.stderr)
        both = self.client("generate", "--ids", "1,2", PROMPT)
        self.assertEqual(both.returncode, 2)
        self.assertIn("excludes", both.stderr)
        stopped = self.client("generate", "--stop", expected[:3], "--stop", "END", PROMPT)
        self.assertEqual((stopped.returncode, stopped.stdout), (0, "\n"), stopped.stderr)
        for command, flag in (("generate", "--stop"), ("bench", "--prompts"), ("info", "--json"),
                              ("health", "--service")):
            done = self.client(command, f"{flag}=", "--timeout=9")
            self.assertEqual(done.returncode, 2)
            self.assertIn(f"{flag} has no value", done.stderr)

    def test_output_that_cannot_be_written_is_an_error(self):
        for command in (["generate", PROMPT, "--max_tokens=20"],
                        ["generate", PROMPT, "--max_tokens=20", "--json"], ["info"],
                        ["info", "--json"], ["health"], ["tokenize", PROMPT], ["top", "--once"],
                        ["bench", "--requests=1", "--warmup=0", "--max_tokens=2"], ["--help"]):
            with self.subTest(command=command), open("/dev/full", "wb") as full:
                done = subprocess.run(
                    [BIN / "recurve", *command], stdout=full, stderr=subprocess.PIPE, text=True,
                    env={**os.environ, "RECURVE_SERVER": self.server.address}, timeout=120, check=False)
                self.assertEqual(done.returncode, 1, done.stderr)
                self.assertIn("standard output", done.stderr)
                self.assertIn("No space left", done.stderr)
                self.assertNotIn("CANCELLED", done.stderr)
        for program, flag in (("recurve-server", "--help"), ("recurve-server", "--version"),
                              ("recurve-bench", "--help"), ("recurve", "--version")):
            with self.subTest(program=program, flag=flag), open("/dev/full", "wb") as full:
                done = subprocess.run([BIN / program, flag], stdout=full, stderr=subprocess.PIPE,
                                      text=True, timeout=120, check=False)
                self.assertEqual(done.returncode, 1, done.stderr)
                self.assertIn("standard output", done.stderr)
        wrong = ["generate", PROMPT, "--no_such_flag"]
        with open("/dev/full", "wb") as full:  # which nothing was to be written to
            done = subprocess.run([BIN / "recurve", *wrong], stdout=full, stderr=subprocess.PIPE,
                                  text=True, check=False)
        self.assertEqual(done.returncode, 2)
        self.assertNotIn("standard output", done.stderr)

    def test_a_closed_pipe_ends_quietly(self):
        reader, writer = os.pipe()
        os.close(reader)
        done = subprocess.run(
            [BIN / "recurve", "generate", PROMPT, f"--server={self.server.address}"], stdout=writer,
            stderr=subprocess.PIPE, text=True, timeout=120, check=False)
        os.close(writer)
        self.assertEqual((done.returncode, done.stderr), (-signal.SIGPIPE, ""))

    def test_an_empty_text_is_a_text(self):
        tokens = json.loads(self.client("tokenize", "", "--json", "--no_special_tokens",
                                        stdin=PROMPT).stdout)
        self.assertEqual(tokens["ids"], [])
        done = self.client("generate", "", "--max_tokens=5", "--no_special_tokens", stdin=PROMPT)
        self.assertEqual(done.returncode, 1)
        self.assertIn("prompt", done.stderr)

    def test_texts_that_cannot_be_sent(self):
        with tempfile.TemporaryDirectory() as scratch:
            latin1 = pathlib.Path(scratch) / "latin1.txt"
            latin1.write_bytes("# caf\u00e9\n".encode("latin-1"))
            large = pathlib.Path(scratch) / "large.txt"
            large.write_text("x" * (5 << 20))
            broken = "is not UTF-8: the byte 0xE9 at offset 5"
            for arguments, words in [
                (["generate", f"--prompt_file={latin1}"], f"latin1.txt' {broken}"),
                (["tokenize", f"--file={latin1}"], f"latin1.txt' {broken}"),
                (["bench", f"--prompts={latin1}"], f"latin1.txt' {broken}"),
                (["generate", b"# caf\xe9"], f"the prompt {broken}"),
                (["generate", PROMPT, b"--stop=# caf\xe9"], f"the stop string {broken}"),
                (["generate", f"--prompt_file={scratch}"], "Is a directory"),
                (["generate", f"--prompt_file={large}"], "too large"),
            ]:
                with self.subTest(arguments=arguments):
                    done = self.client(*arguments)
                    self.assertIn(done.returncode, (1, 2))
                    self.assertIn(words, done.stderr)
                    self.assertNotIn("full", done.stderr)
            done = subprocess.run([BIN / "recurve", "generate", f"--server={self.server.address}"],
                                  input=latin1.read_bytes(), capture_output=True, check=False)
            self.assertEqual(done.returncode, 1)
            self.assertIn(f"standard input {broken}", done.stderr.decode())

    def test_server_refuses_what_it_cannot_do(self):
        def serve(*flags):
            return subprocess.run([BIN / "recurve-server", *flags, "--listen=127.0.0.1:0",
                                   "--metrics_listen=127.0.0.1:0"],
                                  capture_output=True, text=True, timeout=60, check=False)
        for flags, words in [
            (["--model=/nonexistent"], "/nonexistent"),
            ([f"--model={MODEL}", "--backend=cuda"],
             "this build does not have; build with `cmake --preset cuda`, or use --backend=cpu"),
            ([f"--model={MODEL}", "--precision=int4"], "int4"),
            ([f"--model={MODEL}", "--policy=eager"], "eager"),
            ([f"--model={MODEL}", "--no_such_flag=1"], "no_such_flag"),
            ([f"--model={MODEL}", "--max_context=99999999"], "max_context"),
            ([f"--model={MODEL}", "--slots=4294967295"], "slots"),
            ([f"--model={MODEL}", b"--model_name=caf\xe9"], "not UTF-8 from the byte at offset 3"),
        ]:
            with self.subTest(flags=flags):
                done = serve(*flags)
                self.assertNotIn(done.returncode, (0, -6, -11), done.stderr)
                self.assertIn(words, done.stderr)

    def test_a_directory_whose_name_is_not_utf8_needs_a_model_name(self):
        with tempfile.TemporaryDirectory() as scratch:
            directory = os.fsencode(scratch) + b"/mod\xe8le"
            os.symlink(MODEL, directory)
            done = subprocess.run([BIN / "recurve-server", b"--model=" + directory,
                                   "--listen=127.0.0.1:0", "--metrics_listen=127.0.0.1:0"],
                                  capture_output=True, text=True, timeout=60, check=False)
            self.assertEqual(done.returncode, 1, done.stderr)
            self.assertIn("--model_name", done.stderr)
            server = Server("--model_name=modèle", model=os.fsdecode(directory))
            try:
                self.assertIn("modèle", run_client("info", server=server).stdout)
            finally:
                server.kill()

    def test_server_takes_its_options_from_a_file(self):
        with tempfile.TemporaryDirectory() as scratch:
            config = pathlib.Path(scratch) / "recurve.toml"
            config.write_text('slots = 3\npolicy = "lockstep"\n')
            server = Server(f"--config={config}")
            try:
                self.assertEqual(server.load().slots, 3)
            finally:
                server.kill()

    @unittest.skipUnless(shutil.which("promtool"), "promtool (Debian's prometheus) is not installed")
    def test_metrics_satisfy_promtool(self):
        self.client("generate", PROMPT, "--max_tokens=5")
        done = subprocess.run(["promtool", "check", "metrics"], input=self.server.metrics(),
                              capture_output=True, text=True, check=False)
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)


if __name__ == "__main__":
    unittest.main()
