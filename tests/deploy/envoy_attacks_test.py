# SPDX-License-Identifier: Apache-2.0
"""Clients that mean harm, before the real Envoy: they get little of the servers, and others are served as before."""

import concurrent.futures
import contextlib
import pathlib
import struct
import tempfile
import threading
import time
import unittest

from tests.deploy.envoy_harness import (CANCEL, CONTINUATION, DATA, END_HEADERS, END_STREAM, HEADERS, PING,
                                        PRIORITY, RST_STREAM, SECONDS, SETTINGS, WINDOW_UPDATE, Authority,
                                        Configuration, Front, RawClient, call_headers, encode, frame, message,
                                        wait_until)
from tests.e2e.harness import Server, request

BUDGET = 50  # resets of a connection: half of overload.premature_reset_total_stream_count
INFO = "/recurve.v1.GenerationService/GetModelInfo"


class Honest:
    """A client that asks for one text over and over while others attack, and wants the same answer each time."""

    def __init__(self, front: Front, expected: str):
        self.answers = 0
        self.errors: list[str] = []
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, args=(front, expected))

    def __enter__(self):
        self._thread.start()
        wait_until(lambda: self.answers > 0 or self.errors, "not served")
        return self

    def __exit__(self, *_) -> None:
        before = self.answers
        wait_until(lambda: self.answers > before + 1 or self.errors, "no longer served")
        self._stop.set()
        self._thread.join()

    def _run(self, front: Front, expected: str) -> None:
        with front.stub() as stub:
            while not self._stop.is_set() and not self.errors:
                try:
                    text = stub.Complete(request(max_tokens=8), timeout=SECONDS).text
                    if text != expected:
                        self.errors.append(f"another text: {text}")
                    self.answers += 1
                    time.sleep(0.02)  # well below the rate that a connection may have
                except Exception as error:  # noqa: BLE001
                    self.errors.append(str(error))


