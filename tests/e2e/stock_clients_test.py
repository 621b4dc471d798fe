# SPDX-License-Identifier: Apache-2.0
"""Clients and gateways that no one here wrote, against our server."""

import json
import os
import pathlib
import socket
import subprocess
import tempfile
import time
import unittest
import urllib.error
import urllib.request

from tests.e2e.gateway import Gateway as OpenAiGateway
from tests.e2e.harness import MODEL, ROOT, Collected, Server, pb, request

STRANGERS = pathlib.Path(os.environ.get("RECURVE_STRANGERS", ROOT / "build" / "venv_strangers"))
PROMPT = "import os\n"


class StockClientsTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.server = Server("--slots=8", "--precision=f32")
        # What they must get, by our own API.
        answer = Collected(cls.server.stub.Generate(request(PROMPT, max_tokens=12)))
        cls.text = answer.text

    @classmethod
    def tearDownClass(cls):
        cls.server.wait_until_idle()
        code = cls.server.stop()
        assert code == 0, f"exit code {code}\n{cls.server.scratch_log}"

    def test_tritonclient(self):
        ran = subprocess.run(
            [STRANGERS / "bin" / "python", ROOT / "tests" / "e2e" / "triton_client.py",
             self.server.address, "demo", PROMPT],
            capture_output=True, text=True, timeout=180, check=False)
        self.assertEqual(ran.returncode, 0, ran.stderr)
        got = json.loads(ran.stdout)
        self.assertEqual(got["ready"], [True, True, True])
        self.assertTrue(got["decoupled"])
        self.assertIn("text_input", got["inputs"])
        self.assertEqual(got["texts"], [self.text, self.text])
        self.assertEqual(got["output_tokens"], [12, 12])
        error = got["streams"].pop("error")
        self.assertIn("temperature is -5", error)
        self.assertEqual(got["streams"].pop("bad"), "")
        self.assertEqual(got["streams"], {"0": self.text, "1": self.text, "2": self.text})
        self.assertEqual(got["counted"], 3)
        self.assertEqual(got["unknown"], "StatusCode.NOT_FOUND")

    def test_shepherd_model_gateway(self):
        """Its OpenAI door in front of our VllmEngine service: it tokenizes, routes and streams."""
        with Gateway(self.server) as gateway:
            self.assertEqual([model["id"] for model in gateway.get("/v1/models")["data"]], ["demo"])
            body = {"model": "demo", "prompt": PROMPT, "max_tokens": 12, "temperature": 0}
            answer = gateway.post("/v1/completions", body)
            self.assertEqual([choice["text"] for choice in answer["choices"]], [self.text])
            self.assertEqual(answer["choices"][0]["finish_reason"], "length")
            self.assertEqual(answer["usage"]["completion_tokens"], 12)
            texts = gateway.stream("/v1/completions", {**body, "n": 2, "stream": True})
            self.assertEqual(texts, {0: self.text, 1: self.text})
            with self.assertRaises(urllib.error.HTTPError) as refused:
                gateway.post("/v1/completions", {**body, "regex": "a*"})
            refused.exception.close()
            self.assertEqual(refused.exception.code, 400)
            loads = gateway.get("/get_loads")
            self.assertIn(self.server.address.rsplit(":", 1)[1], json.dumps(loads))
        self.server.wait_until_idle()

    def test_a_gateway_elsewhere_gets_the_tokenizer(self):
        """One that does not see the model's directory, which lies here where each process has its own."""
        server = Server("--model_name=demo", "--precision=f32", model=pathlib.Path("/proc/self/cwd"), cwd=MODEL)
        try:
            with Gateway(server, tokenizer="/no/such/model") as gateway:
                answer = gateway.post("/v1/completions", {
                    "model": "demo", "prompt": PROMPT, "max_tokens": 12, "temperature": 0})
                self.assertEqual(answer["choices"][0]["text"], self.text)
            self.assertIn('recurve_requests_total{code="OK",method="VllmEngine.GetTokenizer"}', server.metrics())
        finally:
            server.kill()

    def test_vllm_router(self):
        """OpenAI's API once more, in front of two of our gateways."""
        gateways = [OpenAiGateway(self.server.address) for _ in range(2)]
        try:
            with Router([f"http://{one.address}" for one in gateways]) as router:
                body = {"model": "demo", "prompt": PROMPT, "max_tokens": 12, "temperature": 0}
                for _ in range(4):
                    answer = router.post("/v1/completions", body)
                    self.assertEqual([choice["text"] for choice in answer["choices"]], [self.text])
                self.assertEqual(router.stream("/v1/completions", {**body, "stream": True}), {0: self.text})
                with self.assertRaises(urllib.error.HTTPError) as refused:
                    router.post("/v1/completions", {**body, "top_p": 5})
                refused.exception.close()
                self.assertEqual(refused.exception.code, 400)
            for one in gateways:
                self.assertIn('calls_total{path="/v1/completions",status="200"}', one.metrics())
        finally:
            for one in gateways:
                one.kill()
        self.server.wait_until_idle()


