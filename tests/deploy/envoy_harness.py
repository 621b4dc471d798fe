# SPDX-License-Identifier: Apache-2.0
"""The real Envoy with the configuration that we ship, and a raw HTTP/2 client that keeps no rules."""

from __future__ import annotations

import contextlib
import json
import pathlib
import re
import socket
import ssl
import struct
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable

import grpc
import yaml

from tests.e2e.harness import ROOT, Server, pb_grpc, request

ENVOY = pathlib.Path(sys.executable).parent / "envoy"
CONFIGURATION = ROOT / "deploy" / "envoy"
SECONDS = 60  # that anything may take that comes without a call; generous, machines are slow


def wait_until(condition: Callable[[], bool], what: str, seconds: float = SECONDS) -> None:
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            raise AssertionError(f"{what} within {seconds} s")
        time.sleep(0.02)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def fill(server: Server) -> list[grpc.Call]:
    """Long requests for a server with one slot and one place in the queue, which then takes no more."""
    stub = pb_grpc.GenerationServiceStub(server.channel)
    calls = []
    for waiting in range(2):
        calls.append(stub.Generate(request("def main():\n", max_tokens=900, stop={"ignore_eos": True})))
        server.wait_until(lambda waiting=waiting: (server.load().requests_running, server.load().requests_waiting)
                          == (1, waiting), "the server is not full")
    return calls


class Authority:
    """A certificate authority of its own, and what it signs."""

    def __init__(self, directory: pathlib.Path):
        self.directory = directory
        directory.mkdir(parents=True)
        self.certificate = directory / "ca.crt"
        self._openssl("req", "-x509", "-keyout", "ca.key", "-out", "ca.crt", "-subj", "/CN=ca")

    def _openssl(self, command: str, *arguments: str) -> None:
        new_key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2"]
        subprocess.run(["openssl", command, *new_key, *arguments], cwd=self.directory, check=True,
                       capture_output=True)

    def sign(self, name: str, alternative_names: str) -> tuple[pathlib.Path, pathlib.Path]:
        """Files of a certificate for `alternative_names`, such as DNS:localhost, and of its key."""
        self._openssl("req", "-x509", "-CA", "ca.crt", "-CAkey", "ca.key", "-keyout", f"{name}.key", "-out",
                      f"{name}.crt", "-subj", f"/CN={name}", "-addext", f"subjectAltName={alternative_names}")
        return self.directory / f"{name}.crt", self.directory / f"{name}.key"

    def revocations(self, *names: str) -> pathlib.Path:
        """The file of a list that revokes these certificates, and those of the lists before."""
        settings, database = self.directory / "ca.cnf", self.directory / "index.txt"
        settings.write_text("[ca]\ndefault_ca = own\n[own]\ndatabase = index.txt\ndefault_md = sha256\n"
                            "default_crl_days = 2\n")
        database.touch()
        command = ["openssl", "ca", "-config", "ca.cnf", "-cert", "ca.crt", "-keyfile", "ca.key"]
        for name in names:
            subprocess.run([*command, "-revoke", f"{name}.crt"], cwd=self.directory, check=True, capture_output=True)
        subprocess.run([*command, "-gencrl", "-out", "ca.crl"], cwd=self.directory, check=True, capture_output=True)
        return self.directory / "ca.crl"


class Configuration:
    """deploy/envoy as shipped, with variants turned on; envoy.yaml as data that a test may change."""

    def __init__(self, *variants: str):
        self.files = {name: (CONFIGURATION / name).read_text()
                      for name in ("envoy.yaml", "certificate.yaml", "client_ca.yaml")}
        for variant in variants:
            turned_on = {name: re.sub(f"(?m)^#{variant} ", "", text) for name, text in self.files.items()}
            assert turned_on != self.files, f"there is no variant {variant}"
            self.files = turned_on
        self.data = yaml.safe_load(self.files.pop("envoy.yaml"))
        resources = self.data["static_resources"]
        self.listener, self.metrics_listener = resources["listeners"]
        self.chain = self.listener["filter_chains"][0]
        self.manager = self.chain["filters"][0]["typed_config"]
        self.http2 = self.manager["http2_protocol_options"]
        self.host = self.manager["route_config"]["virtual_hosts"][0]
        self.cluster, self.prefix_cluster, self.admin_cluster = resources["clusters"]
        self.runtime = self.data["layered_runtime"]["layers"][0]["static_layer"]
        self.monitors = self.data["overload_manager"]["resource_monitors"]
        self.http2_to_servers = next(iter(self.cluster["typed_extension_protocol_options"].values()))[
            "explicit_http_config"]["http2_protocol_options"]

    def http_filter(self, name: str) -> dict:
        return next(each for each in self.manager["http_filters"] if each["name"] == name)

    def set_servers(self, addresses: list[str]) -> None:
        endpoints = []
        for address in addresses:
            host, _, port = address.rpartition(":")
            endpoints.append({"endpoint": {"address": {
                "socket_address": {"address": host, "port_value": int(port)}}}})
        self.cluster["load_assignment"]["endpoints"][0]["lb_endpoints"] = endpoints  # both clusters' own

    def set_ports(self, listener: int, admin: int, metrics: int) -> None:
        for place, port in ((self.listener, listener), (self.metrics_listener, metrics)):
            place["address"]["socket_address"] = {"address": "127.0.0.1", "port_value": port}
        self.data["admin"]["address"]["socket_address"]["port_value"] = admin
        self.admin_cluster["load_assignment"]["endpoints"][0]["lb_endpoints"][0]["endpoint"]["address"][
            "socket_address"]["port_value"] = admin