def header_bomb() -> bytes:
    """4 KB that enter the table of the connection, named 8,000 times: 32 MB of headers."""
    entry = b"\x40\x01x\x7f" + bytes([(3900 - 127) % 128 + 128, (3900 - 127) // 128]) + b"y" * 3900
    return (frame(HEADERS, 0, 1, call_headers() + entry + b"\xbe" * 8000)
            + frame(CONTINUATION, END_HEADERS, 1, b"\xbe" * 8000))


def new_call(stream: int = 1, flags: int = END_HEADERS) -> bytes:
    return frame(HEADERS, flags, stream, call_headers(method=INFO))


# Each is what a client sends after its preface and settings, and costs it the connection, or stream 1.
MALFORMED = {
    "a frame beyond 16 KiB": new_call() + frame(DATA, 0, 1, b"x" * 20000),
    "data on no stream": frame(DATA, 0, 0, b"x"),
    "data on a stream that was never opened": frame(DATA, 0, 7, b"x"),
    "headers on an even stream": new_call(2),
    "headers that do not decode": frame(HEADERS, END_HEADERS, 1, b"\xff\xff\xff\xff\xff\xff\xff"),
    "an index beyond the table": frame(HEADERS, END_HEADERS, 1, b"\xfe"),
    "a continuation of nothing": frame(CONTINUATION, END_HEADERS, 1, call_headers()),
    "another frame amid headers": frame(HEADERS, 0, 1, call_headers()) + frame(PING, 0, 0, b"12345678"),
    "headers without an end": frame(HEADERS, 0, 1, call_headers()) + frame(CONTINUATION, 0, 1, encode(
        [("x", "y" * 15000)])) * 100,
    "a thousand empty continuations": frame(HEADERS, 0, 1, call_headers()) + frame(CONTINUATION, 0, 1) * 1000,
    "a bomb of headers": header_bomb(),
    "settings with half an entry": frame(SETTINGS, 0, 0, b"\x00\x03\x00"),
    "settings with a window beyond 2 GiB": frame(SETTINGS, 0, 0, struct.pack(">HI", 4, 0x80000000)),
    "a ping of five bytes": frame(PING, 0, 0, b"12345"),
    "a window that overflows": frame(WINDOW_UPDATE, 0, 0, struct.pack(">I", 0x7FFFFFFF)),
    "a window grown by nothing": frame(WINDOW_UPDATE, 0, 0, struct.pack(">I", 0)),
    "a reset of a stream that was never opened": frame(RST_STREAM, 0, 9, CANCEL),
    "a thousand empty data frames": new_call() + frame(DATA, 0, 1) * 1000,
    "ten thousand priorities": frame(PRIORITY, 0, 1, b"\x00\x00\x00\x00\x10") * 10000,
    "a window grown ten thousand times": new_call() + frame(WINDOW_UPDATE, 0, 1, struct.pack(">I", 1)) * 10000,
    "what is no HTTP/2": b"\x00" * 4096,
}


class EnvoyAttacksTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        scratch = tempfile.TemporaryDirectory(prefix="recurve-ca-")
        cls.addClassCleanup(scratch.cleanup)
        cls.server = Server("--slots=2", "--threads=1")
        cls.addClassCleanup(cls.server.kill)
        authority = Authority(pathlib.Path(scratch.name) / "ca")
        cls.front = Front(Configuration(), [cls.server.address], authority)
        cls.addClassCleanup(cls.front.close)
        wait_until(lambda: cls.front.healthy_servers() == 1, "the server is not healthy")
        cls.expected = cls.server.stub.Complete(request(max_tokens=8)).text

    def honest(self) -> Honest:
        return Honest(self.front, self.expected)

    def assert_served(self, honest: Honest) -> None:
        self.assertEqual(honest.errors, [])
        self.assertGreater(honest.answers, 1)
        self.server.wait_until_idle()
        self.assertIsNone(self.front.process.poll())

    def attack(self, parts: list[bytes], connections: int) -> int:
        """Sends `parts` over each of so many connections, four at a time; how many of them were closed for it."""
        def one(_: int) -> bool:
            with contextlib.suppress(OSError), self.front.raw() as client:
                for part in parts:
                    client.send(part)
                return client.is_closed()
            return True
        with concurrent.futures.ThreadPoolExecutor(4) as pool:
            return sum(pool.map(one, range(connections)))

    def calls(self) -> float:
        return self.front.stat("cluster.recurve.upstream_rq_total")

    def flood(self, parts: list[bytes], connections: int) -> None:
        """Every connection is closed, and all of them together had no more calls than their budgets."""
        before = self.calls()
        with self.honest() as honest:
            self.assertEqual(self.attack(parts, connections), connections)
        self.assert_served(honest)
        self.assertLessEqual(self.calls() - before - honest.answers, BUDGET * connections)

    def test_a_flood_of_resets_costs_its_connections_and_few_calls(self):
        body = message(request(max_tokens=100))
        resets = [b"".join(frame(HEADERS, END_HEADERS, stream, call_headers()) + frame(DATA, END_STREAM, stream, body)
                           + frame(RST_STREAM, 0, stream, CANCEL) for stream in range(first, first + 2000, 2))
                  for first in range(1, 20000, 2000)]
        closed = self.front.stat("http.recurve.downstream_rq_too_many_premature_resets")
        self.flood(resets, connections=20)  # 200,000 calls, sent as fast as they are taken
        closed = self.front.stat("http.recurve.downstream_rq_too_many_premature_resets") - closed
        self.assertEqual(closed, 20)

    def test_resets_that_the_front_is_made_to_send_are_no_way_around(self):
        """The client breaks a rule of each stream instead, so that Envoy resets it."""
        breaks = [b"".join(new_call(stream) + frame(WINDOW_UPDATE, 0, stream, struct.pack(">I", 0))
                           for stream in range(first, first + 2000, 2)) for first in range(1, 20000, 2000)]
        self.flood(breaks, connections=10)

    def test_malformed_frames_cost_their_sender_alone(self):
        with self.honest() as honest:
            for name, data in MALFORMED.items():
                with self.subTest(name), self.front.raw() as client:
                    client.send(data)
                    # Not so long that it would end for the silence that follows.
                    ended = client.read(lambda client=client: client.ended(1) or client.goaway() is not None, 8,
                                        acknowledge=False)
                    self.assertTrue(ended, "it goes on")
        self.assert_served(honest)

    def test_questions_whose_answers_nobody_reads_end(self):
        """Pings and settings each ask for an answer."""
        with self.honest() as honest:
            for question in (frame(PING, 0, 0, b"12345678"), frame(SETTINGS, 0, 0)):
                with self.front.raw() as client:
                    client.socket.settimeout(0.5)
                    for _ in range(2000):
                        client.send(question * 1000)
                        if client.closed:
                            break
                    self.assertTrue(client.closed)
        self.assert_served(honest)

    def test_a_crowd_that_never_ends_its_headers_keeps_nobody_out(self):
        with contextlib.ExitStack() as stack:
            crowd: list[RawClient] = [stack.enter_context(self.front.raw()) for _ in range(50)]
            for client in crowd:
                client.send(frame(HEADERS, 0, 1, call_headers()))
            with self.honest() as honest:
                pass
            self.assert_served(honest)
            for client in crowd:
                self.assertTrue(client.read(lambda client=client: client.ended(1), acknowledge=False))


