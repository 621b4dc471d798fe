# SPDX-License-Identifier: Apache-2.0
"""Requests drawn from all that they can ask for, on servers with drawn flags: what each gets alone, it gets under load,
by every way to ask for it, and where its stream goes on after a break.

RECURVE_DRAWN_SEEDS=7 or 7,8 repeats what failed.
"""

import concurrent.futures
import json
import os
import random
import unittest

import grpc

from tests.e2e.gateway import Gateway
from tests.e2e.harness import Server, pb, pb_grpc

SEEDS = [int(seed) for seed in os.environ.get("RECURVE_DRAWN_SEEDS", "1,2,3,4").split(",")]
VOCABULARY = 4096
RECURSIONS = 3
GROUPS = ("entry", "1", "2", "3", "exit")
TEXTS = ("def main():\n", "e\u0301\u200d\U0001F1E9\U0001F1EA \u65e5\u672c\u8a9e\u3000x", "import os\n" * 8, "\0", "<|endoftext|>")
WAITS = 120  # seconds for a call, on a busy machine


def draw_budget(draw: random.Random) -> dict:
    """Where every group gets a number of entries, the context does not end the stream."""
    groups = GROUPS if draw.random() < 0.6 else draw.sample(GROUPS, 3)
    share = 0.3 if draw.random() < 0.5 else 0
    limits = [f"{group}:{draw.choice((25, 50))}%" if draw.random() < share else f"{group}:{draw.choice((12, 16, 24))}"
              for group in groups]
    return {"eviction": draw.choice(("window", "attention", "router")), "budget": ",".join(limits)}


def draw_flags(draw: random.Random) -> tuple:
    """What changes bits, which all servers of a load have alike, and what does not."""
    bits = [f"--precision={draw.choice(('bf16', 'int8'))}", f"--kv_precision={draw.choice(('auto', 'int8', 'f32'))}",
            f"--max_context={draw.choice((96, 160))}", f"--evict_every={draw.choice((7, 16, 32, 256))}",
            f"--default_max_tokens={draw.choice((20, 200))}", "--kv_sinks=1", "--kv_recent=8"]
    if draw.random() < 0.25:
        budget = draw_budget(draw)
        bits += [f"--kv_eviction={budget['eviction']}", f"--kv_budget={budget['budget']}"]
    chunk = draw.choice((1, 16, 256))
    others = [f"--slots={draw.choice((3, 8))}", f"--areas={draw.choice((1, 3))}", f"--chunk={chunk}",
              f"--prompt_rows={max(chunk, 64)}", f"--policy={draw.choice(('staged', 'depthwise', 'lockstep'))}",
              f"--queue_depth={draw.choice((0, 1))}", f"--isa={draw.choice(('auto', 'avx2'))}",
              f"--max_preemptions={draw.choice((1, 100))}", f"--admission_headroom={draw.choice((0, 16))}",
              f"--block_rows={draw.choice(('auto', 2))}", f"--prefix_cache={draw.choice(('true', 'true', 'false'))}"]
    return bits, others


