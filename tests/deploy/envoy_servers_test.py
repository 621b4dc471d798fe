# SPDX-License-Identifier: Apache-2.0
"""Three real servers behind the real Envoy: where calls go, and what happens when a server ends."""

import concurrent.futures
import pathlib
import signal
import tempfile
import threading
import unittest

import grpc

from tests.deploy.envoy_harness import SECONDS, Authority, Configuration, Front, fill, free_port, wait_until
from tests.e2e.harness import Collected, Server, request

PROMPT = "class Parser:\n    def parse(self):\n"
LONG = {"ignore_eos": True}


class EnvoyServersTest(unittest.TestCase):
    def setUp(self):
        scratch = self.enterContext(tempfile.TemporaryDirectory(prefix="recurve-ca-"))
        self.authority = Authority(pathlib.Path(scratch) / "ca")
        self.servers = []

    def start(self, *flags: str) -> Front:
        for _ in range(3):
            self.servers.append(self.server(*flags))
        configuration = Configuration()
        configuration.cluster["outlier_detection"]["base_ejection_time"] = "1s"
        self.front = self.enterContext(
            Front(configuration, [server.address for server in self.servers], self.authority))
        self.wait_for_healthy(3)
        return self.front

    def server(self, *flags: str, listen: str = "") -> Server:
        # A port that another process may take over, which those that the system chooses are not.
        listen = listen or f"127.0.0.1:{free_port()}"
        server = Server("--threads=1", "--isa=scalar", *flags, listen=listen)
        self.addCleanup(server.kill)
        return server

    def wait_for_healthy(self, count: int) -> None:
        for cluster in ("recurve", "recurve_by_prefix"):
            wait_until(lambda cluster=cluster: self.front.healthy_servers(cluster) == count, f"not {count} are healthy")

    def calls(self) -> list[int]:
        """Of Complete, by server."""
        return [int(server.metric("recurve_requests_total", method="Complete")) for server in self.servers]

    def home(self, stub, prefix: str) -> int:
        """The server to which this prefix goes."""
        before = self.calls()
        stub.Complete(request(max_tokens=1), timeout=SECONDS, metadata=[("x-recurve-prefix", prefix)])
        wait_until(lambda: sum(self.calls()) == sum(before) + 1, "not counted")  # which follows the answer
        return [now - then for now, then in zip(self.calls(), before)].index(1)

    def test_a_prefix_stays_with_its_server_and_prefixes_spread(self):
        self.start()
        with self.front.stub() as stub:
            first = [self.home(stub, f"prefix {number}") for number in range(24)]
            again = [self.home(stub, f"prefix {number}") for number in range(24)]
        self.assertEqual(first, again)
        self.assertEqual(set(first), {0, 1, 2})

    def test_a_prefix_comes_back_to_its_server(self):
        self.start()
        with self.front.stub() as stub:
            home = self.home(stub, "some")
            address = self.servers[home].address
            self.servers[home].kill()
            stub.Complete(request(max_tokens=1), timeout=SECONDS, metadata=[("x-recurve-prefix", "some")])
            self.wait_for_healthy(2)
            self.servers[home] = self.server(listen=address)
            self.wait_for_healthy(3)
            self.assertEqual(self.home(stub, "some"), home)

    def test_requests_without_a_prefix_go_where_there_are_few(self):
        self.start("--slots=16")
        with self.front.stub() as stub:
            calls = []
            for _ in range(12):
                calls.append(stub.Generate(request(PROMPT, max_tokens=900, stop=LONG)))
                next(calls[-1])
            self.assertGreaterEqual(min(server.load().requests_running for server in self.servers), 2)
            for call in calls:
                call.cancel()

    def test_full_servers_are_passed_over(self):
        """For one that accepts: the load of the others is not through this front, which so cannot know of it."""
        self.start("--slots=1", "--max_queued_requests=1")
        with self.front.stub() as stub:
            full = fill(self.servers[0]) + fill(self.servers[1])
            for _ in range(5):
                stub.Complete(request(max_tokens=1), timeout=SECONDS)
            wait_until(lambda: self.calls()[2] == 5, "not counted")
            full += fill(self.servers[2])
            with self.assertRaises(grpc.RpcError) as caught:
                stub.Complete(request(max_tokens=1), timeout=SECONDS)
            self.assertEqual(caught.exception.code(), grpc.StatusCode.RESOURCE_EXHAUSTED)
            self.assertIn(("grpc-retry-pushback-ms", "1000"), list(caught.exception.trailing_metadata()))
            for call in full:
                call.cancel()

    def test_a_killed_server_costs_the_streams_that_had_begun_alone(self):
        """Each server has one request that runs and three that wait."""
        self.start("--slots=1")
        with self.front.stub() as stub:
            homes = {self.home(stub, str(number)): [("x-recurve-prefix", str(number))] for number in range(24)}
            self.assertEqual(len(homes), 3)
            running = [stub.Generate(request(PROMPT, max_tokens=900, stop=LONG), metadata=homes[home])
                       for home in range(3)]
            for call in running:
                next(call)
            waiting = [stub.Generate(request(PROMPT, max_tokens=5, stop=LONG), metadata=homes[number % 3])
                       for number in range(9)]
            for server in self.servers:
                server.wait_until(lambda server=server: server.load().requests_waiting == 3, "they do not wait")
            address = self.servers[0].address
            self.servers[0].kill()
            with self.assertRaises(grpc.RpcError) as caught:
                list(running[0])
            # Envoy resets what has begun, for which gRPC's clients have this status; the server itself: UNAVAILABLE.
            self.assertEqual(caught.exception.code(), grpc.StatusCode.INTERNAL)
            for call in running[1:]:
                next(call)
                call.cancel()
            texts = {Collected(call).text for call in waiting}
        self.assertEqual(len(texts), 1)
        self.assertEqual(self.front.stat("cluster.recurve_by_prefix.upstream_rq_retry_success"), 3)
        self.wait_for_healthy(2)
        self.servers[0] = self.server(listen=address)
        self.wait_for_healthy(3)
        with self.front.stub() as stub:
            wait_until(lambda: stub.Complete(request(max_tokens=1), timeout=SECONDS) and self.calls()[0] > 0,
                       "the new server has no calls")

    def under_load(self, action) -> list[Exception]:
        """Runs `action` while four clients call; what went wrong for them."""
        errors, stop = [], threading.Event()

        def client(index: int) -> int:
            count = 0
            metadata = [("x-recurve-prefix", str(index))] if index % 2 else []
            with self.front.stub() as stub:
                while not stop.is_set():
                    try:
                        stub.Complete(request(PROMPT, max_tokens=3, stop=LONG), timeout=SECONDS, metadata=metadata)
                    except grpc.RpcError as error:
                        errors.append(error)
                    count += 1
            return count

        with concurrent.futures.ThreadPoolExecutor(4) as pool:
            counts = [pool.submit(client, index) for index in range(4)]
            try:
                wait_until(lambda: sum(self.front.stat(f"cluster.{name}.upstream_rq_completed")
                                       for name in ("recurve", "recurve_by_prefix")) > 20, "no load")
                action()
            finally:
                stop.set()
            self.assertGreater(min(count.result() for count in counts), 0)
        return errors

    def test_a_kill_under_load_loses_no_unary_call(self):
        self.start("--slots=4")

        def kill_and_start_again() -> None:
            address = self.servers[1].address
            self.servers[1].kill()
            self.wait_for_healthy(2)
            self.servers[1] = self.server("--slots=4", listen=address)
            self.wait_for_healthy(3)
        self.assertEqual(self.under_load(kill_and_start_again), [])

    def test_a_server_drains_without_an_error(self):
        self.start("--slots=4")

        def drain() -> None:
            server = self.servers[2]
            self.assertEqual(server.stop(signal.SIGTERM), 0)
            self.wait_for_healthy(2)
        with self.front.stub() as stub:
            streams = [stub.Generate(request(PROMPT, max_tokens=60, stop=LONG)) for _ in range(6)]
            for stream in streams:
                next(stream)
            self.assertEqual(self.under_load(drain), [])
            for stream in streams:
                self.assertEqual(len(Collected(stream).tokens), 59)

    def test_a_server_that_hangs_is_put_aside(self):
        """Its requests that have not begun go elsewhere, once a ping has not been answered."""
        configuration = Configuration()
        configuration.http2_to_servers["connection_keepalive"] = {"interval": "0.5s", "timeout": "0.5s"}
        configuration.cluster["health_checks"][0].update(interval="0.5s", timeout="0.5s")
        self.servers = [self.server(), self.server()]
        self.front = self.enterContext(
            Front(configuration, [server.address for server in self.servers], self.authority))
        self.wait_for_healthy(2)
        with self.front.stub() as stub:
            for _ in range(4):
                stub.Complete(request(max_tokens=1), timeout=SECONDS)
            self.servers[0].process.send_signal(signal.SIGSTOP)
            calls = [stub.Complete.future(request(max_tokens=1), timeout=SECONDS) for _ in range(8)]
            for call in calls:
                call.result()
            self.wait_for_healthy(1)
            self.servers[0].process.send_signal(signal.SIGCONT)
            self.wait_for_healthy(2)
