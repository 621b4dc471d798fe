# SPDX-License-Identifier: Apache-2.0
"""Overload, slow readers, shutdown: nothing is lost, every page comes back."""

import concurrent.futures
import contextlib
import resource
import signal
import socket
import time
import unittest

import grpc

from tests.e2e.harness import Collected, Server, health_grpc, health_pb, json_lines, pb, request

PROMPT = "class Parser:\n    def parse(self):\n"
LONG = {"ignore_eos": True}
SLOW = ("--isa=scalar", "--threads=1")  # so that a long request still runs when the next one comes


class LifecycleTest(unittest.TestCase):
    def setUp(self):
        self.server = None

    def tearDown(self):
        if self.server is not None:
            self.server.kill()

    def start(self, *flags, **process) -> Server:
        self.server = Server(*flags, **process)
        return self.server

    def serves_a_new_client(self) -> bool:
        with self.server.new_channel() as channel:
            try:
                health_grpc.HealthStub(channel).Check(health_pb.HealthCheckRequest(), timeout=60)
            except grpc.RpcError as error:
                self.assertEqual(error.code(), grpc.StatusCode.UNAVAILABLE)
                return False
        return True

    def connect(self) -> socket.socket:
        host, _, port = self.server.address.rpartition(":")
        return socket.create_connection((host, int(port)), timeout=60)

    def test_more_clients_than_descriptors_come_and_go(self):
        limit = 128
        server = self.start(preexec_fn=lambda: resource.setrlimit(
            resource.RLIMIT_NOFILE, (limit // 2, limit)))
        self.assertIn(f"descriptor_limit before={limit // 2} now={limit}", server.log())
        most = int(server.log().split("max_connections=")[1].split()[0])
        self.assertLess(most, limit)
        crowd = [self.connect() for _ in range(limit + 20)]
        server.wait_until(lambda: server.metric("recurve_connections_open") == most
                          and server.metric("recurve_connections_refused_total",
                                            reason="max_connections") == len(crowd) + 1 - most,
                          "the crowd is not in")
        self.assertFalse(self.serves_a_new_client())
        self.assertTrue(server.healthy())  # those who are in are served
        self.assertEqual(server.metric("recurve_connections_refused_total", reason="descriptors"), 0)
        self.assertEqual(server.metric("recurve_self_check_failures_total"), 0)
        for connection in crowd:
            connection.close()
        server.wait_until(self.serves_a_new_client, "new clients are not served")
        self.assertEqual(server.stop(), 0)

    def test_a_server_that_can_accept_nobody_says_so_until_it_can(self):
        server = self.start("--self_check_interval=100ms", "--self_check_timeout=1s")
        server.wait_until(lambda: server.healthy("liveness"), "not live")
        limits = resource.prlimit(server.process.pid, resource.RLIMIT_NOFILE)
        # No descriptor can be opened, not even in the place of one that is given up.
        resource.prlimit(server.process.pid, resource.RLIMIT_NOFILE, (1, limits[1]))
        for name in ("", "liveness", "recurve.v1.GenerationService"):
            server.wait_until(lambda name=name: not server.healthy(name), f"'{name}' says well")
        self.assertIn(" deaf seconds=", server.log())
        # Calls over connections that are there are served.
        self.assertEqual(len(Collected(server.stub.Generate(request(PROMPT, max_tokens=5))).tokens), 5)
        resource.prlimit(server.process.pid, resource.RLIMIT_NOFILE, limits)
        server.wait_until(lambda: server.healthy() and server.healthy("liveness"),
                          "it does not recover")
        self.assertTrue(self.serves_a_new_client())
        self.assertGreaterEqual(server.metric("recurve_self_check_failures_total"), 2)
        self.assertEqual(server.metric("recurve_live"), 1)
        self.assertIn(" self_check_answered ", server.log())
        self.assertEqual(server.stop(), 0)

    def test_a_limit_too_small_for_anything_is_refused(self):
        with self.assertRaises(AssertionError) as refused:
            Server(preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (40, 40)))
        self.assertIn("exit code 1", str(refused.exception))
        self.assertIn("--max_connections=auto: the process may open 40 file descriptors",
                      str(refused.exception))

    def test_full_queue_says_when_to_come_back(self):
        server = self.start("--slots=1", "--max_queued_requests=1", "--retry_pushback=123ms", *SLOW)
        running = server.stub.Generate(request(PROMPT, max_tokens=900, stop=LONG))
        next(running)
        waiting = server.stub.Generate(request(PROMPT, max_tokens=400, stop=LONG))
        server.wait_until(lambda: server.load().requests_waiting == 1, "nothing waits")
        with self.assertRaises(grpc.RpcError) as caught:
            list(server.stub.Generate(request(PROMPT, max_tokens=400, stop=LONG)))
        refused = caught.exception
        self.assertEqual(refused.code(), grpc.StatusCode.RESOURCE_EXHAUSTED)
        self.assertIn("queue", refused.details())
        self.assertIn(("grpc-retry-pushback-ms", "123"), list(refused.trailing_metadata()))
        running.cancel()
        waiting.cancel()
        server.wait_until_idle()
        self.assertGreaterEqual(server.metric("recurve_admission_rejections_total"), 1)

    def test_a_slow_reader_costs_only_itself(self):
        server = self.start("--slots=4", "--stream_stall_timeout=1s", "--stream_buffer_tokens=64")
        # A window of 64 KiB, and messages that fill it: a reader that stops is felt at once.
        slow_channel = server.new_channel(grpc__http2__lookahead_bytes=65536,
                                          grpc__http2__bdp_probe=0)
        slow = pb.GenerateRequest()
        slow.CopyFrom(request(PROMPT, max_tokens=900, stop=LONG,
                              output={"logprobs": True, "top_logprobs": 20}))
        slow_call = server.stub.__class__(slow_channel).Generate(slow)
        next(slow_call)
        quick = Collected(server.stub.Generate(request(PROMPT, max_tokens=100, stop=LONG)))
        self.assertEqual(len(quick.tokens), 100)
        server.wait_until(lambda: server.metric("recurve_egress_stalls_total") >= 1,
                          "the slow stream was not cancelled")
        server.wait_until_idle()
        with self.assertRaises(grpc.RpcError):
            list(slow_call)
        slow_channel.close()

    def test_random_cancels_leave_nothing_behind(self):
        server = self.start("--slots=4", "--max_queued_requests=64")

        def one(index: int) -> str:
            call = server.stub.Generate(
                request(PROMPT * (1 + index % 7), max_tokens=1 + index % 50, stop=LONG),
                timeout=[None, 0.02, 0.2][index % 3])
            try:
                for count, _ in enumerate(call):
                    if index % 4 == 0 and count == index % 9:
                        call.cancel()
                return "OK"
            except grpc.RpcError as error:
                return error.code().name

        with concurrent.futures.ThreadPoolExecutor(16) as pool:
            ends = list(pool.map(one, range(160)))
        self.assertLessEqual(set(ends), {"OK", "CANCELLED", "DEADLINE_EXCEEDED"})
        self.assertGreaterEqual(ends.count("OK"), 40)  # those with neither deadline nor cancel
        server.wait_until_idle()
        finished = server.metric("recurve_request_finished_total")
        self.assertGreater(finished, 0)
        self.assertLessEqual(finished, 160)
        self.assertEqual(server.stop(), 0)

    def test_sigterm_under_load_loses_no_stream(self):
        server = self.start("--slots=4", "--drain_budget=500ms", "--max_queued_requests=64", *SLOW)

        def one(index: int) -> str:
            try:
                messages = list(server.stub.Generate(request(PROMPT, max_tokens=900, stop=LONG)))
                return pb.FinishReason.Name(messages[-1].final.finish_reason)
            except grpc.RpcError as error:
                return f"{error.code().name}: {error.details()}"

        def admitted() -> bool:
            load = server.load()
            finished = server.metric("recurve_request_finished_total")
            return load.requests_running + load.requests_waiting + finished >= 12

        with concurrent.futures.ThreadPoolExecutor(12) as pool:
            running = [pool.submit(one, index) for index in range(12)]
            # A stream that arrives after the signal is refused, which is not what this test is about.
            server.wait_until(admitted, "the streams did not arrive")
            code = server.stop(signal.SIGTERM)
            ends = [future.result() for future in running]
        self.assertEqual(code, 0, server.scratch_log)
        self.assertLessEqual(set(ends), {"FINISH_REASON_DRAINED", "FINISH_REASON_LENGTH"})
        self.assertIn("FINISH_REASON_DRAINED", ends)

    def test_a_draining_server_refuses_and_finishes(self):
        server = self.start("--drain_budget=60s")
        call = server.stub.Generate(request(PROMPT, max_tokens=600, stop=LONG))
        next(call)
        server.process.send_signal(signal.SIGTERM)
        server.wait_until(lambda: not server.healthy(), "health did not change")
        rest = Collected(call)
        self.assertEqual(rest.final.finish_reason, pb.FINISH_REASON_LENGTH)
        self.assertEqual(server.process.wait(timeout=120), 0)  # a second signal would end it at once

    def test_a_further_signal_at_once_does_not_cut_the_drain(self):
        server = self.start("--drain_budget=60s", "--log_format=json", *SLOW)
        call = server.stub.Generate(request(PROMPT, max_tokens=100, stop=LONG))
        next(call)
        server.process.send_signal(signal.SIGTERM)
        server.process.send_signal(signal.SIGINT)  # another, which does not merge with the first
        rest = Collected(call)
        self.assertEqual(rest.final.finish_reason, pb.FINISH_REASON_LENGTH)
        self.assertEqual(server.process.wait(timeout=120), 0)
        signals = [line for line in json_lines(server.log()) if line["event"] == "signal"]
        self.assertEqual({line["name"] for line in signals}, {"SIGTERM", "SIGINT"})
        self.assertEqual([line["action"] for line in signals], ["drain", "ignore"])

    def test_a_later_signal_ends_at_once(self):
        server = self.start("--drain_budget=60s", *SLOW)
        call = server.stub.Generate(request(PROMPT, max_tokens=900, stop=LONG))
        next(call)

        def ends() -> bool:
            server.process.send_signal(signal.SIGTERM)
            return server.process.poll() is not None

        server.wait_until(ends, "it went on draining")
        self.assertEqual(server.process.returncode, 128 + signal.SIGTERM)
        self.assertIn("action=end_at_once", server.log())

    def test_sighup_drains_unless_it_was_ignored_at_start(self):
        before = signal.getsignal(signal.SIGHUP)
        try:
            signal.signal(signal.SIGHUP, signal.SIG_DFL)  # which a child inherits
            self.assertEqual(self.start().stop(signal.SIGHUP), 0)
            self.assertIn("name=SIGHUP action=drain", self.server.scratch_log)
            signal.signal(signal.SIGHUP, signal.SIG_IGN)
            server = self.start()
            server.process.send_signal(signal.SIGHUP)
            self.assertEqual(server.stop(), 0)
            self.assertNotIn("SIGHUP", server.scratch_log)
        finally:
            signal.signal(signal.SIGHUP, before)

    def test_whatever_clients_send_the_log_is_json_and_short(self):
        server = self.start("--log_format=json")
        host, port = server.address.split(":")

        def send(data: bytes) -> None:
            with socket.create_connection((host, int(port))) as connection:
                connection.sendall(data)
                connection.shutdown(socket.SHUT_WR)
                with contextlib.suppress(ConnectionError):
                    while connection.recv(1 << 16):
                        pass

        preface = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
        generate = server.channel.unary_stream("/recurve.v1.GenerationService/Generate")
        began = time.monotonic()
        for _ in range(100):
            send(b"\xff\n{garbage}\n" * 20)
            send(preface + b"\x00\x00\x04\x08\x00\x00\x00\x00\x00\x00\x00\x00\x00")  # window update of 0
            send(preface + b"\xff" * 200)
            for message in (b"\x0a\x01\xff", b"\xff\xff"):  # text that is not UTF-8; no message
                with self.assertRaises(grpc.RpcError):
                    list(generate(message))
        self.assertEqual(server.stop(), 0)
        lines = json_lines(server.scratch_log)  # each is JSON
        protobuf = [line for line in lines if line.get("library") == "protobuf"]
        self.assertGreater(len(protobuf), 0)
        self.assertIn("invalid UTF-8", protobuf[0]["message"])
        told = sum(line["event"] == "library" for line in protobuf)
        most = 11 + time.monotonic() - began  # a burst of ten, and one a second
        self.assertLessEqual(told, most)
        missed = sum(line.get("suppressed", line.get("lines", 0)) for line in protobuf)
        self.assertGreaterEqual(told + missed, 100)
        self.assertLessEqual(sum(line["event"] == "library" for line in lines), 2 * most)

    def test_who_waits_too_long_is_told_so(self):
        server = self.start("--slots=1", "--retry_pushback=70ms")
        running = server.stub.Generate(request(PROMPT, max_tokens=900, stop=LONG))
        next(running)
        with self.assertRaises(grpc.RpcError) as refused:
            list(server.stub.Generate(request(PROMPT, max_tokens=5, queue_timeout_ms=50)))
        self.assertEqual(refused.exception.code(), grpc.StatusCode.RESOURCE_EXHAUSTED)
        self.assertIn("queue_timeout", refused.exception.details())
        running.cancel()
        server.wait_until_idle()
        self.assertEqual(
            server.metric("recurve_request_finished_total", reason="queue_timeout"), 1)

    def test_a_flood_of_one_tenant_does_not_starve_another(self):
        server = self.start("--slots=1", "--max_queued_requests=300")
        done = []

        def one(tenant: str) -> None:
            list(server.stub.Generate(request(PROMPT, max_tokens=100, stop=LONG),
                                      metadata=[("x-recurve-tenant", tenant)]))
            done.append(tenant)

        with concurrent.futures.ThreadPoolExecutor(41) as pool:
            flood = [pool.submit(one, "flood") for _ in range(40)]
            server.wait_until(lambda: server.load().requests_waiting >= 39, "no flood")
            pool.submit(one, "single").result()
            # A turn earns 512 tokens, and a request takes some 112: five of the flood go first,
            # and a few more that ended while the call was on its way.
            self.assertLess(done.index("single"), 15)
            for future in flood:
                future.result()

    def test_a_higher_priority_passes_those_that_wait(self):
        server = self.start("--slots=1", "--max_preemptions=0")
        order = []

        def one(priority: int) -> None:
            list(server.stub.Generate(
                request(PROMPT, max_tokens=100, stop=LONG, priority=priority)))
            order.append(priority)

        with concurrent.futures.ThreadPoolExecutor(4) as pool:
            running = [pool.submit(one, pb.PRIORITY_NORMAL)]
            server.wait_until(lambda: server.load().requests_running == 1, "nothing runs")
            for waiting, priority in enumerate([pb.PRIORITY_LOW, pb.PRIORITY_NORMAL,
                                                pb.PRIORITY_HIGH]):
                running.append(pool.submit(one, priority))
                server.wait_until(
                    lambda n=waiting + 1: server.load().requests_waiting == n or order,
                    "nothing waits")
            for future in running:
                future.result()
        self.assertEqual(order[-1], pb.PRIORITY_LOW)

    def test_overload_lowers_the_depth_of_those_that_allow_it(self):
        server = self.start("--slots=2", "--adaptive_depth", "--queue_time_goal=1ms", *SLOW)
        with concurrent.futures.ThreadPoolExecutor(2) as pool:
            def run(recursion: dict):
                return pool.submit(lambda: Collected(server.stub.Generate(
                    request(PROMPT, max_tokens=300, stop=LONG, recursion=recursion,
                            output={"prompt_depths": True}))))

            allows = run({"adaptive_min": 1, "router_threshold": 0.0})
            keeps = run({"router_threshold": 0.0})
            server.wait_until(lambda: server.load().requests_running == 2, "they do not run")
            waiting = server.stub.Generate(request(PROMPT, max_tokens=1))
            allowed, kept = allows.result(), keeps.result()
        list(waiting)
        # Every token would take all recursions, and the third request waits until one has ended.
        self.assertIn(1, allowed.depths)
        self.assertEqual(allowed.final.lowered_depth.lowest_cap, 1)
        # The first token's depth is that of the prompt's last row.
        rows = [*allowed.final.prompt_token_depths, *allowed.depths[1:]]
        lowered = sum(depth < 3 for depth in rows)
        self.assertEqual(allowed.final.lowered_depth.tokens, lowered)
        self.assertEqual(set(kept.depths), {3})
        self.assertFalse(kept.final.HasField("lowered_depth"))
        self.assertEqual(server.metric("recurve_depth_lowered_tokens_total"), lowered)
        self.assertGreater(server.metric("recurve_depth_given_up_recursions_total"), lowered)
        server.wait_until_idle()

    def test_a_budget_holds_pages_down(self):
        def most_entries(kv: dict) -> tuple:
            call = server.stub.Generate(request(PROMPT, max_tokens=700, stop=LONG, kv=kv))
            most = 0
            for _ in call:
                most = max(most, sum(group.entries for group in server.load().groups))
            return most

        server = self.start("--slots=1", "--evict_every=16", "--kv_sinks=2", "--kv_recent=8")
        budget = "entry:64,1:64,2:32,3:32,exit:64"
        free = most_entries({})
        for policy in ("window", "attention", "router"):
            held = most_entries({"eviction": policy, "budget": budget})
            self.assertLessEqual(held, 64 * 3 + 32 * 2 + 5 * 16)
            self.assertGreater(free, 4 * held)
            self.assertEqual(server.metric("recurve_kv_entries"), 0)
        self.assertGreater(server.metric("recurve_kv_evicted_entries_total", group="3"), 0)
        with self.assertRaises(grpc.RpcError) as refused:
            list(server.stub.Generate(request(PROMPT, kv={"eviction": "window"})))
        self.assertEqual(refused.exception.code(), grpc.StatusCode.INVALID_ARGUMENT)
        self.assertIn("kv_budget", refused.exception.details())

    def test_a_stream_goes_on_beyond_the_context_in_constant_memory(self):
        server = self.start("--slots=1", "--evict_every=16", "--kv_sinks=2", "--kv_recent=8")
        budget = ",".join(f"{group}:32" for group in ("entry", "1", "2", "3", "exit"))
        message = request(PROMPT, max_tokens=50 * 32, stop=LONG,
                          kv={"eviction": "router", "budget": budget})
        pages = []
        for answer in server.stub.Generate(message):
            if answer.usage.generated_tokens > 50:
                pages.append(sum(group.pages for group in server.load().groups))
        pages = [held for held in pages if held > 0]  # the rest was seen after the last token
        result = Collected(server.stub.Generate(message))
        self.assertEqual(result.final.finish_reason, pb.FINISH_REASON_LENGTH)
        self.assertEqual(len(result.tokens), 50 * 32)
        context = server.stub.GetModelInfo(pb.GetModelInfoRequest()).max_context
        self.assertEqual(result.final.beyond_context,
                         result.usage.prompt_tokens + 50 * 32 - context)
        # 32 entries and 16 more until some go: the same from the first hundred tokens to the last.
        self.assertLessEqual(max(pages), min(pages) + 5)
        server.wait_until_idle()

    def test_tight_memory_changes_no_text(self):
        roomy = Server("--slots=6")
        try:
            expected = [Collected(roomy.stub.Generate(self.memory_request(i))).ids for i in range(6)]
        finally:
            roomy.kill()
        server = self.start("--slots=6", "--kv_pages=160")
        with concurrent.futures.ThreadPoolExecutor(6) as pool:
            found = list(pool.map(
                lambda i: Collected(server.stub.Generate(self.memory_request(i))).ids, range(6)))
        self.assertEqual(found, expected)
        server.wait_until_idle()
        self.assertGreater(server.metric("recurve_preemptions_total"), 0)

    @staticmethod
    def memory_request(index: int):
        return request(PROMPT * (index + 1), max_tokens=300, stop=LONG,
                       sampling={"temperature": 0.9, "seed": index})


if __name__ == "__main__":
    unittest.main()