def draw_request(draw: random.Random, shared: list):
    def chance(share: float) -> bool:
        return draw.random() < share

    message = pb.GenerateRequest()
    if chance(0.25):
        message.text = draw.choice(TEXTS)
    else:
        ids = shared[:draw.choice((64, 70))] if chance(0.4) else []
        message.tokens.ids.extend(ids + [draw.randrange(VOCABULARY) for _ in range(draw.choice((1, 2, 10, 60, 95)))])
        message.tokens.ids[:] = message.tokens.ids[:95]
        if chance(0.2):
            message.generated_prefix = draw.randrange(len(message.tokens.ids) + 1)
    sampling = message.sampling
    sampling.seed = draw.getrandbits(64)
    for name, values in (("temperature", (0.7, 1, 5)), ("top_k", (1, 50)), ("top_p", (0.1, 0.9)), ("min_p", (0.05,)),
                         ("repetition_penalty", (0.5, 1.2)), ("presence_penalty", (-1, 1)),
                         ("frequency_penalty", (-1, 1))):
        if chance(0.7 if name == "temperature" else 0.2):
            setattr(sampling, name, draw.choice(values))
    if chance(0.1):
        sampling.logit_bias[draw.randrange(VOCABULARY)] = draw.choice((-1000, 5))
    if chance(0.85):
        message.stop.max_tokens = draw.choice((1, 2, 20, 60, 150))
    message.stop.ignore_eos = chance(0.6)
    message.stop.include_stop_string = chance(0.2)
    output = message.output
    output.logprobs = chance(0.3)
    output.top_logprobs = draw.choice((0, 0, 0, 3))
    output.prompt_logprobs = chance(0.15)
    output.prompt_depths = chance(0.3)
    output.skip_special_tokens = chance(0.8)
    if chance(0.2):
        message.recursion.max_recursions = draw.randrange(1, RECURSIONS + 1)
    if chance(0.2):
        message.recursion.router_threshold = draw.choice((0, 0.3, 0.7, 1))
    if chance(0.2):
        message.samples = draw.choice((2, 3))
    if chance(0.35):
        for name, value in draw_budget(draw).items():
            setattr(message.kv, name, value)
    message.prefix.cache_prompt = chance(0.85)
    message.prefix.cache_generated = chance(0.3)
    return message


class Sample:
    """All that was told of one sample."""

    def __init__(self):
        self.text, self.tokens, self.prompt_logprobs, self.usage, self.final = "", [], [], None, None

    def take(self, message) -> None:
        assert self.final is None, "a message after the last one"
        assert sum(token.text_bytes for token in message.tokens) == len(message.text.encode())
        self.text += message.text
        self.tokens += [token.SerializeToString(deterministic=True) for token in message.tokens]
        self.prompt_logprobs += [position.SerializeToString() for position in message.prompt_logprobs]
        self.usage = message.usage
        if message.HasField("final"):
            self.final = message.final

    def same(self) -> tuple:
        """What does not depend on when and where it was computed."""
        final = pb.FinalInfo()
        final.CopyFrom(self.final)
        for name in ("timings", "preemptions", "recomputed_tokens", "recompute_us", "cached_tokens"):
            final.ClearField(name)
        return (self.text, self.tokens, self.prompt_logprobs, self.usage.SerializeToString(),
                final.SerializeToString())


def collect(messages) -> dict:
    samples: dict = {}
    for message in messages:
        samples.setdefault(message.sample, Sample()).take(message)
    return samples


def ids_of(sample: Sample) -> list:
    return [pb.Token.FromString(token).id for token in sample.tokens]


