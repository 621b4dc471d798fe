# SPDX-License-Identifier: Apache-2.0
"""A recurve-server process and a Python client for it, made from our proto by grpcio-tools."""

from __future__ import annotations

import contextlib
import importlib
import json
import os
import pathlib
import signal
import subprocess
import sys
import tempfile
import time
import urllib.request

import grpc
from grpc_tools import protoc

ROOT = pathlib.Path(__file__).resolve().parents[2]
BIN = pathlib.Path(os.environ.get("RECURVE_BIN", ROOT / "build" / "cpu" / "bin"))
MODEL = pathlib.Path(os.environ.get("RECURVE_E2E_MODEL", ROOT / "models" / "demo"))


def _generate_stubs() -> tuple:
    """Compiles our proto files into a temporary package: a client that no one here wrote."""
    out = tempfile.mkdtemp(prefix="recurve-stubs-")
    protos = ["recurve/v1/generation.proto", "grpc/health/v1/health.proto",
              "xds/data/orca/v3/orca_load_report.proto"]
    status = protoc.main(
        ["protoc", f"--proto_path={ROOT / 'proto'}", f"--python_out={out}", f"--grpc_python_out={out}"]
        + protos
    )
    if status != 0:
        raise RuntimeError(f"protoc failed on {protos}")
    sys.path.insert(0, out)
    # The package `grpc` is installed: make its path cover the generated grpc/health too.
    grpc.__path__.append(str(pathlib.Path(out) / "grpc"))
    return (
        importlib.import_module("recurve.v1.generation_pb2"),
        importlib.import_module("recurve.v1.generation_pb2_grpc"),
        importlib.import_module("grpc.health.v1.health_pb2"),
        importlib.import_module("grpc.health.v1.health_pb2_grpc"),
        importlib.import_module("xds.data.orca.v3.orca_load_report_pb2"),
    )


pb, pb_grpc, health_pb, health_grpc, orca_pb = _generate_stubs()


class Server:
    """A server, on ports of its own choice unless told otherwise; `flags` beside --model, `process` as of Popen.

    `program`: its command before the flags. `patience`: seconds until it serves.
    """

    def __init__(self, *flags: str, model: pathlib.Path = MODEL, listen: str = "127.0.0.1:0",
                 metrics_listen: str = "127.0.0.1:0", program: tuple[str, ...] = (str(BIN / "recurve-server"),),
                 patience: float = 60, **process):
        self.scratch = tempfile.TemporaryDirectory(prefix="recurve-e2e-")
        self.log_path = pathlib.Path(self.scratch.name) / "log"
        ports = pathlib.Path(self.scratch.name) / "ports"
        command = [
            *program, f"--model={model}", f"--listen={listen}",
            f"--metrics_listen={metrics_listen}", f"--port_file={ports}", *flags,
        ]
        with open(self.log_path, "wb") as log:
            self.process = subprocess.Popen(command, stdout=log, stderr=log, **process)
        self.wait_until(ports.exists, "the server did not say its ports", patience)
        named = dict(line.split("=") for line in ports.read_text().split())
        self.address = named["grpc_address"]
        self.metrics_address = named["metrics_address"]
        self.channel = self.new_channel()
        self.stub = pb_grpc.GenerationServiceStub(self.channel)
        self.wait_until(self.healthy, "the server did not become healthy", patience)

    def new_channel(self, **options: int) -> grpc.Channel:
        named = [(name.replace("__", "."), value) for name, value in options.items()]
        return grpc.insecure_channel(
            self.address, options=named + [("grpc.use_local_subchannel_pool", 1)])

    def healthy(self, service: str = "") -> bool:
        stub = health_grpc.HealthStub(self.channel)
        try:
            answer = stub.Check(health_pb.HealthCheckRequest(service=service), timeout=5)
        except grpc.RpcError:
            return False
        return answer.status == health_pb.HealthCheckResponse.SERVING

    def log(self) -> str:
        return self.log_path.read_text(errors="replace")

    def wait_until(self, condition, what: str, seconds: float = 60) -> None:
        """Polls what no call can wait for; the bound is generous, machines are slow."""
        end = time.monotonic() + seconds
        while not condition():
            if self.process.poll() is not None and not condition():
                raise AssertionError(f"{what}: exit code {self.process.returncode}\n{self.log()}")
            if time.monotonic() > end:
                raise AssertionError(f"{what} within {seconds} s\n{self.log()}")
            time.sleep(0.02)

    def load(self):
        return self.stub.GetLoad(pb.GetLoadRequest(), timeout=30)

    def wait_until_idle(self) -> None:
        """Nothing runs or waits, and cached prefixes alone have pages."""
        def idle() -> bool:
            load = self.load()
            return (load.requests_running == 0 and load.requests_waiting == 0
                    and load.kv_pages_free + load.kv_pages_cached == load.kv_pages)
        self.wait_until(idle, "the server did not come to rest")

    def metrics(self) -> str:
        with urllib.request.urlopen(f"http://{self.metrics_address}/metrics", timeout=30) as answer:
            return answer.read().decode()

    def metric(self, name: str, **labels: str) -> float:
        """Sum of the samples of `name` that have these labels."""
        total = 0.0
        for line in self.metrics().splitlines():
            sample, _, value = line.rpartition(" ")
            if sample.split("{")[0] != name:
                continue
            if all(f'{key}="{text}"' in sample for key, text in labels.items()):
                total += float(value)
        return total

    def stop(self, sig: int = signal.SIGTERM) -> int:
        """Ends the server; its exit code."""
        if self.process.poll() is None:
            self.process.send_signal(sig)
        code = self.process.wait(timeout=120)
        self.channel.close()
        self.scratch_log = self.log()
        self.scratch.cleanup()
        return code

    def kill(self) -> None:
        with contextlib.suppress(Exception):
            self.process.kill()
            self.process.wait()
        self.channel.close()
        self.scratch.cleanup()


def request(text: str | None = None, ids=None, *, max_tokens: int | None = None, **fields):
    """A GenerateRequest; sampling, stop, output and recursion as dicts."""
    message = pb.GenerateRequest()
    if ids is not None:
        message.tokens.ids.extend(ids)
    else:
        message.text = text if text is not None else "def main():\n"
    if max_tokens is not None:
        message.stop.max_tokens = max_tokens
    for field, value in fields.items():
        if isinstance(value, dict):
            for name, inner in value.items():
                target = getattr(getattr(message, field), name)
                if isinstance(inner, (list, tuple)):
                    target.extend(inner)
                elif isinstance(inner, dict):
                    target.update(inner)
                else:
                    setattr(getattr(message, field), name, inner)
        else:
            setattr(message, field, value)
    return message


class Collected:
    """All of one stream: text, tokens, the last message."""

    def __init__(self, messages):
        self.messages = list(messages)
        self.text = "".join(message.text for message in self.messages)
        self.tokens = [token for message in self.messages for token in message.tokens]
        self.ids = [token.id for token in self.tokens]
        self.depths = [token.depth for token in self.tokens]
        self.final = self.messages[-1].final
        self.usage = self.messages[-1].usage


def run_client(*arguments: str, server: Server, stdin: str = "") -> subprocess.CompletedProcess:
    """The `recurve` command line, its output as text."""
    command, rest = arguments[0], arguments[1:]
    return subprocess.run(
        [str(BIN / "recurve"), command, f"--server={server.address}", *rest],
        input=stdin, capture_output=True, text=True, timeout=120, check=False)


def json_lines(text: str) -> list:
    return [json.loads(line) for line in text.splitlines() if line.strip()]
