# SPDX-License-Identifier: Apache-2.0
"""Every limit of deploy/envoy/envoy.yaml holds, and does not once it is taken out of a copy."""

import contextlib
import pathlib
import tempfile
import unittest
from collections.abc import Callable
from typing import NamedTuple

import grpc

from tests.deploy.envoy_harness import (CANCEL, END_HEADERS, END_STREAM, HEADERS, RST_STREAM, SECONDS, Authority,
                                        Configuration, Front, call_headers, fill, frame, message, wait_until)
from tests.e2e.harness import Server, pb, request

SOON = 2  # seconds in which what a broken copy lets pass would have been stopped by the limit
CALLS = 24  # so many go to one of two servers alone, where Envoy draws one for each, once in some ten million times
LONG = {"ignore_eos": True}


def nothing(_: Configuration) -> None:
    pass


class Limit(NamedTuple):
    name: str
    holds: Callable[["Case"], bool]
    take_out: Callable[[Configuration], object]
    tighten: Callable[[Configuration], object] = nothing  # so that few calls or little time suffice


class Case(NamedTuple):
    """A front to try, and how long to wait for what it is to stop."""
    front: Front
    servers: list[Server]
    seconds: float

    def reached_servers(self) -> int:
        return self.front.stat("cluster.recurve.upstream_rq_total")


def refuses_connection(case: Case) -> bool:
    try:
        with case.front.raw() as one_more:
            return one_more.is_closed(case.seconds)
    except OSError:
        return True


def connections(case: Case) -> bool:
    with contextlib.ExitStack() as stack:
        for _ in range(3):
            stack.enter_context(case.front.raw())
        wait_until(lambda: case.front.stat("http.recurve.downstream_cx_active") == 3, "3 connections")
        return refuses_connection(case)


def new_connections(case: Case) -> bool:
    for _ in range(3):
        case.front.raw().socket.close()
    return refuses_connection(case)


def heap(case: Case) -> bool:
    wait_until(lambda: case.front.stat("overload.envoy.resource_monitors.fixed_heap.pressure") >= 100, "no pressure")
    with case.front.stub() as stub:
        with contextlib.suppress(grpc.RpcError):
            stub.GetModelInfo(pb.GetModelInfoRequest(), timeout=SECONDS)
            return False
    return case.front.stat("http.recurve.downstream_rq_overload_close") > 0


def handshake(case: Case) -> bool:
    with case.front.raw(handshake=False) as client:
        return client.is_closed(case.seconds)


def streams(case: Case) -> bool:
    with case.front.raw() as client:
        for stream in range(1, 11, 2):
            client.call(stream)
        return client.read(lambda: client.ended(9), case.seconds)


def headers_that_never_end(case: Case) -> bool:
    with case.front.raw() as client:
        client.send(frame(HEADERS, 0, 1, call_headers()))
        return client.read(lambda: client.ended(1), case.seconds, acknowledge=False)


def message_that_never_comes(case: Case) -> bool:
    with case.front.raw() as client:
        client.call(1)
        return client.read(lambda: client.ended(1), case.seconds)


def connection_without_calls(case: Case) -> bool:
    with case.front.raw() as client:
        client.call(1, proto=pb.GetModelInfoRequest(), method="/recurve.v1.GenerationService/GetModelInfo")
        client.read(lambda: client.ended(1))
        return client.is_closed(case.seconds)


def client_that_is_gone(case: Case) -> bool:
    with case.front.raw() as client:
        return client.is_closed(case.seconds, acknowledge=False)


def stopped_before_servers(case: Case, *headers: tuple[str, str]) -> bool:
    with case.front.raw() as client:
        client.send(frame(HEADERS, END_HEADERS | END_STREAM, 1, call_headers(*headers)))
        client.read(lambda: client.ended(1))
    return case.reached_servers() == 0


def large_headers(case: Case) -> bool:
    return stopped_before_servers(case, *[(f"large-{i}", "x" * 1000) for i in range(12)])


def many_headers(case: Case) -> bool:
    return stopped_before_servers(case, *[(f"small-{i}", "x") for i in range(80)])


def rapid_resets(case: Case) -> bool:
    with case.front.raw() as client:
        client.send(resets(200))
        return client.is_closed(case.seconds)


def resets(count: int) -> bytes:
    """Calls that are complete, each cancelled at once."""
    body = message(request(max_tokens=1))
    return b"".join(frame(HEADERS, END_HEADERS, stream, call_headers()) + frame(0, END_STREAM, stream, body)
                    + frame(RST_STREAM, 0, stream, CANCEL) for stream in range(1, 2 * count, 2))


def calls_at_once(case: Case) -> bool:
    with case.front.stub() as stub:  # until there is a connection to either server, for which calls need not wait
        wait_until(lambda: stub.GetModelInfo(pb.GetModelInfoRequest(), timeout=SECONDS)
                   and all(server.metric("recurve_requests_total") > 0 for server in case.servers), "not connected")
    before = case.reached_servers()
    with case.front.raw() as client:
        client.send(resets(40))
        client.call(101, proto=pb.GetModelInfoRequest(), method="/recurve.v1.GenerationService/GetModelInfo")
        client.read(lambda: client.ended(101))
    return case.reached_servers() - before < 20


