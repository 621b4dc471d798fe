# SPDX-License-Identifier: Apache-2.0
"""recurve-gateway in front of real servers, by the bytes of HTTP."""

import json
import pathlib
import socket
import unittest

from tests.e2e.gateway import TEMPLATE, Gateway, chat_model
from tests.e2e.harness import Collected, Server, json_lines, request

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
        # A call is counted, and in the log, after its client has the answer.
        self.gateway.wait_until(
            lambda: 'recurve_gateway_calls_total{path="/engine",status="200"}' in self.gateway.metrics(), "/engine is not counted")
        self.assertNotIn('path="/page/main.js"', self.gateway.metrics())
        self.gateway.get("/v1/models", **{"X-Request-Id": "behind-the-engine"})
        self.gateway.wait_until(lambda: "behind-the-engine" in self.gateway.log(), "the call is not in the log")
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


if __name__ == "__main__":
    unittest.main()
