# SPDX-License-Identifier: Apache-2.0
"""A recurve-gateway process, and a model directory that knows conversations."""

from __future__ import annotations

import contextlib
import http.client
import json
import pathlib
import signal
import subprocess
import tempfile
import time

from tests.e2e.harness import BIN, MODEL

# Of the bundled model's vocabulary alone, so that a conversation is a prompt like any other.
TEMPLATE = ("{{ bos_token }}{% for message in messages %}# {{ message.role }}: {{ message.content }}\n{% endfor %}"
            "{% if add_generation_prompt %}# assistant:{% endif %}")


@contextlib.contextmanager
def chat_model(template: str = TEMPLATE):
    """The bundled model with a chat template."""
    with tempfile.TemporaryDirectory(prefix="recurve-chat-model-") as folder:
        path = pathlib.Path(folder) / "chatty"
        path.mkdir()
        for file in MODEL.iterdir():
            (path / file.name).symlink_to(file)
        (path / "tokenizer_config.json").write_text(json.dumps({"bos_token": "import os\n", "chat_template": template}))
        yield path


class Gateway:
    """In front of servers at these addresses; `flags` beside --server."""

    def __init__(self, *servers: str, flags: tuple[str, ...] = (), ready: bool = True):
        self.scratch = tempfile.TemporaryDirectory(prefix="recurve-gateway-")
        folder = pathlib.Path(self.scratch.name)
        self.log_path = folder / "log"
        ports = folder / "ports"
        with open(self.log_path, "wb") as log:
            self.process = subprocess.Popen(
                [str(BIN / "recurve-gateway"), f"--server={','.join(servers)}", "--listen=127.0.0.1:0",
                 "--metrics_listen=127.0.0.1:0", f"--port_file={ports}", *flags], stdout=log, stderr=log)
        self.wait_until(ports.exists, "the gateway did not say its ports")
        named = dict(line.split("=") for line in ports.read_text().split())
        self.address = named["http_address"]
        self.metrics_address = named["metrics_address"]
        if ready:
            self.wait_until(lambda: self.get("/health").status == 200, "the gateway did not become ready")

    def wait_until(self, condition, what: str, seconds: float = 60) -> None:
        end = time.monotonic() + seconds
        while not condition():
            if self.process.poll() is not None and not condition():
                raise AssertionError(f"{what}: exit code {self.process.returncode}\n{self.log()}")
            if time.monotonic() > end:
                raise AssertionError(f"{what} within {seconds} s\n{self.log()}")
            time.sleep(0.02)

    def log(self) -> str:
        return self.log_path.read_text(errors="replace")

    def connect(self) -> http.client.HTTPConnection:
        return http.client.HTTPConnection(self.address, timeout=120)

    def ask(self, method: str, path: str, body=None, headers=None) -> "Answer":
        connection = self.connect()
        data = body if body is None or isinstance(body, (str, bytes)) else json.dumps(body)
        connection.request(method, path, data, headers or {})
        answer = Answer(connection.getresponse())
        connection.close()
        return answer

    def get(self, path: str, **headers: str) -> "Answer":
        return self.ask("GET", path, headers=headers)

    def post(self, path: str, body, **headers: str) -> "Answer":
        return self.ask("POST", path, body, headers)

    def metrics(self) -> str:
        connection = http.client.HTTPConnection(self.metrics_address, timeout=60)
        connection.request("GET", "/metrics")
        text = connection.getresponse().read().decode()
        connection.close()
        return text

    def stop(self, sig: int = signal.SIGTERM) -> int:
        if self.process.poll() is None:
            self.process.send_signal(sig)
        code = self.process.wait(timeout=120)
        self.last_log = self.log()
        self.scratch.cleanup()
        return code

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()
        self.scratch.cleanup()


class Answer:
    """All of one answer."""

    def __init__(self, response: http.client.HTTPResponse):
        self.status = response.status
        self.headers = response.headers
        self.body = response.read().decode()

    def json(self) -> dict:
        return json.loads(self.body)

    def error(self) -> dict:
        return self.json()["error"]

    def events(self) -> list:
        """Of a stream, which must end as OpenAI's do."""
        lines = self.body.split("\n\n")
        assert lines[-2:] == ["data: [DONE]", ""], self.body
        return [json.loads(line.removeprefix("data: ")) for line in lines[:-2]]
