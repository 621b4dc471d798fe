# SPDX-License-Identifier: Apache-2.0
"""recurve-gateway in front of servers that are full, secured, gone or of other models; and its own end, flags and TLS."""

import hashlib
import http.client
import json
import os
import pathlib
import signal
import ssl
import subprocess
import tempfile
import unittest

import grpc

from tests.e2e.gateway import Answer, Gateway, chat_model
from tests.e2e.harness import BIN, Server, json_lines
from tests.e2e.security_test import SecureServer, make_certificates, new_token

PROMPT = "import os\n"
GREEDY = {"prompt": PROMPT, "max_tokens": 12, "temperature": 0}


class GatewayAndServersTest(unittest.TestCase):
    """Each with a server of its own."""

    def start(self, *flags: str, gateway: tuple[str, ...] = (), **options):
        server = Server(*flags, **options)
        self.addCleanup(server.kill)
        front = Gateway(server.address, flags=gateway)
        self.addCleanup(front.kill)
        return server, front

    def test_a_full_queue_is_429_with_a_time_to_come_again(self):
        server, gateway = self.start("--slots=1", "--max_queued_requests=2", "--retry_pushback=1500ms")
        long = {"prompt": PROMPT, "max_tokens": 900, "ignore_eos": True}
        connections = []
        for i in range(3):
            connections.append(gateway.connect())
            connections[-1].request("POST", "/v1/completions", json.dumps(long))
            server.wait_until(lambda expected=i + 1: server.load().requests_running + server.load().requests_waiting
                              >= expected, "the call is not there")
        answer = gateway.post("/v1/completions", long)
        self.assertEqual(answer.status, 429, answer.body)
        self.assertEqual(answer.error()["type"], "rate_limit_error")
        self.assertEqual((answer.headers["Retry-After"], answer.headers["Retry-After-Ms"]), ("2", "1500"))
        for connection in connections:
            connection.close()
        server.wait_until_idle()
        # All prompts of a call or none: one too many, and the others do not stay.
        holding = gateway.connect()
        holding.request("POST", "/v1/completions", json.dumps(long))
        server.wait_until(lambda: server.load().requests_running == 1, "the call is not there")
        waiting = gateway.connect()
        waiting.request("POST", "/v1/completions", json.dumps(long))
        server.wait_until(lambda: server.load().requests_waiting == 1, "the call does not wait")
        answer = gateway.post("/v1/completions", {**long, "prompt": [PROMPT, PROMPT]})
        self.assertEqual(answer.status, 429, answer.body)
        server.wait_until(lambda: server.load().requests_waiting == 1, "a part of the call stayed")
        holding.close()
        waiting.close()
        server.wait_until_idle()

    def test_tokens_of_clients_are_passed_on(self):
        with tempfile.TemporaryDirectory() as folder:
            secret = "s" * 43
            access = os.path.join(folder, "access.json")
            token = os.path.join(folder, "token")
            pathlib.Path(access).write_text(json.dumps({"tokens": [
                {"id": "a", "sha256": hashlib.sha256(secret.encode()).hexdigest(), "tenant": "t"}]}))
            pathlib.Path(token).write_text(f"a.{secret}\n")
            _, gateway = self.start(f"--access_file={access}", gateway=(f"--server_token_file={token}",))
            message = {"messages": [{"role": "user", "content": "x"}]}
            told = set()
            for path, body in (("/v1/completions", GREEDY), ("/v1/completions", {**GREEDY, "model": "other"}),
                               ("/v1/chat/completions", message), ("/tokenize", {"prompt": "x"}), ("/detokenize", {"tokens": [1]}),
                               ("/v1/models", None), ("/v1/models/demo", None)):
                for wrong in ({}, {"Authorization": f"Bearer b.{secret}"}, {"Authorization": "Bearer a.wrong"}):
                    answer = gateway.ask("GET" if body is None else "POST", path, body, wrong)
                    self.assertEqual((answer.status, answer.error()["type"]), (401, "authentication_error"), path)
                    told.add(answer.error()["message"])
            self.assertEqual(len(told), 1, "they tell what was wrong")
            self.assertEqual(gateway.get("/health").status, 200)
            self.assertEqual(gateway.get("/v1/models", Authorization=f"Bearer a.{secret}").status, 200)
            answer = gateway.post("/v1/completions", GREEDY, Authorization=f"Bearer a.{secret}")
            self.assertEqual(answer.status, 200, answer.body)
            answer = gateway.post("/v1/completions", GREEDY, Authorization=f"Bearer a.{secret}",
                                  **{"X-Recurve-Tenant": "other"})
            self.assertEqual(answer.status, 403, answer.body)
            self.assertEqual(gateway.get("/engine").status, 401)
            self.assertEqual(gateway.get("/engine", Authorization=f"Bearer a.{secret}").status, 200)
            self.assertEqual(gateway.get("/").status, 200)
            self.assertNotIn(secret, gateway.log())

    def test_servers_with_tls_and_tokens_are_found_by_name(self):
        """As the component openai-secured has it."""
        folder = pathlib.Path(self.enterContext(tempfile.TemporaryDirectory()))
        make_certificates(folder)  # for localhost
        token, entry = new_token("openai", "openai")
        (folder / "token").write_text(token + "\n")
        client_token, client_entry = new_token("client", "alice")
        (folder / "access.json").write_text(json.dumps({"tokens": [entry, client_entry]}))
        credentials = grpc.ssl_channel_credentials((folder / "ca.pem").read_bytes())
        server = SecureServer(credentials, f"--tls_cert={folder}/server.pem", f"--tls_key={folder}/server.key",
                              f"--access_file={folder}/access.json", "--log_format=json")
        self.addCleanup(server.kill)
        name = server.address.replace("127.0.0.1", "dns:///localhost")
        gateway = Gateway(name, flags=("--attempts=3", "--resume", f"--server_tls_ca={folder}/ca.pem",
                                       f"--server_token_file={folder}/token"))
        self.addCleanup(gateway.kill)
        self.assertEqual(gateway.post("/v1/completions", GREEDY).status, 401)
        answer = gateway.post("/v1/completions", GREEDY, Authorization=f"Bearer {client_token}")
        self.assertEqual(answer.status, 200, answer.body)
        server.wait_until(lambda: '"tenant":"alice"' in server.log(), "the call is not its client's")
        stranger = Gateway(name, ready=False, flags=(f"--server_token_file={folder}/token",))
        self.addCleanup(stranger.kill)
        stranger.wait_until(lambda: "not_ready" in stranger.log(), "it speaks plaintext with a server that has TLS")

    def test_without_a_server_it_says_so_and_goes_on_when_one_is_there(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        address = f"unix:{folder.name}/server"
        server, gateway = self.start(listen=address)
        self.assertEqual(gateway.get("/readyz").status, 200)
        server.stop()
        gateway.wait_until(lambda: gateway.get("/health").status == 503, "it takes a server that is gone for ready")
        self.assertEqual(gateway.get("/healthz").status, 200)
        self.assertIn("recurve_gateway_ready 0", gateway.metrics())
        answer = gateway.post("/v1/completions", GREEDY)
        self.assertEqual((answer.status, answer.error()["type"]), (503, "service_unavailable_error"))
        again = Server(listen=address)
        self.addCleanup(again.kill)
        gateway.wait_until(lambda: gateway.get("/health").status == 200, "it does not find the server again")
        self.assertEqual(gateway.post("/v1/completions", GREEDY).status, 200)

    def test_the_end_waits_for_calls_and_takes_no_others(self):
        server, gateway = self.start()
        connection = gateway.connect()
        connection.request("POST", "/v1/completions", json.dumps(
            {"prompt": PROMPT, "max_tokens": 300, "ignore_eos": True, "stream": True}))
        response = connection.getresponse()
        self.assertTrue(response.readline().startswith(b"data: "))
        gateway.process.send_signal(signal.SIGTERM)
        rest = response.read().decode()
        self.assertTrue(rest.endswith("data: [DONE]\n\n"), rest[-200:])
        self.assertIn('"finish_reason":"length"', rest)
        self.assertEqual(gateway.process.wait(timeout=60), 0, gateway.log())
        with self.assertRaises(OSError):
            gateway.get("/health")
        server.wait_until_idle()

    def test_what_does_not_end_in_time_is_cut(self):
        server, gateway = self.start(gateway=("--drain_budget=1ms",))
        connection = gateway.connect()
        connection.request("POST", "/v1/completions", json.dumps(
            {"prompt": PROMPT, "max_tokens": 1000, "ignore_eos": True}))
        server.wait_until(lambda: server.load().requests_running > 0, "the call did not begin")
        self.assertEqual(gateway.stop(), 0)
        server.wait_until_idle()

    def test_a_model_without_a_template_says_so(self):
        _, gateway = self.start()
        answer = gateway.post("/v1/chat/completions", {"messages": [{"role": "user", "content": "Hi"}]})
        self.assertEqual(answer.status, 400)
        self.assertIn("the model demo has no chat template", answer.error()["message"])

    def test_what_is_wrong_is_told_to_the_client_and_not_repeated_in_the_log(self):
        marker = "a-MARKER-of-prompts"
        template = ("{% set text = messages[0].content %}{% if 'x' in text %}{{ raise_exception('no ' + text) }}{% endif %}"
                    "{{ {}[text].y }}")
        with chat_model(template) as model:
            _, gateway = self.start(model=model, gateway=("--log_format=json",))
            chats = [{"messages": [{"role": "user", "content": text}]} for text in (f"{marker} x", marker)]
            for path, body, said in (
                    ("/v1/completions", {"prompt": [[marker]]}, f'prompt[0][0] is \\"{marker}\\"'),
                    ("/v1/completions", {"prompt": "a", "stop": [marker * 30]}, "stop[0]"),
                    ("/v1/chat/completions", {"messages": marker}, f'messages is \\"{marker}\\"'),
                    ("/v1/chat/completions", chats[0], f"refuses the messages: no {marker} x"),
                    ("/v1/chat/completions", chats[1], f"UndefinedError: 'dict object' has no attribute '{marker}'"),
                    ("/v1/completions", '{"prompt": "' + marker, "JSON"),
                    ("/tokenize", {"prompt": {"a": marker}}, "prompt is an object")):
                answer = gateway.post(path, body)
                self.assertEqual(answer.status, 400, answer.body)
                self.assertIn(said, answer.error()["message"])
            self.assertEqual(gateway.stop(), 0)
        self.assertNotIn(marker, gateway.last_log)
        errors = [line["error"] for line in json_lines(gateway.last_log) if line.get("status") == 400]
        self.assertEqual(len(errors), 7)
        self.assertIn("prompt[0][0] is a string; it must be a whole number from 0 to 4294967295", errors)
        self.assertIn("the model's chat template refuses the messages", errors)

    def test_tls_asks_no_certificates_of_clients_unless_told_to(self):
        folder = pathlib.Path(self.enterContext(tempfile.TemporaryDirectory()))
        make_certificates(folder)
        gateway = Gateway("127.0.0.1:1", ready=False, flags=(f"--tls_cert={folder}/server.pem", f"--tls_key={folder}/server.key"))
        self.addCleanup(gateway.kill)
        connection = http.client.HTTPSConnection(gateway.address, timeout=60,
                                                 context=ssl.create_default_context(cafile=str(folder / "ca.pem")))
        connection.request("GET", "/healthz")
        self.assertEqual(connection.getresponse().status, 200)
        connection.close()

    def test_tls_with_certificates_of_clients_and_new_ones_of_its_own(self):
        folder = pathlib.Path(self.enterContext(tempfile.TemporaryDirectory()))
        make_certificates(folder)
        server = Server()
        self.addCleanup(server.kill)
        gateway = Gateway(server.address, ready=False, flags=(
            f"--tls_cert={folder}/server.pem", f"--tls_key={folder}/server.key", f"--tls_client_ca={folder}/ca.pem",
            "--credentials_reload_interval=50ms"))
        self.addCleanup(gateway.kill)
        port = gateway.address.rsplit(":", 1)[1]
        trust = ssl.create_default_context(cafile=str(folder / "ca.pem"))
        trust.load_cert_chain(folder / "client.pem", folder / "client.key")

        def connect(context: ssl.SSLContext) -> http.client.HTTPSConnection:
            connection = http.client.HTTPSConnection("localhost", int(port), context=context, timeout=60)
            connection.connect()
            return connection

        connection = connect(trust)
        for _ in range(3):  # on one connection
            connection.request("POST", "/v1/completions", json.dumps({**GREEDY, "stream": True}))
            answer = Answer(connection.getresponse())
            if answer.status != 503:
                self.assertEqual(len(answer.events()) > 0, True)
        connection.request("POST", "/v1/completions", "x" * (17 << 19))
        self.assertEqual(Answer(connection.getresponse()).status, 413)
        connection.close()
        # Neither without a certificate of its own nor in plaintext is anybody heard.
        with self.assertRaises((ssl.SSLError, OSError, http.client.HTTPException)):
            nobody = connect(ssl.create_default_context(cafile=str(folder / "ca.pem")))
            nobody.request("GET", "/healthz")
            nobody.getresponse()
        with self.assertRaises((OSError, http.client.HTTPException)):
            gateway.get("/healthz")
        first = connect(trust).sock.getpeercert()["serialNumber"]
        make_certificates(folder)
        trust = ssl.create_default_context(cafile=str(folder / "ca.pem"))
        trust.load_cert_chain(folder / "client.pem", folder / "client.key")

        def is_new() -> bool:
            try:
                return connect(trust).sock.getpeercert()["serialNumber"] != first
            except OSError:  # one of the files is the old one yet
                return False

        gateway.wait_until(is_new, "the new certificate is not shown")
        self.assertIn("credentials_reloaded", gateway.log())
        self.assertEqual(gateway.stop(), 0)

    def test_the_page_can_be_left_out(self):
        _, gateway = self.start(gateway=("--page=false",))
        for path in ("/", "/page/main.js", "/engine"):
            self.assertEqual(gateway.get(path).status, 404)

    def test_bad_flags_are_named(self):
        for flag, word in (("--listen=nowhere", "--listen"), ("--max_body_bytes=1", "--max_body_bytes"),
                           ("--server=", "--server"), ("--resume", "--attempts"), ("--no_such_flag", "--no_such_flag"),
                           ("--server_tls_ca=/no/such", "--server_tls_ca")):
            ran = subprocess.run([BIN / "recurve-gateway", flag], capture_output=True, text=True, timeout=60, check=False)
            self.assertEqual(ran.returncode, 2, ran.stderr)
            self.assertIn(word, ran.stderr)


if __name__ == "__main__":
    unittest.main()