class DrawnRequestsTest(unittest.TestCase):
    REQUESTS, CALLS, CLIENTS = 40, 120, 24

    def learn(self, draw: random.Random, server: Server) -> list:
        """Requests, and what each gets alone; some stop in their own text."""
        shared = [draw.randrange(VOCABULARY) for _ in range(70)]
        known = []
        while len(known) < self.REQUESTS:
            message = draw_request(draw, shared)
            try:
                alone = collect(server.stub.Generate(message, timeout=WAITS))
                text = alone[0].text
                if text and draw.random() < 0.4:
                    begin = draw.randrange(len(text))
                    message.stop.stop_strings.append(text[begin:begin + draw.choice((1, 5))])
                    alone = collect(server.stub.Generate(message, timeout=WAITS))
            except grpc.RpcError as refusal:  # as where prompt and new tokens exceed the context
                self.assertEqual(refusal.code(), grpc.StatusCode.INVALID_ARGUMENT, refusal.details())
                continue
            self.assertEqual(sorted(alone), list(range(max(1, message.samples))))
            known.append((message, alone))
            self.go_on(draw, server, message, alone[0])
        return known

    def go_on(self, draw: random.Random, server: Server, message, alone: Sample) -> None:
        """After a break anywhere, with the ids so far as `tokens`."""
        if message.WhichOneof("prompt") != "tokens" or not alone.tokens or alone.final.stop_string:
            return
        had = draw.randrange(len(alone.tokens))
        rest = pb.GenerateRequest()
        rest.CopyFrom(message)
        rest.samples = 1
        rest.tokens.ids.extend(ids_of(alone)[:had])
        rest.generated_prefix += had
        rest.output.prompt_logprobs = False
        if message.stop.HasField("max_tokens"):
            rest.stop.max_tokens -= had
        sample = collect(server.stub.Generate(rest, timeout=WAITS))[0]
        # Texts begin anew where a character or a stop string was cut.
        cut = [pb.Token.FromString(token) for token in sample.tokens + alone.tokens[had:]]
        for token in cut:
            token.ClearField("text_bytes")
        self.assertEqual(cut[:len(sample.tokens)], cut[len(sample.tokens):], f"broken after {had} tokens: {message}")
        self.assertEqual(sample.final.finish_reason, alone.final.finish_reason, message)

    def call(self, seed: int, server: Server, known: list) -> None:
        draw = random.Random(seed)
        message, alone = draw.choice(known)
        request = pb.GenerateRequest()
        request.CopyFrom(message)
        request.priority = draw.choice((pb.PRIORITY_HIGH, pb.PRIORITY_NORMAL, pb.PRIORITY_LOW))
        way = draw.choice(("stream", "stream", "whole", "cancel", "late"))
        with server.new_channel() as channel:
            stub = pb_grpc.GenerationServiceStub(channel)
            try:
                if way == "whole":
                    answer = stub.Complete(request, timeout=WAITS)
                    sample = Sample()
                    sample.take(answer)
                    sample.prompt_logprobs = alone[answer.sample].prompt_logprobs  # which are those of sample 0
                    self.assertEqual(sample.same(), alone[answer.sample].same(), message)
                    return
                stream = stub.Generate(request, timeout=draw.random() / 2 if way == "late" else WAITS)
                came = []
                for each in stream:
                    came.append(each)
                    if way == "cancel":
                        stream.cancel()
            except grpc.RpcError as error:
                ends = {"cancel": grpc.StatusCode.CANCELLED, "late": grpc.StatusCode.DEADLINE_EXCEEDED}
                self.assertEqual(error.code(), ends.get(way), error.details())
            for number, sample in collect(came if way != "whole" else []).items():
                if sample.final is not None:
                    self.assertEqual(sample.same(), alone[number].same(), message)
                self.assertEqual(sample.tokens, alone[number].tokens[:len(sample.tokens)], message)

    def test_under_load_each_gets_what_it_gets_alone(self):
        for seed in SEEDS:
            draw = random.Random(seed)
            bits, others = draw_flags(draw)
            with self.subTest(seed=seed, flags=" ".join(bits + others)):
                server = Server(*bits, "--slots=1", "--prefix_cache=false")
                self.addCleanup(server.kill)
                known = self.learn(draw, server)
                pages = server.load().kv_pages  # of one sequence that fills the context
                server.kill()
                server = Server(*bits, *others, f"--kv_pages={int(pages * draw.choice((1.05, 2)))}",
                                f"--max_queued_requests={4 * self.CALLS}", "--retry_pushback=1s")
                self.addCleanup(server.kill)
                with concurrent.futures.ThreadPoolExecutor(self.CLIENTS) as clients:
                    for done in [clients.submit(self.call, draw.getrandbits(32), server, known)
                                 for _ in range(self.CALLS)]:
                        done.result()
                server.wait_until_idle()
                self.check_account(server)
                self.assertEqual(server.stop(), 0)

    def check_account(self, server: Server) -> None:
        server.wait_until(lambda: server.metric("recurve_streams_open") == 0, "streams stay open")
        ended = server.metric("recurve_request_finished_total")
        calls = sum(server.metric("recurve_requests_total", method=method) for method in ("Generate", "Complete"))
        self.assertEqual(ended + server.metric("recurve_admission_rejections_total"), calls)
        for kind in ("prompt", "generation"):
            self.assertEqual(server.metric(f"recurve_request_{kind}_tokens_sum"),
                             server.metric(f"recurve_{kind}_tokens_total"), kind)


