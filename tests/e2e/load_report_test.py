# SPDX-License-Identifier: Apache-2.0
"""The load report in the trailers, as a client of HTTP/2 sees it: gRPC's own libraries hide it."""

import base64
import json
import socket
import struct
import unittest

import h2.connection
import h2.events

from tests.e2e.harness import Server, orca_pb, request

FORMAT = "endpoint-load-metrics-format"


class LoadReportTest(unittest.TestCase):
    def setUp(self):
        self.server = Server("--slots=2")

    def tearDown(self):
        self.server.kill()

    def trailers(self, method: str, message, **headers: str) -> dict:
        """The last headers of one call."""
        host, _, port = self.server.address.rpartition(":")
        body = message.SerializeToString()
        connection = h2.connection.H2Connection()
        connection.initiate_connection()
        connection.send_headers(1, [
            (":method", "POST"), (":scheme", "http"), (":authority", self.server.address),
            (":path", f"/recurve.v1.GenerationService/{method}"),
            ("content-type", "application/grpc"), ("te", "trailers"),
            *((name.replace("_", "-"), value) for name, value in headers.items())])
        connection.send_data(1, b"\0" + struct.pack(">I", len(body)) + body, end_stream=True)
        found = {}
        with socket.create_connection((host, int(port)), timeout=60) as stream:
            while True:
                stream.sendall(connection.data_to_send())
                for event in connection.receive_data(stream.recv(1 << 16)):
                    if isinstance(event, (h2.events.TrailersReceived, h2.events.ResponseReceived)):
                        found = {name.decode(): value.decode() for name, value in event.headers}
                    if isinstance(event, h2.events.DataReceived):
                        connection.acknowledge_received_data(
                            event.flow_controlled_length, event.stream_id)
                    if isinstance(event, h2.events.StreamEnded):
                        return found

    def report(self, found: dict):
        data = found["endpoint-load-metrics-bin"]
        return orca_pb.OrcaLoadReport.FromString(base64.b64decode(data + "=" * (-len(data) % 4)))

    def test_every_call_tells_the_load_in_bytes(self):
        good = request(max_tokens=5)
        bad = request(max_tokens=5, sampling={"temperature": -1})
        for method in ("Generate", "Complete"):
            for message, status in ((good, "0"), (bad, "3")):
                found = self.trailers(method, message)
                self.assertEqual(found["grpc-status"], status)
                self.assertNotIn("endpoint-load-metrics", found)
                report = self.report(found)
                self.assertEqual(
                    set(report.named_metrics),
                    {"kv_cache_usage_ratio", "requests_running", "requests_waiting", "waiting_tokens"})
                self.assertEqual(report.named_metrics["requests_waiting"], 0)
                self.assertLess(report.application_utilization, 1)

    def test_a_busy_server_says_so(self):
        running = [self.server.stub.Generate(request(max_tokens=900, stop={"ignore_eos": True}))
                   for _ in range(2)]
        self.server.wait_until(lambda: self.server.load().requests_running == 2, "they do not run")
        report = self.report(self.trailers("Complete", request(sampling={"temperature": -1})))
        self.assertEqual(report.named_metrics["requests_running"], 2)
        self.assertEqual(report.application_utilization, 1)
        self.assertGreater(report.named_metrics["kv_cache_usage_ratio"], 0)
        for call in running:
            call.cancel()

    def test_text_takes_the_place_of_bytes_for_those_that_ask(self):
        text = self.trailers("Complete", request(max_tokens=2), **{FORMAT: "TEXT"})
        self.assertNotIn("endpoint-load-metrics-bin", text)
        kind, _, fields = text["endpoint-load-metrics"].partition(" ")
        self.assertEqual(kind, "TEXT")
        values = dict(field.split("=") for field in fields.split(", "))
        self.assertEqual(float(values["named_metrics.requests_waiting"]), 0)
        found = self.trailers("Generate", request(max_tokens=2), **{FORMAT: "JSON"})
        kind, _, fields = found["endpoint-load-metrics"].partition(" ")
        self.assertEqual(kind, "JSON")
        self.assertEqual(json.loads(fields)["named_metrics"]["waiting_tokens"], 0)


if __name__ == "__main__":
    unittest.main()
