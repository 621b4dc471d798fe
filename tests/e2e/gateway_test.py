# SPDX-License-Identifier: Apache-2.0
"""recurve-gateway in front of real servers, by the bytes of HTTP."""

import hashlib
import http.client
import json
import os
import pathlib
import signal
import socket
import ssl
import subprocess
import tempfile
import unittest

import grpc

from tests.e2e.gateway import TEMPLATE, Answer, Gateway, chat_model
from tests.e2e.harness import BIN, Collected, Server, json_lines, request
from tests.e2e.security_test import SecureServer, make_certificates, new_token

PROMPT = "import os\n"
GREEDY = {"prompt": PROMPT, "max_tokens": 12, "temperature": 0}


class GatewayTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.model = chat_model()
        cls.server = Server("--slots=8", "--precision=f32", model=cls.model.__enter__())
        cls.gateway = Gateway(cls.server.address, flags=("--max_body_bytes=100000", "--log_format=json"))
        cls.own = Collected(cls.server.stub.Generate(request(PROMPT, max_tokens=12, output={"logprobs": True})))

    @classmethod
    def tearDownClass(cls):
        assert cls.gateway.stop() == 0, cls.gateway.last_log
        cls.server.wait_until_idle()
        assert cls.server.stop() == 0, cls.server.scratch_log
        cls.model.__exit__(None, None, None)

    def complete(self, **fields) -> dict:
        answer = self.gateway.post("/v1/completions", {**GREEDY, **fields})
        self.assertEqual(answer.status, 200, answer.body)
        return answer.json()

    def test_a_completion_is_what_the_server_says(self):
        answer = self.complete(model="chatty", user="somebody")
        self.assertEqual(answer["object"], "text_completion")
        self.assertEqual(answer["model"], "chatty")
        choice, = answer["choices"]
        self.assertEqual((choice["index"], choice["text"], choice["finish_reason"], choice["logprobs"]),
                         (0, self.own.text, "length", None))
        usage = answer["usage"]
        self.assertEqual(usage["completion_tokens"], 12)
        self.assertEqual(usage["total_tokens"], usage["prompt_tokens"] + 12)

    def test_a_stream_brings_the_same(self):
        answer = self.gateway.post("/v1/completions", {
            **GREEDY, "stream": True, "n": 2, "stream_options": {"include_usage": True}})
        self.assertEqual(answer.status, 200)
        self.assertTrue(answer.headers["Content-Type"].startswith("text/event-stream"))
        *chunks, usage = answer.events()
        texts = ["", ""]
        reasons = [None, None]
        for chunk in chunks:
            choice, = chunk["choices"]
            texts[choice["index"]] += choice["text"]
            reasons[choice["index"]] = choice["finish_reason"]
        self.assertEqual(texts, [self.own.text] * 2)
        self.assertEqual(reasons, ["length"] * 2)
        self.assertEqual(usage["choices"], [])
        self.assertEqual(usage["usage"]["completion_tokens"], 24)

    def test_several_prompts_of_texts_or_ids(self):
        texts = ["import os\n", "class A:\n", "def f(x):\n"]
        alone = [self.complete(prompt=text)["choices"][0]["text"] for text in texts]
        together = self.complete(prompt=texts, n=2)
        self.assertEqual([choice["text"] for choice in together["choices"]],
                         [text for text in alone for _ in range(2)])
        self.assertEqual([choice["index"] for choice in together["choices"]], list(range(6)))
        ids = [self.gateway.post("/tokenize", {"prompt": text}).json()["tokens"] for text in texts]
        self.assertEqual([choice["text"] for choice in self.complete(prompt=ids)["choices"]], alone)
        self.assertEqual(self.complete(prompt=ids[0])["choices"][0]["text"], alone[0])

    def test_echo_with_logprobs_as_evaluation_harnesses_ask(self):
        messages = self.server.stub.Generate(request(
            PROMPT, max_tokens=1, output={"prompt_logprobs": True, "top_logprobs": 1}))
        own = Collected(messages)
        logprobs = [one.logprob for message in own.messages for one in message.prompt_logprobs]
        ids = self.gateway.post("/tokenize", {"prompt": PROMPT}).json()["tokens"]
        for prompt in (PROMPT, ids):
            for stream in (False, True):
                with self.subTest(prompt=prompt, stream=stream):
                    body = {"prompt": prompt, "max_tokens": 1, "temperature": 0, "logprobs": 1, "echo": True,
                            "stream": stream}
                    answer = self.gateway.post("/v1/completions", body)
                    choices = [event["choices"][0] for event in answer.events()] if stream else answer.json()["choices"]
                    text = "".join(choice["text"] for choice in choices)
                    lists = {name: [value for choice in choices for value in choice["logprobs"][name]]
                             for name in choices[0]["logprobs"]}
                    self.assertEqual(text, PROMPT + own.text)
                    self.assertEqual("".join(lists["tokens"]), text)
                    self.assertIsNone(lists["token_logprobs"][0])
                    for ours, theirs in zip(logprobs, lists["token_logprobs"][1:]):
                        self.assertAlmostEqual(ours, theirs, places=5)
                    self.assertEqual(len(lists["token_logprobs"]), len(ids) + 1)
                    for token, logprob, top in zip(*(lists[name][1:] for name in (
                            "tokens", "token_logprobs", "top_logprobs"))):
                        self.assertEqual(top[token], logprob)
                        self.assertGreaterEqual(max(top.values()), logprob)
        nothing_new = self.complete(max_tokens=0, logprobs=1, echo=True)["choices"][0]
        self.assertEqual(nothing_new["text"], PROMPT)
        self.assertEqual(len(nothing_new["logprobs"]["tokens"]), len(ids))
        self.assertEqual(self.complete(max_tokens=0, echo=True)["choices"][0]["text"], PROMPT)

    def test_sampling_stops_and_seeds(self):
        hot = {"temperature": 1, "seed": 7, "max_tokens": 40}
        text = self.complete(**hot)["choices"][0]["text"]
        self.assertEqual(self.complete(**hot)["choices"][0]["text"], text)
        self.assertNotEqual(self.complete(**{**hot, "seed": 8})["choices"][0]["text"], text)
        stop = text[5:8]
        choice = self.complete(**hot, stop=stop)["choices"][0]
        self.assertEqual((choice["text"], choice["finish_reason"]), (text[:text.index(stop)], "stop"))
        first = self.own.ids[0]
        banned = self.complete(logit_bias={str(first): -100}, logprobs=0)["choices"][0]
        self.assertNotEqual(banned["text"], self.own.text)

    def test_a_chat_is_a_completion_of_what_its_template_says(self):
        messages = [{"role": "system", "content": "Write code."}, {"role": "user", "content": "Go"}]
        prompt = "import os\n# system: Write code.\n# user: Go\n# assistant:"
        expected = Collected(self.server.stub.Generate(request(prompt, max_tokens=12, add_special_tokens=False)))
        body = {"model": "chatty", "messages": messages, "max_completion_tokens": 12, "temperature": 0}
        answer = self.gateway.post("/v1/chat/completions", body)
        self.assertEqual(answer.status, 200, answer.body)
        choice, = answer.json()["choices"]
        self.assertEqual(choice["message"]["content"], expected.text)
        events = self.gateway.post("/v1/chat/completions", {**body, "stream": True}).events()
        self.assertEqual(events[0]["choices"][0]["delta"]["role"], "assistant")
        self.assertEqual("".join(event["choices"][0]["delta"].get("content", "") for event in events), expected.text)
        self.assertEqual(events[-1]["choices"][0]["finish_reason"], "length")
        tokens = self.gateway.post("/tokenize", {"messages": messages}).json()
        self.assertEqual(self.gateway.post("/detokenize", {"tokens": tokens["tokens"]}).json()["prompt"], prompt)

    def test_models_and_tokens(self):
        model, = self.gateway.get("/v1/models").json()["data"]
        self.assertEqual((model["id"], model["object"], model["max_model_len"]), ("chatty", "model", 1024))
        self.assertEqual(self.gateway.get("/v1/models/chatty").json()["id"], "chatty")
        self.assertEqual(self.gateway.get("/v1/models/other").status, 404)
        told = self.gateway.get("/tokenizer_info").json()
        self.assertEqual(told, {"bos_token": "import os\n", "eos_token": "<|endoftext|>", "chat_template": TEMPLATE,
                                "model_max_length": 1024})
        tokens = self.gateway.post("/tokenize", {"prompt": PROMPT, "return_token_strs": True}).json()
        self.assertEqual("".join(tokens["token_strs"]), PROMPT)
        self.assertEqual(tokens["count"], len(tokens["tokens"]))

    def test_depths_are_told_on_request(self):
        answer = self.complete(logprobs=0, recurve={"depths": True})
        tokens = answer["choices"][0]["recurve"]["tokens"]
        self.assertEqual([(token["id"], token["depth"]) for token in tokens], list(zip(self.own.ids, self.own.depths)))
        self.assertEqual("".join(token["text"] for token in tokens), self.own.text)
        self.assertEqual([token["logprob"] for token in tokens],
                         answer["choices"][0]["logprobs"]["token_logprobs"])
        self.assertGreater(len(set(self.own.depths)), 1)
        messages = [{"role": "user", "content": "Go"}]
        for path, prompt in (("/v1/completions", {"prompt": PROMPT}), ("/v1/chat/completions", {"messages": messages})):
            chunks = self.gateway.post(path, {**prompt, "max_tokens": 12, "temperature": 0, "stream": True,
                                              "recurve": {"depths": True, "max_recursions": 1}}).events()
            depths = [token["depth"] for chunk in chunks for token in chunk["choices"][0]["recurve"]["tokens"]]
            self.assertEqual(depths, [1] * 12)
        self.assertNotIn("recurve", self.complete()["choices"][0])
        for field, value in (("max_recursions", 9), ("router_threshold", 2), ("adaptive_min", 0)):
            answer = self.gateway.post("/v1/completions", {**GREEDY, "recurve": {field: value}})
            self.assertEqual((answer.status, answer.error()["param"]), (400, f"recurve.{field}"), answer.body)
            self.assertTrue(answer.error()["message"].startswith(f"recurve.{field} is {value}"), answer.body)

    def test_the_page_and_its_figures(self):
        page = self.gateway.get("/")
        self.assertEqual((page.status, page.headers["Content-Type"]), (200, "text/html; charset=utf-8"))
        self.assertIn("default-src 'none'", page.headers["Content-Security-Policy"])
        self.assertNotRegex(page.body, r"<script(?! type=\"module\" src)|<style|style=|\son[a-z]+=|https?:")
        head = self.gateway.ask("HEAD", "/")
        self.assertEqual((head.status, head.body, head.headers["Content-Length"], head.headers["ETag"]),
                         (200, "", str(len(page.body.encode())), page.headers["ETag"]))
        again = self.gateway.get("/", **{"If-None-Match": page.headers["ETag"]})
        self.assertEqual((again.status, again.body), (304, ""))
        self.assertEqual(self.gateway.post("/", "{}").status, 405)
        self.assertEqual(self.gateway.get("/page/nothing.js").status, 404)
        engine = self.gateway.get("/engine")
        self.assertEqual(engine.headers["Cache-Control"], "no-store")
        server, = engine.json()["servers"]
        self.assertEqual(server["load"]["slots"], 8)
        self.assertEqual(len(server["load"]["generated_rows_by_depth"]), engine.json()["model"]["num_recursions"])
        self.assertIn('recurve_gateway_calls_total{path="/engine",status="200"}', self.gateway.metrics())
        self.assertNotIn('path="/page/main.js"', self.gateway.metrics())
        self.assertNotIn("/engine", self.gateway.log())  # it is asked for all the time

    def test_errors_have_openais_form_and_name_the_parameter(self):
        for fields, status, param in (
                ({"suffix": "x"}, 400, "suffix"), ({"tmperature": 1}, 400, "tmperature"),
                ({"temperature": -5}, 400, "temperature"), ({"n": 99}, 400, "n"), ({"top_p": 2}, 400, "top_p"),
                ({"stop": ["x"] * 99}, 400, "stop"), ({"logprobs": 99}, 400, "logprobs"),
                ({"prompt": ""}, 400, "prompt"), ({"prompt": [[1]] * 200, "n": 2}, 400, "prompt"),
                ({"max_tokens": 0}, 400, "max_tokens"), ({"model": "other"}, 404, "model")):
            with self.subTest(**fields):
                answer = self.gateway.post("/v1/completions", {**GREEDY, **fields})
                error = answer.error()
                self.assertEqual((answer.status, error["param"]), (status, param), error)
                self.assertEqual(error["type"], "invalid_request_error")
                self.assertIn(param, error["message"])
        for method, path, body, status in (
                ("POST", "/v1/completions", "{", 400), ("POST", "/v1/completions", b"\xff", 400),
                ("GET", "/v1/completions", None, 405), ("POST", "/v1/models", "{}", 405), ("GET", "/nothing", None, 404),
                ("POST", "/v1/chat/completions", json.dumps({"messages": [{"content": "x"}]}), 400)):
            answer = self.gateway.ask(method, path, body)
            self.assertEqual(answer.status, status, answer.body)
            self.assertTrue(answer.error()["message"])
        self.assertEqual(self.gateway.post("/v1/completions", "x" * 100001).status, 413)

    def test_a_client_that_goes_ends_its_call(self):
        connection = self.gateway.connect()
        connection.request("POST", "/v1/completions", json.dumps(
            {"prompt": [PROMPT] * 4, "max_tokens": 1000, "ignore_eos": True, "stream": True}))
        response = connection.getresponse()
        self.assertTrue(response.readline().startswith(b"data: "))
        connection.sock.shutdown(socket.SHUT_RDWR)
        response.close()
        connection.close()
        self.server.wait_until_idle()
        waiting = self.gateway.connect()  # also one that waits for a whole answer
        waiting.request("POST", "/v1/completions", json.dumps(
            {"prompt": PROMPT, "max_tokens": 1000, "ignore_eos": True}))
        self.server.wait_until(lambda: self.server.load().requests_running > 0, "the call did not begin")
        waiting.close()
        self.server.wait_until_idle()

    def test_ids_traces_logs_and_metrics(self):
        trace = "0af7651916cd43dd8448eb211c80319c"
        answer = self.gateway.post("/v1/completions", {**GREEDY, "user": "somebody"}, **{
            "X-Request-Id": "mine-1", "traceparent": f"00-{trace}-b7ad6b7169203331-01"})
        self.assertEqual(answer.headers["X-Request-Id"], "mine-1")
        self.assertEqual(answer.json()["id"], "cmpl-mine-1")
        self.gateway.wait_until(lambda: "mine-1" in self.gateway.log(), "the call is not in the log")
        line, = (one for one in json_lines(self.gateway.log()) if one.get("id") == "mine-1")
        self.assertEqual((line["event"], line["path"], line["status"], line["user"], line["trace_id"]),
                         ("request", "/v1/completions", 200, "somebody", trace))
        self.assertNotIn(PROMPT.strip(), self.gateway.log())
        self.server.wait_until(lambda: "mine-1" in self.server.log(), "the server did not hear the id")
        self.assertIn(f"trace_id={trace}", self.server.log())
        metrics = self.gateway.metrics()
        self.assertIn('recurve_gateway_calls_total{path="/v1/completions",status="200"}', metrics)
        self.assertIn("recurve_gateway_connections_open", metrics)
        self.assertIn("recurve_gateway_ready 1", metrics)
        for name in (line.split()[2] for line in metrics.splitlines() if line.startswith("# TYPE")):
            if name.startswith("recurve_gateway"):
                self.assertIn(name, (pathlib.Path(__file__).parents[2] / "docs" / "gateway.md").read_text())


class GatewayAndServersTest(unittest.TestCase):
    """What needs a server of its own."""

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
