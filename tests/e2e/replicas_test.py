# SPDX-License-Identifier: Apache-2.0
"""Three servers, of which some are killed and some are told to stop while streams run."""

import json
import os
import random
import signal
import socket
import subprocess
import time
import unittest

from tests.e2e.harness import BIN, Server, json_lines

PROMPTS = ("import os\n\n", "class Stack:\n", "def fibonacci(n):\n    ", "for i in range(10):\n")
# Rounds of streams, each with an end of a server; the second tier takes more.
ROUNDS = int(os.environ.get("RECURVE_REPLICA_ROUNDS", "2"))
STREAMS = 6
FLAGS = ("--threads=1", "--slots=8", "--drain_grace=0ms", "--drain_budget=10ms")


def free_address() -> str:
    """Of a port that nobody has, and that the system gives to no connection: a server can come back to it."""
    while True:
        address = ("127.0.0.1", random.randrange(20000, 32000))
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(address)
            except OSError:
                continue
        return f"{address[0]}:{address[1]}"


def start(number: int, listen: str) -> Server:
    # Other threads, chunks and slots: none of them changes a token.
    return Server(*FLAGS, f"--chunk={16 << number}", listen=listen)


class ReplicasTest(unittest.TestCase):
    def setUp(self):
        self.addresses = [free_address() for _ in range(3)]
        self.servers = [start(number, address) for number, address in enumerate(self.addresses)]
        self.addCleanup(lambda: [server.kill() for server in self.servers])

    def way(self) -> list:
        """The flags by which a client reaches the servers."""
        return ["--server=" + ",".join(self.addresses)]

    def client(self, command: str, *arguments: str) -> list:
        return [str(BIN / "recurve"), command, *self.way(), "--attempts=12", "--timeout=120", "--resume", *arguments]

    def restart(self, number: int) -> None:
        self.servers[number].kill()
        self.servers[number] = start(number, self.addresses[number])

    def end(self, number: int, sig: int) -> None:
        self.servers[number].process.send_signal(sig)
        self.servers[number].process.wait(timeout=60)

    def wait_for_busy(self, clients: list) -> int:
        """The server with the most requests, once it has some; or any, if the clients were too quick."""
        running = [0]

        def is_busy() -> bool:
            running[:] = [server.load().requests_running for server in self.servers]
            return max(running) > 1 or all(client.poll() is not None for client in clients)
        self.servers[0].wait_until(is_busy, "no load came")
        return running.index(max(running))

    def generate(self, seed: int) -> list:
        return ("generate", PROMPTS[seed % len(PROMPTS)], "--json", "--logprobs=1", "--max_tokens=700",
                "--ignore_eos", "--temperature=1", f"--seed={seed}", f"--samples={1 + seed % 2}")

    def collect(self, process: subprocess.Popen) -> tuple:
        """Of each sample the tokens, with depths and log probabilities, the text and the reason; how often it went on."""
        out, err = process.communicate(timeout=180)
        self.assertEqual(process.returncode, 0, err)
        samples = {}
        for message in json_lines(out):
            sample = samples.setdefault(message["sample"], {"tokens": [], "text": "", "final": None})
            self.assertIsNone(sample["final"])
            sample["tokens"] += message["tokens"]
            sample["text"] += message["text"]
            if "final" in message:
                final = message["final"]
                sample["final"] = [final[key] for key in ("finish_reason", "seed", "generated_depth")]
        return samples, err.count("went on at another server")

    def start_streams(self, seeds) -> list:
        streams = [subprocess.Popen(self.client(*self.generate(seed)), text=True, stdout=subprocess.PIPE,
                                    stderr=subprocess.PIPE) for seed in seeds]
        for stream in streams:
            self.addCleanup(stream.kill)
        return streams

    def test_streams_are_what_they_are_alone_whoever_dies(self):
        draw = random.Random(20)
        resumed = 0
        for turn in range(ROUNDS):
            seeds = range(turn * STREAMS, (turn + 1) * STREAMS)
            sig = (signal.SIGKILL, signal.SIGTERM)[turn % 2]
            with self.subTest(turn=turn, signal=sig.name):
                streams = self.start_streams(seeds)
                victim = self.wait_for_busy(streams)
                time.sleep(draw.random() * 0.1)
                self.end(victim, sig)
                broken = [self.collect(stream) for stream in streams]
                self.restart(victim)
                resumed += sum(times for _, times in broken)
                whole = [self.collect(stream)[0] for stream in self.start_streams(seeds)]
                for seed, (samples, _), expected in zip(seeds, broken, whole):
                    self.assertEqual(samples, expected, f"seed {seed}")
        self.assertGreater(resumed, 0)

    def test_no_request_is_lost_under_load(self):
        draw = random.Random(21)
        resumes = 0
        for turn in range(ROUNDS):
            bench = subprocess.Popen(
                self.client("bench", "--streams=12", "--requests=60", "--warmup=0", "--prompt_tokens=40",
                            "--max_tokens=150", "--format=json"),
                text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
            self.addCleanup(bench.kill)
            victim = self.wait_for_busy([bench])
            time.sleep(draw.random() * 0.1)
            self.end(victim, (signal.SIGTERM, signal.SIGKILL)[turn % 2])
            out, err = bench.communicate(timeout=180)
            report = json.loads(out)
            self.assertEqual(report["requests_by_status"], {"OK": 60}, err)
            self.assertEqual(report["generated_tokens"], 60 * 150)
            resumes += report["resumes"]
            self.restart(victim)
        self.assertGreater(resumes, 0)

    def test_without_any_server_calls_end(self):
        for number in range(3):
            self.end(number, signal.SIGKILL)
        done = subprocess.run(
            [str(BIN / "recurve"), "generate", "x", *self.way(), "--attempts=4"],
            capture_output=True, text=True, timeout=60, check=False)
        self.assertEqual(done.returncode, 1)
        self.assertIn("UNAVAILABLE", done.stderr)


if __name__ == "__main__":
    unittest.main()