def check(configuration: Configuration, directory: pathlib.Path) -> subprocess.CompletedProcess:
    """`envoy --mode validate` of this configuration, whose certificates lie in `directory`."""
    return subprocess.run([str(ENVOY), "--mode", "validate", "-c", str(write(configuration, directory)),
                           "--log-level", "warning"], capture_output=True, text=True, check=False)


def write(configuration: Configuration, directory: pathlib.Path) -> pathlib.Path:
    """Writes all files of a configuration for /etc/envoy to `directory`; the path of the first."""
    for name, text in configuration.files.items():
        (directory / name).write_text(text.replace("/etc/envoy", str(directory)))
    path = directory / "envoy.json"
    path.write_text(json.dumps(configuration.data).replace("/etc/envoy", str(directory)))
    return path


def lay_out(authority: Authority, directory: pathlib.Path) -> None:
    """The directories of certificates that the configuration names."""
    for name in ("tls", "client_ca", "upstream"):
        (directory / name).mkdir()
    certificate, key = authority.sign("front", "DNS:localhost,DNS:recurve,IP:127.0.0.1")
    (directory / "tls" / "tls.crt").write_bytes(certificate.read_bytes())
    (directory / "tls" / "tls.key").write_bytes(key.read_bytes())
    for place in ("client_ca", "upstream"):
        (directory / place / "ca.crt").write_bytes(authority.certificate.read_bytes())
    (directory / "client_ca" / "ca.crl").write_bytes(authority.revocations().read_bytes())


class Front:
    """A running Envoy in front of `servers` (addresses), with more `arguments` if need be."""

    def __init__(self, configuration: Configuration, servers: list[str], authority: Authority, *arguments: str):
        self._scratch = tempfile.TemporaryDirectory(prefix="recurve-envoy-")
        self.directory = pathlib.Path(self._scratch.name)
        self.authority = authority
        lay_out(authority, self.directory)
        self.admin_port = free_port()
        self.metrics_port = free_port()
        configuration.set_servers(servers)
        configuration.set_ports(0, self.admin_port, self.metrics_port)
        self.log_path = self.directory / "log"
        self.access_path = self.directory / "access"
        command = [str(ENVOY), "-c", str(write(configuration, self.directory)), "--concurrency", "1",
                   "--disable-hot-restart", "--log-level", "warning", "--file-flush-interval-msec", "100", *arguments]
        with open(self.log_path, "wb") as log, open(self.access_path, "wb") as access:
            self.process = subprocess.Popen(command, stdout=access, stderr=log)
        try:
            wait_until(self._ready, "Envoy is not ready")
            self.port = self._listener_port()
        except Exception:
            self.close()
            raise

    def __enter__(self) -> Front:
        return self

    def __exit__(self, *_) -> None:
        self.close()

    def close(self) -> None:
        self.process.kill()
        self.process.wait()
        self._scratch.cleanup()

    def admin(self, path: str) -> str:
        with urllib.request.urlopen(f"http://127.0.0.1:{self.admin_port}{path}", timeout=30) as answer:
            return answer.read().decode()

    def _ready(self) -> bool:
        if self.process.poll() is not None:
            raise AssertionError(f"Envoy ended: {self.log_path.read_text()}")
        with contextlib.suppress(OSError):
            return self.admin("/ready").strip() == "LIVE"
        return False

    def _listener_port(self) -> int:
        listeners = json.loads(self.admin("/listeners?format=json"))["listener_statuses"]
        address = next(each for each in listeners if each["name"] == "grpc")["local_address"]
        return address["socket_address"]["port_value"]

    def stat(self, name: str) -> int:
        """A counter or gauge by its whole name; 0 while there is none."""
        for line in self.admin(f"/stats?filter=^{re.escape(name)}$").splitlines():
            return int(line.split(": ")[1])
        return 0

    def healthy_servers(self, cluster: str = "recurve") -> int:
        return self.stat(f"cluster.{cluster}.membership_healthy")

    def access_log(self) -> list[dict]:
        return [json.loads(line) for line in self.access_path.read_text().splitlines()]

    def channel(self, client: tuple[pathlib.Path, pathlib.Path] | None = None, **options: int) -> grpc.Channel:
        """With the certificate and key of `client`, where it has one."""
        certificate, key = (each.read_bytes() for each in client) if client else (None, None)
        credentials = grpc.ssl_channel_credentials(self.authority.certificate.read_bytes(), key, certificate)
        named = [(name.replace("__", "."), value) for name, value in options.items()]
        return grpc.secure_channel(f"127.0.0.1:{self.port}", credentials,
                                   options=named + [("grpc.use_local_subchannel_pool", 1)])

    @contextlib.contextmanager
    def stub(self, **arguments):
        with self.channel(**arguments) as channel:
            yield pb_grpc.GenerationServiceStub(channel)

    def raw(self, handshake: bool = True) -> RawClient:
        return RawClient(self.port, self.authority.certificate, handshake)