class Door:
    """A program that speaks OpenAI's API in front of others; `command` is told ports for it and for its metrics."""

    def __init__(self, command):
        ports = []
        for _ in range(2):
            with socket.socket() as free:
                free.bind(("127.0.0.1", 0))
                ports.append(free.getsockname()[1])
        self.base = f"http://127.0.0.1:{ports[0]}"
        self.log = tempfile.TemporaryFile()
        self.process = subprocess.Popen(
            [str(part) for part in command(*map(str, ports))], stdin=subprocess.DEVNULL, stdout=self.log, stderr=self.log)

    def __enter__(self) -> "Door":
        end = time.monotonic() + 120
        while True:
            try:
                answer = self.post("/v1/completions", {
                    "model": "demo", "prompt": PROMPT, "max_tokens": 1})
                if answer["choices"]:
                    return self
            except (OSError, KeyError):
                pass
            if self.process.poll() is not None or time.monotonic() > end:
                text = self.text()
                self.__exit__()
                raise AssertionError(f"the gateway did not start\n{text}")
            time.sleep(0.2)

    def __exit__(self, *_) -> None:
        self.process.kill()
        self.process.wait()
        self.log.close()

    def text(self) -> str:
        self.log.seek(0)
        return self.log.read().decode(errors="replace")[-8000:]

    def open(self, path: str, body=None):
        data = None if body is None else json.dumps(body).encode()
        made = urllib.request.Request(self.base + path, data, {"content-type": "application/json"})
        return urllib.request.urlopen(made, timeout=60)

    def get(self, path: str):
        with self.open(path) as answer:
            return json.load(answer)

    def post(self, path: str, body: dict):
        with self.open(path, body) as answer:
            return json.load(answer)

    def stream(self, path: str, body: dict) -> dict:
        """Text by choice."""
        texts: dict = {}
        with self.open(path, body) as answer:
            for line in answer:
                if not line.startswith(b"data: {"):
                    continue
                for choice in json.loads(line[6:])["choices"]:
                    texts[choice["index"]] = texts.get(choice["index"], "") + choice["text"]
        return texts


class Gateway(Door):
    """`smg launch` in front of one server."""

    def __init__(self, server: Server, tokenizer: str = str(MODEL)):
        super().__init__(lambda port, metrics_port: [
            STRANGERS / "bin" / "smg", "launch", "--host", "127.0.0.1", "--port", port, "--prometheus-port", metrics_port,
            "--worker-urls", f"grpc://{server.address}", "--tokenizer-path", tokenizer])


class Router(Door):
    """`vllm-router` in front of what speaks OpenAI's API."""

    def __init__(self, workers: list):
        super().__init__(lambda port, metrics_port: [
            STRANGERS / "bin" / "vllm-router", "--host", "127.0.0.1", "--port", port, "--prometheus-port", metrics_port,
            "--policy", "round_robin", "--worker-urls", *workers])


if __name__ == "__main__":
    unittest.main()