def refused_with_pushback(stub, code: grpc.StatusCode) -> bool:
    try:
        stub.GetModelInfo(pb.GetModelInfoRequest(), timeout=SECONDS)
    except grpc.RpcError as error:
        return error.code() == code and ("grpc-retry-pushback-ms", "1000") in error.trailing_metadata()
    return False


def calls_of_a_connection(case: Case) -> bool:
    with case.front.stub() as stub:
        for _ in range(3):
            stub.GetModelInfo(pb.GetModelInfoRequest(), timeout=SECONDS)
        if not refused_with_pushback(stub, grpc.StatusCode.RESOURCE_EXHAUSTED):
            return False
    with case.front.stub() as other:  # has its own
        other.GetModelInfo(pb.GetModelInfoRequest(), timeout=SECONDS)
    return True


def calls_to_servers(case: Case) -> bool:
    with case.front.stub() as stub:
        running = stub.Generate(request(max_tokens=900, stop=LONG))
        next(running)
        refused = refused_with_pushback(stub, grpc.StatusCode.UNAVAILABLE)
        running.cancel()
    return refused


def tenant_of_the_client(case: Case) -> bool:
    with case.front.stub() as stub:
        stub.Complete(request(max_tokens=1), timeout=SECONDS, metadata=[("x-recurve-tenant", "somebody")])
    wait_until(lambda: any("method=Complete" in server.log() for server in case.servers), "not in the log")
    return not any("tenant=somebody" in server.log() for server in case.servers)


def binary_metadata(case: Case) -> bool:
    """The servers' gRPC ends a call, or the connection that others use too, for a value that is no base64."""
    with case.front.raw() as client:
        client.call(1, ("some-bin", "*" * 5), proto=pb.GetModelInfoRequest(),
                    method="/recurve.v1.GenerationService/GetModelInfo")
        client.read(lambda: client.ended(1))
    with contextlib.suppress(AssertionError):
        wait_until(lambda: any(server.metric("recurve_requests_total", code="OK") for server in case.servers),
                   "no call has ended well", case.seconds)
        return True
    return False


def headers_of_envoy(case: Case) -> bool:
    with case.front.stub() as stub:
        with contextlib.suppress(grpc.RpcError):
            stub.Complete(request(max_tokens=100, stop=LONG), timeout=SECONDS,
                          metadata=[("x-envoy-upstream-rq-timeout-ms", "20")])
            return True
    return False


def refusals_of_one_server(case: Case) -> bool:
    """Both servers have one slot and one place in the queue; one of them is full."""
    calls = fill(case.servers[0])
    with case.front.stub() as front:
        all_accepted = all(accepted(front) for _ in range(CALLS))
    for call in calls:
        call.cancel()
    case.servers[0].wait_until_idle()
    return all_accepted


def accepted(stub) -> bool:
    with contextlib.suppress(grpc.RpcError):
        stub.Complete(request(max_tokens=1), timeout=SECONDS)
        return True
    return False


def long_messages(case: Case) -> bool:
    """One server is gone, and health does not tell."""
    case.servers[0].kill()
    with case.front.stub() as stub, contextlib.suppress(grpc.RpcError):
        for _ in range(CALLS):
            stub.Tokenize(pb.TokenizeRequest(text="x" * 200000), timeout=SECONDS)
        return True
    return False


def short_deadlines(case: Case) -> bool:
    """Nobody can have servers put aside by calls that have no time."""
    with case.front.raw() as client:
        for stream in range(1, 61, 2):
            client.call(stream, ("grpc-timeout", "1n"), proto=request(max_tokens=5))
            client.read(lambda stream=stream: client.ended(stream))
    return case.front.stat("cluster.recurve.outlier_detection.ejections_enforced_total") == 0


def prefix_header(case: Case) -> bool:
    with case.front.stub() as stub:
        for _ in range(CALLS):
            stub.Complete(request(max_tokens=1), timeout=SECONDS, metadata=[("x-recurve-prefix", "some")])
    return min(server.metric("recurve_requests_total", method="Complete") for server in case.servers) == 0


def watch(case: Case) -> bool:
    with case.front.raw() as client:
        client.call(1, proto=pb.GetModelInfoRequest(), method="/grpc.health.v1.Health/Watch")
        return client.read(lambda: client.ended(1), case.seconds)


def set_to(holder: dict, **values) -> None:
    for name in values:
        assert name in holder, f"not in the configuration: {name}"
    holder.update(values)


def bucket(tokens: int) -> dict:
    return {"max_tokens": tokens, "tokens_per_fill": tokens, "fill_interval": "3600s"}


def thresholds(configuration: Configuration) -> dict:
    return configuration.cluster["circuit_breakers"]["thresholds"][0]