DATA, HEADERS, PRIORITY, RST_STREAM, SETTINGS, PING, GOAWAY, WINDOW_UPDATE, CONTINUATION = 0, 1, 2, 3, 4, 6, 7, 8, 9
END_STREAM, ACK, END_HEADERS = 1, 1, 4
CANCEL = struct.pack(">I", 8)


def frame(kind: int, flags: int, stream: int, payload: bytes = b"") -> bytes:
    return struct.pack(">I", len(payload))[1:] + struct.pack(">BBI", kind, flags, stream) + payload


def encode(headers: list[tuple[str, str]]) -> bytes:
    """HPACK of literals that enter no table."""
    def text(value: str) -> bytes:
        raw, rest = value.encode(), len(value.encode()) - 127
        if rest < 0:
            return bytes([len(raw)]) + raw
        length = b"\x7f"
        while rest >= 128:
            length += bytes([rest % 128 + 128])
            rest //= 128
        return length + bytes([rest]) + raw
    return b"".join(b"\x00" + text(name) + text(value) for name, value in headers)


def call_headers(*more: tuple[str, str], method: str = "/recurve.v1.GenerationService/Generate") -> bytes:
    """The headers of a gRPC call, encoded."""
    return encode([(":method", "POST"), (":scheme", "https"), (":path", method), (":authority", "localhost"),
                   ("content-type", "application/grpc"), ("te", "trailers"), *more])


def message(proto) -> bytes:
    body = proto.SerializeToString()
    return struct.pack(">BI", 0, len(body)) + body


class RawClient:
    """An HTTP/2 connection over TLS that sends whatever it is told, and notes what comes."""

    def __init__(self, port: int, authority: pathlib.Path, handshake: bool = True):
        plain = socket.create_connection(("127.0.0.1", port), timeout=SECONDS)
        self.socket = plain
        self.frames: list[tuple[int, int, int, bytes]] = []  # kind, flags, stream, payload
        self.closed = False
        self._rest = b""
        if handshake:
            context = ssl.create_default_context(cafile=str(authority))
            context.set_alpn_protocols(["h2"])
            self.socket = context.wrap_socket(plain, server_hostname="localhost")
            self.send(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + frame(SETTINGS, 0, 0))

    def __enter__(self) -> RawClient:
        return self

    def __exit__(self, *_) -> None:
        self.socket.close()

    def send(self, data: bytes) -> None:
        """What a closed connection no longer takes is dropped; `closed` tells."""
        try:
            self.socket.sendall(data)
        except OSError:
            self.closed = True

    def call(self, stream: int, *more: tuple[str, str], proto=None, **named) -> None:
        """A call whose message, if any, is its last."""
        self.send(frame(HEADERS, END_HEADERS, stream, call_headers(*more, **named)))
        if proto is not None:
            self.send(frame(DATA, END_STREAM, stream, message(proto)))

    def read(self, until: Callable[[], bool], seconds: float = SECONDS, acknowledge: bool = True) -> bool:
        """Reads until `until()` or the connection's end; whether it came to be within `seconds`."""
        end = time.monotonic() + seconds
        while not until():
            if self.closed or time.monotonic() > end:
                return until()
            self.socket.settimeout(max(0.01, min(0.2, end - time.monotonic())))
            try:
                received = self.socket.recv(65536)
                self.closed = self.closed or not received
            except TimeoutError:
                continue
            except OSError:
                self.closed = True
                continue
            self._take(received, acknowledge)
        return True

    def _take(self, received: bytes, acknowledge: bool) -> None:
        self._rest += received
        while len(self._rest) >= 9:
            length = int.from_bytes(self._rest[:3], "big")
            if len(self._rest) < 9 + length:
                return
            kind, flags, stream = struct.unpack(">BBI", self._rest[3:9])
            payload = self._rest[9:9 + length]
            self._rest = self._rest[9 + length:]
            self.frames.append((kind, flags, stream, payload))
            if acknowledge and kind in (SETTINGS, PING) and not flags & ACK:
                self.send(frame(kind, ACK, 0, payload if kind == PING else b""))

    def ended(self, stream: int) -> bool:
        """The other side has ended or reset this stream, or the connection."""
        return self.closed or any(
            number == stream and (kind == RST_STREAM or (kind in (HEADERS, DATA) and flags & END_STREAM))
            for kind, flags, number, _ in self.frames)

    def is_closed(self, seconds: float = SECONDS, **named) -> bool:
        """Whether the other side closes the connection within `seconds`."""
        self.read(lambda: self.closed, seconds, **named)
        return self.closed

    def goaway(self) -> int | None:
        """The error code of the last GOAWAY."""
        codes = [payload[4:8] for kind, _, _, payload in self.frames if kind == GOAWAY]
        return int.from_bytes(codes[-1], "big") if codes else None
