# SPDX-License-Identifier: Apache-2.0
"""The real Envoy with deploy/envoy before a real server: calls, streams and their ends, TLS, metrics and the log."""

import contextlib
import os
import pathlib
import socket
import ssl
import tempfile
import unittest
import urllib.error
import urllib.request

import grpc

from tests.deploy.envoy_harness import SECONDS, Authority, Configuration, Front, check, fill, lay_out, wait_until
from tests.e2e.harness import ROOT, Collected, Server, health_grpc, health_pb, pb, pb_grpc, request

PROMPT = "class Parser:\n    def parse(self):\n"
LONG = {"ignore_eos": True}
SLOW = ("--isa=scalar", "--threads=1")  # so that a long request still runs when the next one comes
VARIANTS = ((), ("mtls",), ("mtls", "crl"), ("upstream-tls",), ("reflection",), ("stock-clients",),
            ("mtls", "upstream-tls", "reflection", "stock-clients"))


class EnvoyTest(unittest.TestCase):
    def setUp(self):
        self.scratch = self.enterContext(tempfile.TemporaryDirectory(prefix="recurve-ca-"))
        self.authority = Authority(pathlib.Path(self.scratch) / "ca")
        self.front = None
        self.server = None

    def start(self, *flags: str, variants: tuple[str, ...] = (), configuration: Configuration | None = None,
              speed: tuple[str, ...] = SLOW) -> Front:
        self.server = Server(*flags, *speed)
        self.addCleanup(self.server.kill)
        self.front = self.enterContext(
            Front(configuration or Configuration(*variants), [self.server.address], self.authority))
        wait_until(lambda: self.front.healthy_servers() == 1, "the server is not healthy")
        return self.front

    def stub(self, **arguments):
        return self.enterContext(self.front.stub(**arguments))

    def wait_for_end(self, reason: str) -> None:
        """One request, no other, has ended, and for this reason."""
        def ended(**labels) -> float:
            return self.server.metric("recurve_request_finished_total", **labels)
        wait_until(lambda: ended() == 1, "it has not ended")
        self.assertEqual(ended(reason=reason), 1)

    def code_of(self, call, *arguments, **named) -> grpc.StatusCode:
        with self.assertRaises(grpc.RpcError) as caught:
            call(*arguments, timeout=SECONDS, **named)
        return caught.exception.code()

    # What the files say.

    def test_envoy_takes_every_variant_without_a_warning(self):
        directory = pathlib.Path(self.scratch)
        lay_out(self.authority, directory)
        for variants in VARIANTS:
            with self.subTest(variants):
                result = check(Configuration(*variants), directory)
                self.assertEqual(result.returncode, 0, result.stderr)
                self.assertEqual(result.stderr.strip(), "")
        broken = Configuration()
        broken.manager["stream_idle_timeouts"] = "1s"
        self.assertNotEqual(check(broken, directory).returncode, 0)

    def test_what_the_guide_names_is_there(self):
        """docs/envoy.md: variants, and statistics of a front that has served."""
        guide = (ROOT / "docs" / "envoy.md").read_text()
        front = self.start()
        self.stub().GetModelInfo(pb.GetModelInfoRequest(), timeout=SECONDS)
        metrics = self.metrics("/stats/prometheus")
        named = {word for word in guide.replace("`", " ").replace("{", " ").split() if word.startswith("envoy_")}
        self.assertGreater(len(named), 10)
        self.assertEqual({name for name in named if name not in metrics}, set())
        self.assertGreater(front.stat("cluster.recurve.upstream_rq_total"), 0)

    # Calls.

    def test_calls_and_streams_are_those_of_the_server(self):
        self.start()
        stub = self.stub()
        message = request(PROMPT, max_tokens=30, stop=LONG)
        direct = Collected(self.server.stub.Generate(message))
        through = Collected(stub.Generate(message))
        self.assertEqual((through.text, through.ids, through.depths), (direct.text, direct.ids, direct.depths))
        self.assertEqual(stub.Complete(message).text, direct.text)
        self.assertEqual(stub.GetModelInfo(pb.GetModelInfoRequest()),
                         self.server.stub.GetModelInfo(pb.GetModelInfoRequest()))
        ids = stub.Tokenize(pb.TokenizeRequest(text=PROMPT)).ids
        self.assertEqual(stub.Detokenize(pb.DetokenizeRequest(ids=ids)).text, PROMPT)

    def test_tokens_come_while_the_stream_goes_on(self):
        self.start("--slots=1")
        call = self.stub().Generate(request(PROMPT, max_tokens=400, stop=LONG))
        for _ in range(3):
            self.assertEqual(len(next(call).tokens), 1)
            self.assertEqual(self.server.load().requests_running, 1)
        call.cancel()

    def test_a_cancel_reaches_the_server(self):
        self.start("--slots=1")
        call = self.stub().Generate(request(PROMPT, max_tokens=900, stop=LONG))
        next(call)
        call.cancel()
        self.server.wait_until_idle()
        self.wait_for_end("cancelled")

    def test_a_client_that_vanishes_frees_its_slot(self):
        self.start("--slots=1")
        with self.front.raw() as client:
            client.call(1, proto=request(PROMPT, max_tokens=900, stop=LONG))
            wait_until(lambda: self.server.load().requests_running == 1, "it does not run")
        self.server.wait_until_idle()
        self.wait_for_end("cancelled")

    def test_a_deadline_is_the_servers_to_keep(self):
        self.start("--slots=1")
        with self.front.raw() as client:  # which would wait for ever
            client.call(1, ("grpc-timeout", "200m"), proto=request(PROMPT, max_tokens=900, stop=LONG))
            self.assertTrue(client.read(lambda: client.ended(1)))
        self.server.wait_until_idle()
        self.wait_for_end("deadline_exceeded")
        with self.assertRaises(grpc.RpcError) as caught:
            list(self.stub().Generate(request(PROMPT, max_tokens=900, stop=LONG), timeout=0.3))
        self.assertEqual(caught.exception.code(), grpc.StatusCode.DEADLINE_EXCEEDED)
        self.server.wait_until_idle()

    def test_a_stream_has_no_time_limit(self):
        """Envoy's own is 15 s for a call whose route says nothing."""
        for route in Configuration().host["routes"]:
            self.assertEqual(route["route"]["timeout"], "0s")

    def test_a_slow_reader_is_noticed_by_the_server(self):
        self.start("--slots=2", "--stream_stall_timeout=1s", "--stream_buffer_tokens=64", speed=())
        narrow = {"grpc__http2__lookahead_bytes": 65536, "grpc__http2__bdp_probe": 0}
        message = request(PROMPT, max_tokens=900, stop=LONG, output={"logprobs": True, "top_logprobs": 20})
        call = self.stub(**narrow).Generate(message)
        next(call)
        wait_until(lambda: self.server.metric("recurve_egress_stalls_total") == 1, "it was not cancelled")
        self.server.wait_until_idle()

    def test_a_message_that_is_too_large_is_refused_once(self):
        self.start("--max_message_bytes=65536")
        with self.assertRaises(grpc.RpcError) as caught:
            self.stub().Complete(request("x" * 100000), timeout=SECONDS)
        self.assertEqual(caught.exception.code(), grpc.StatusCode.RESOURCE_EXHAUSTED)
        self.assertNotIn("grpc-retry-pushback-ms", dict(caught.exception.trailing_metadata()))
        self.assertEqual(self.front.stat("cluster.recurve.upstream_rq_retry"), 0)

    def test_a_refusal_that_no_server_spares_comes_with_its_pushback(self):
        self.start("--slots=1", "--max_queued_requests=1", "--retry_pushback=123ms")
        calls = fill(self.server)
        with self.assertRaises(grpc.RpcError) as caught:
            list(self.stub().Generate(request(PROMPT, max_tokens=10), timeout=SECONDS))
        self.assertEqual(caught.exception.code(), grpc.StatusCode.RESOURCE_EXHAUSTED)
        self.assertIn("queue", caught.exception.details())
        self.assertIn(("grpc-retry-pushback-ms", "123"), list(caught.exception.trailing_metadata()))
        for call in calls:
            call.cancel()
        self.server.wait_until_idle()

    def test_identities_pass_and_appear_in_both_logs(self):
        self.start()
        trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
        for name in ("example-1", None):
            metadata = [("traceparent", trace)] + ([("x-request-id", name)] if name else [])
            _, call = self.stub().Complete.with_call(
                request("the secret of the prompt", max_tokens=1), timeout=SECONDS, metadata=metadata)
            echoed = dict(call.initial_metadata())["x-request-id"]
            self.assertIn(echoed, [name] if name else [echoed])
            wait_until(lambda echoed=echoed: any(
                line["request_id"] == echoed and line["traceparent"] == trace for line in self.front.access_log()),
                "not in Envoy's log")
            wait_until(lambda echoed=echoed: echoed in self.server.log(), "not in the server's log")
        self.assertNotIn("secret", self.front.access_path.read_text())

    def test_health_is_open_and_reflection_is_not(self):
        for variants in ((), ("reflection",)):
            self.start(variants=variants)
            channel = self.enterContext(self.front.channel())
            answer = health_grpc.HealthStub(channel).Check(health_pb.HealthCheckRequest(), timeout=SECONDS)
            self.assertEqual(answer.status, health_pb.HealthCheckResponse.SERVING)
            # list_services, without a package of its own: field 7 of the request, an empty string.
            reflect = channel.stream_stream("/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo")
            if variants:
                self.assertIn(b"recurve.v1.GenerationService", next(reflect(iter([b"\x3a\x00"]), timeout=SECONDS)))
            else:
                ask = lambda timeout, call=reflect: next(call(iter([b"\x3a\x00"]), timeout=timeout))  # noqa: E731
                self.assertEqual(self.code_of(ask), grpc.StatusCode.UNIMPLEMENTED)
            other = channel.unary_unary("/recurve.v2.Other/Call")
            self.assertEqual(self.code_of(other, b""), grpc.StatusCode.UNIMPLEMENTED)

    def test_stock_clients_are_let_in_where_that_is_asked_for(self):
        for variants in ((), ("stock-clients",)):
            self.start(variants=variants)
            channel = self.enterContext(self.front.channel())
            live = channel.unary_unary("/inference.GRPCInferenceService/ServerLive")
            loads = channel.unary_unary("/vllm.grpc.engine.VllmEngine/GetLoads")
            if variants:
                self.assertEqual(live(b"", timeout=SECONDS), b"\x08\x01")  # live: true
                self.assertIn(b"0.1", loads(b"", timeout=SECONDS))  # the version
            else:
                for method in (live, loads):
                    self.assertEqual(self.code_of(method, b""), grpc.StatusCode.UNIMPLEMENTED)

    # TLS.

    def test_plain_text_is_refused(self):
        self.start()
        with grpc.insecure_channel(f"127.0.0.1:{self.front.port}") as channel:
            stub = pb_grpc.GenerationServiceStub(channel)
            self.assertEqual(self.code_of(stub.GetModelInfo, pb.GetModelInfoRequest()), grpc.StatusCode.UNAVAILABLE)
        self.assertEqual(self.front.stat("cluster.recurve.upstream_rq_total"), 0)

    def test_http_1_is_refused(self):
        self.start()
        context = ssl.create_default_context(cafile=str(self.authority.certificate))
        with socket.create_connection(("127.0.0.1", self.front.port), timeout=SECONDS) as plain:
            with context.wrap_socket(plain, server_hostname="localhost") as client:
                client.sendall(b"GET /recurve.v1.GenerationService/GetLoad HTTP/1.1\r\nHost: localhost\r\n\r\n")
                received = b""
                with contextlib.suppress(OSError):
                    while more := client.recv(4096):
                        received += more
        self.assertNotIn(b"HTTP/1.1", received)
        self.assertEqual(self.front.stat("cluster.recurve.upstream_rq_total"), 0)

    def test_only_clients_with_a_certificate_come_in_and_it_names_their_tenant(self):
        self.start(variants=("mtls",))
        stranger = Authority(pathlib.Path(self.scratch) / "other").sign("mallory", "DNS:alice")
        for client in (None, stranger):
            code = self.code_of(self.stub(client=client).GetModelInfo, pb.GetModelInfoRequest())
            self.assertEqual(code, grpc.StatusCode.UNAVAILABLE)
        self.assertEqual(self.front.stat("cluster.recurve.upstream_rq_total"), 0)
        for names in ("URI:spiffe://example.org/carol", "DNS:carol,DNS:bob"):  # none, and two
            client = self.authority.sign("carol", names)
            self.assertEqual(self.code_of(self.stub(client=client).GetModelInfo, pb.GetModelInfoRequest()),
                             grpc.StatusCode.PERMISSION_DENIED)
        self.assertEqual(self.front.stat("cluster.recurve.upstream_rq_total"), 0)
        alice = self.authority.sign("alice", "DNS:alice")
        self.stub(client=alice).Complete(request(max_tokens=1), timeout=SECONDS,
                                         metadata=[("x-recurve-tenant", "bob")])
        wait_until(lambda: "tenant=alice" in self.server.log(), "not in the log")
        self.assertNotIn("bob", self.server.log())

    def test_a_certificate_that_is_revoked_is_refused_from_then_on(self):
        self.start(variants=("mtls", "crl"))
        alice, bob = (self.authority.sign(name, f"DNS:{name}") for name in ("alice", "bob"))

        def is_let_in(client) -> bool:
            with self.front.stub(client=client) as stub:
                try:
                    stub.GetModelInfo(pb.GetModelInfoRequest(), timeout=SECONDS)
                except grpc.RpcError as error:
                    self.assertEqual(error.code(), grpc.StatusCode.UNAVAILABLE)
                    return False
                return True
        self.assertTrue(is_let_in(alice))
        os.replace(self.authority.revocations("alice"), self.front.directory / "client_ca" / "ca.crl")
        wait_until(lambda: not is_let_in(alice), "a revoked certificate is taken")
        self.assertTrue(is_let_in(bob))

    def test_a_tenant_has_a_rate_over_all_its_connections(self):
        configuration = Configuration("mtls")
        limits = configuration.http_filter("tenant_rate")["typed_config"]["descriptors"][0]
        limits["token_bucket"] = {"max_tokens": 3, "tokens_per_fill": 3, "fill_interval": "3600s"}
        self.start(configuration=configuration)
        alice, bob = (self.authority.sign(name, f"DNS:{name}") for name in ("alice", "bob"))
        for _ in range(3):
            self.stub(client=alice).GetModelInfo(pb.GetModelInfoRequest(), timeout=SECONDS)
        with self.assertRaises(grpc.RpcError) as caught:
            self.stub(client=alice).GetModelInfo(pb.GetModelInfoRequest(), timeout=SECONDS)
        self.assertEqual(caught.exception.code(), grpc.StatusCode.RESOURCE_EXHAUSTED)
        self.assertIn(("grpc-retry-pushback-ms", "1000"), list(caught.exception.trailing_metadata()))
        self.stub(client=bob).GetModelInfo(pb.GetModelInfoRequest(), timeout=SECONDS)

    def test_a_server_with_tls_must_show_the_right_certificate(self):
        """Another front stands for such a server."""
        inner = self.start()
        others = Authority(pathlib.Path(self.scratch) / "others")
        for authority, healthy in ((self.authority, 1), (others, 0)):
            with Front(Configuration("upstream-tls"), [f"127.0.0.1:{inner.port}"], authority) as outer:
                verdict = "success" if healthy else "failure"
                checked = f"cluster.recurve.health_check.{verdict}"
                wait_until(lambda outer=outer, checked=checked: outer.stat(checked) > 0, f"no {verdict} of a check")
                self.assertEqual(outer.healthy_servers(), healthy)
                with outer.stub() as stub:
                    if healthy:
                        stub.GetModelInfo(pb.GetModelInfoRequest(), timeout=SECONDS)
                    else:
                        self.assertEqual(self.code_of(stub.GetModelInfo, pb.GetModelInfoRequest()),
                                         grpc.StatusCode.UNAVAILABLE)

    def test_a_new_certificate_is_used_without_a_restart(self):
        self.start()
        stub = self.stub()
        self.assertNotIn("renewed", self.names())
        for path in self.authority.sign("renewed", "DNS:localhost,DNS:renewed,IP:127.0.0.1"):
            os.replace(path, self.front.directory / "tls" / f"tls{path.suffix}")
        wait_until(lambda: "renewed" in self.names(), "the old certificate is shown")
        stub.GetModelInfo(pb.GetModelInfoRequest(), timeout=SECONDS)

    def names(self) -> set[str]:
        with self.front.raw() as client:
            shown = client.socket.getpeercert()["subjectAltName"]
        return {name for kind, name in shown if kind == "DNS"}

    # Around it.

    def metrics(self, path: str, method: str = "GET") -> str:
        asked = urllib.request.Request(f"http://127.0.0.1:{self.front.metrics_port}{path}", method=method)
        with urllib.request.urlopen(asked, timeout=30) as answer:
            return answer.read().decode()

    def test_the_metrics_port_has_metrics_and_readiness_alone(self):
        front = self.start()
        self.assertEqual(self.metrics("/ready").strip(), "LIVE")
        self.assertIn("envoy_server_live", self.metrics("/stats/prometheus"))
        for path, method in (("/", "GET"), ("/config_dump", "GET"), ("/quitquitquit", "POST"), ("/ready", "POST")):
            with self.assertRaises(urllib.error.HTTPError) as caught:
                self.metrics(path, method)
            self.assertEqual(caught.exception.code, 404)
        admin = Configuration().data["admin"]["address"]["socket_address"]["address"]
        self.assertEqual(admin, "127.0.0.1")
        self.assertIsNone(front.process.poll())

    def test_a_server_that_is_gone_is_unavailable_at_once(self):
        self.start()
        stub = self.stub()
        stub.GetModelInfo(pb.GetModelInfoRequest(), timeout=SECONDS)
        self.server.kill()
        for _ in range(3):
            self.assertEqual(self.code_of(stub.GetModelInfo, pb.GetModelInfoRequest()), grpc.StatusCode.UNAVAILABLE)