class DrawnAnswersTest(unittest.TestCase):
    """OpenAI's completions: a stream is the whole answer in pieces, and lists and figures fit the text."""
    REQUESTS = 60

    def draw(self, draw: random.Random) -> dict:
        def ids() -> list:
            return [draw.randrange(VOCABULARY) for _ in range(draw.choice((1, 2, 20)))]

        body = {"prompt": draw.choice((draw.choice(TEXTS), ids(), [ids(), ids()])), "seed": draw.getrandbits(63),
                "max_tokens": draw.choice((1, 5, 40)), "temperature": draw.choice((0, 1, 3))}
        for name, values in (("n", (2, 3)), ("logprobs", (0, 3)), ("echo", (True,)), ("ignore_eos", (True,)),
                             ("skip_special_tokens", (False,)), ("recurve", ({"depths": True},))):
            if draw.random() < 0.4:
                body[name] = draw.choice(values)
        if body.get("echo") and "logprobs" in body:
            body.pop("n", None)  # a stream cannot have all three
        return body

    def check(self, body: dict, choice: dict) -> None:
        lists, text = choice["logprobs"], choice["text"]
        if "recurve" in choice and not body.get("echo"):
            self.assertEqual("".join(token["text"] for token in choice["recurve"]["tokens"]), text, body)
        if lists is None:
            self.assertNotIn("logprobs", body)
            return
        self.assertEqual(len({len(values) for values in lists.values()}), 1, body)
        self.assertEqual(lists["text_offset"], sorted(lists["text_offset"]), body)
        self.assertLessEqual(lists["text_offset"][-1], len(text), body)
        if body.get("echo"):
            self.assertEqual([lists["token_logprobs"][0], lists["text_offset"][0]], [None, 0], body)

    def merge(self, events: list) -> tuple:
        """What a client makes of a stream: choices like those of a whole answer, and the usage."""
        choices: dict = {}
        for event in events[:-1]:
            self.assertGreater(event["usage"]["prompt_tokens"], 0)
            for part in event["choices"]:
                choice = choices.setdefault(part["index"], part)
                if choice is part:
                    continue
                self.assertIsNone(choice["finish_reason"])
                choice["text"] += part["text"]
                choice["finish_reason"] = part["finish_reason"]
                for name, values in (part["logprobs"] or {}).items():
                    choice["logprobs"][name] += values
                if "recurve" in part:
                    choice["recurve"]["tokens"] += part["recurve"]["tokens"]
        return [choices[index] for index in sorted(choices)], events[-1]["usage"]

    def test_streams_are_whole_answers_in_pieces(self):
        server = Server("--slots=8", "--max_context=128", "--prefix_cache=false")
        self.addCleanup(server.kill)
        gateway = Gateway(server.address)
        self.addCleanup(gateway.kill)
        for seed in SEEDS:
            draw = random.Random(seed)
            for _ in range(self.REQUESTS):
                body = self.draw(draw)
                answer = gateway.post("/v1/completions", body)
                self.assertEqual(answer.status, 200, answer.body)
                whole = answer.json()
                for choice in whole["choices"]:
                    self.check(body, choice)
                body |= {"stream": True, "stream_options": {"include_usage": True, "continuous_usage_stats": True}}
                choices, usage = self.merge(gateway.post("/v1/completions", body).events())
                self.assertEqual(choices, whole["choices"], f"seed {seed}: {json.dumps(body)}")
                self.assertEqual(usage, whole["usage"], f"seed {seed}: {json.dumps(body)}")


if __name__ == "__main__":
    unittest.main()