LIMITS = [
    Limit("connections at once", connections, lambda c: c.monitors.pop(0),
          lambda c: set_to(c.monitors[0]["typed_config"], max_active_downstream_connections=3)),
    Limit("new connections a second", new_connections, lambda c: c.listener.pop("listener_filters"),
          lambda c: set_to(c.listener["listener_filters"][0]["typed_config"], token_bucket=bucket(3))),
    Limit("memory", heap, lambda c: c.data["overload_manager"].pop("actions"),
          lambda c: set_to(c.monitors[1]["typed_config"], max_heap_size_bytes=1)),
    Limit("time of a handshake", handshake, lambda c: c.chain.pop("transport_socket_connect_timeout"),
          lambda c: set_to(c.chain, transport_socket_connect_timeout="0.5s")),
    Limit("streams of a connection", streams, lambda c: c.http2.pop("max_concurrent_streams"),
          lambda c: set_to(c.http2, max_concurrent_streams=4)),
    Limit("time of headers", headers_that_never_end, lambda c: c.manager.pop("request_headers_timeout"),
          lambda c: set_to(c.manager, request_headers_timeout="0.5s")),
    Limit("time of a message", message_that_never_comes, lambda c: c.manager.pop("request_timeout"),
          lambda c: set_to(c.manager, request_timeout="0.5s")),
    Limit("idle streams", message_that_never_comes, lambda c: c.manager.pop("stream_idle_timeout"),
          lambda c: set_to(c.manager, stream_idle_timeout="0.5s")),
    Limit("idle connections", connection_without_calls,
          lambda c: c.manager["common_http_protocol_options"].pop("idle_timeout"),
          lambda c: set_to(c.manager["common_http_protocol_options"], idle_timeout="0.5s")),
    Limit("clients that are gone", client_that_is_gone, lambda c: c.http2.pop("connection_keepalive"),
          lambda c: set_to(c.http2, connection_keepalive={"interval": "0.5s", "timeout": "0.5s"})),
    Limit("bytes of headers", large_headers, lambda c: c.manager.pop("max_request_headers_kb")),
    Limit("number of headers", many_headers,
          lambda c: c.manager["common_http_protocol_options"].pop("max_headers_count")),
    Limit("rapid resets", rapid_resets, lambda c: c.runtime.pop("overload.premature_reset_total_stream_count")),
    Limit("calls of a connection at once", calls_at_once, lambda c: c.runtime.pop("http.max_requests_per_io_cycle")),
    Limit("calls of a connection a second", calls_of_a_connection,
          lambda c: c.manager["http_filters"].remove(c.http_filter("connection_rate")),
          lambda c: set_to(c.http_filter("connection_rate")["typed_config"], token_bucket=bucket(3))),
    Limit("calls to servers at once", calls_to_servers, lambda c: thresholds(c).pop("max_requests"),
          lambda c: set_to(thresholds(c), max_requests=1)),
    Limit("tenants", tenant_of_the_client, lambda c: c.manager.pop("early_header_mutation_extensions")),
    Limit("binary metadata", binary_metadata,
          lambda c: c.manager["early_header_mutation_extensions"][0]["typed_config"]["mutations"].pop(1)),
    Limit("Envoy's own headers", headers_of_envoy, lambda c: c.manager.update(internal_address_config={})),
    Limit("retries", refusals_of_one_server, lambda c: c.host.pop("retry_policy")),
    Limit("bytes that can be tried again", long_messages, lambda c: c.host.pop("request_body_buffer_limit"),
          lambda c: set_to(c.cluster["health_checks"][0], interval="3600s", no_traffic_interval="3600s")),
    Limit("servers put aside", short_deadlines,
          lambda c: c.cluster["outlier_detection"].pop("enforcing_consecutive_5xx")),
    Limit("prefixes together", prefix_header, lambda c: c.host["routes"].pop(0)),
    Limit("health streams", watch, lambda c: c.host["routes"].append(
        {"match": {"prefix": "/grpc.health.v1.Health/"}, "route": {"cluster": "recurve"}})),
]


class EnvoyLimitsTest(unittest.TestCase):
    def setUp(self):
        scratch = tempfile.TemporaryDirectory(prefix="recurve-ca-")
        self.addCleanup(scratch.cleanup)
        self.authority = Authority(pathlib.Path(scratch.name) / "ca")

    def holds(self, limit: Limit, broken: bool) -> bool:
        configuration = Configuration()
        limit.tighten(configuration)
        if broken:
            limit.take_out(configuration)
        servers = [Server("--slots=1", "--max_queued_requests=1", "--threads=1", "--isa=scalar") for _ in range(2)]
        try:
            with Front(configuration, [server.address for server in servers], self.authority) as front:
                wait_until(lambda: front.healthy_servers() == 2, "the servers are not healthy")
                return limit.holds(Case(front, servers, SOON if broken else SECONDS))
        finally:
            for server in servers:
                server.kill()

    def test_limits_hold_and_their_tests_can_fail(self):
        for limit in LIMITS:
            with self.subTest(limit.name):
                self.assertTrue(self.holds(limit, broken=False), "the limit does not hold")
                self.assertFalse(self.holds(limit, broken=True), "the limit holds without its configuration")
