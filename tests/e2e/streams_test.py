# SPDX-License-Identifier: Apache-2.0
"""What streams say and how they end, seen by a gRPC client in Python."""

import threading
import unittest

import grpc

from tests.e2e.harness import ROOT, Collected, Server, pb, request

PROMPT = "import os\n\n\ndef main(argv):\n    "


class StreamsTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.server = Server("--slots=8", "--precision=f32")
        cls.stub = cls.server.stub
        cls.info = cls.stub.GetModelInfo(pb.GetModelInfoRequest())

    @classmethod
    def tearDownClass(cls):
        code = cls.server.stop()
        assert code == 0, f"exit code {code}\n{cls.server.scratch_log}"

    def generate(self, message, **kwargs) -> Collected:
        return Collected(self.stub.Generate(message, **kwargs))

    def test_stream_tells_tokens_text_depths_and_the_end(self):
        result = self.generate(request(PROMPT, max_tokens=40, stop={"ignore_eos": True}))
        self.assertEqual(len(result.tokens), 40)
        self.assertEqual(result.usage.generated_tokens, 40)
        self.assertGreater(result.usage.prompt_tokens, 5)
        self.assertEqual({m.usage.prompt_tokens for m in result.messages}, {result.usage.prompt_tokens})
        self.assertEqual(result.final.finish_reason, pb.FINISH_REASON_LENGTH)
        self.assertEqual(sum(t.text_bytes for t in result.tokens), len(result.text.encode()))
        self.assertTrue(all(1 <= d <= self.info.num_recursions for d in result.depths))
        by_depth = list(result.final.generated_depth.tokens_by_depth)
        self.assertEqual(by_depth, [result.depths.count(d + 1) for d in range(len(by_depth))])
        # The rows of generated tokens: a token's depth is that of the row before it.
        rows = result.depths[1:]
        self.assertAlmostEqual(result.final.generated_depth.mean_depth, sum(rows) / len(rows))
        self.assertGreater(result.final.timings.total_us, 0)
        self.assertEqual([m.HasField("final") for m in result.messages[:-1]].count(True), 0)

    def test_the_bundled_model_has_learned_to_route(self):
        """On Python that it has not seen, our own, neither none nor all tokens recur again."""
        sources = sorted((ROOT / "tools").rglob("*.py"))
        text = "".join(source.read_text(encoding="utf-8") for source in sources)
        ids = self.stub.Tokenize(pb.TokenizeRequest(text=text)).ids
        by_depth = [0] * self.info.num_recursions
        for begin in range(0, 8000, 1000):
            result = self.generate(request(ids=ids[begin:begin + 1000], max_tokens=1))
            for i, tokens in enumerate(result.final.prompt_depth.tokens_by_depth):
                by_depth[i] += tokens
        self.assertEqual(sum(by_depth), 8000)
        for recursion in range(1, len(by_depth)):
            share = sum(by_depth[recursion:]) / 8000
            self.assertTrue(0.15 <= share <= 0.85, f"recursion {recursion + 1}: {share}")

    def test_complete_is_the_whole_stream(self):
        message = request(PROMPT, max_tokens=30, sampling={"temperature": 0.8, "seed": 5})
        stream = self.generate(message)
        whole = self.stub.Complete(message)
        self.assertEqual(whole.text, stream.text)
        self.assertEqual([t.id for t in whole.tokens], stream.ids)
        self.assertEqual(whole.final.seed, 5)

    def test_text_of_ids_is_what_detokenize_says(self):
        result = self.generate(request(PROMPT, max_tokens=60))
        text = self.stub.Detokenize(pb.DetokenizeRequest(ids=result.ids)).text
        self.assertEqual(text, result.text)
        ids = self.stub.Tokenize(pb.TokenizeRequest(text=PROMPT)).ids
        by_ids = self.generate(request(ids=ids, max_tokens=60))
        self.assertEqual(by_ids.ids, result.ids)

    def test_a_seed_gives_the_same_text_alone_and_in_a_crowd(self):
        def message(seed):
            return request(PROMPT, max_tokens=32,
                           sampling={"temperature": 0.9, "top_p": 0.95, "seed": seed})
        alone = [self.generate(message(seed)).ids for seed in range(12)]
        crowd = [None] * 12

        def run(seed):
            crowd[seed] = self.generate(message(seed)).ids
        threads = [threading.Thread(target=run, args=(seed,)) for seed in range(12)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        self.assertEqual(crowd, alone)
        self.assertGreater(len({tuple(ids) for ids in alone}), 6)

    def test_a_server_drawn_seed_repeats_the_text(self):
        first = self.generate(request(PROMPT, max_tokens=20, sampling={"temperature": 1.0}))
        again = self.generate(request(PROMPT, max_tokens=20, sampling={
            "temperature": 1.0, "seed": first.final.seed}))
        self.assertEqual(again.ids, first.ids)

    def test_samples_are_what_their_seeds_give_alone_and_complete_is_the_best(self):
        for tenant, output in enumerate(
                ({"logprobs": True}, {"logprobs": True, "prompt_logprobs": True})):
            # More than 64 tokens, so that there are pages to share.
            message = request(8 * PROMPT, max_tokens=25, sampling={"temperature": 1.0, "seed": 8},
                              output=output, samples=3)
            samples = self.samples(message, f"of samples {tenant}")
            self.assertEqual(len(samples), 3)
            self.assertEqual([s.final.cached_tokens for s in samples], [0, 64, 64])
            self.assertEqual(len({tuple(sample.ids) for sample in samples}), 3)
            self.assertEqual(samples[0].final.seed, 8)
            for sample in samples:
                alone = self.generate(request(8 * PROMPT, max_tokens=25, sampling={
                    "temperature": 1.0, "seed": sample.final.seed}))
                self.assertEqual(sample.ids, alone.ids)
                self.assertEqual(sample.text, alone.text)
            for sample in samples[1:]:
                self.assertFalse(any(m.prompt_logprobs for m in sample.messages))
            sums = [sum(t.logprobs.logprob for t in sample.tokens) for sample in samples]
            message.output.logprobs = False
            whole = self.stub.Complete(message)
            best = max(range(3), key=lambda i: sums[i])
            self.assertEqual(whole.sample, best)
            self.assertAlmostEqual(whole.cumulative_logprob, sums[best])
            self.assertEqual([t.id for t in whole.tokens], samples[best].ids)
            self.assertEqual(whole.final.seed, samples[best].final.seed)
            self.assertFalse(any(t.HasField("logprobs") for t in whole.tokens))
            self.assertEqual(len(whole.prompt_logprobs), (
                whole.usage.prompt_tokens - 1 if message.output.prompt_logprobs else 0))

    def samples(self, message, tenant) -> list:
        """The samples of one stream, each as Collected; none goes on after its `final`."""
        messages = {}
        for part in self.stub.Generate(message, metadata=[("x-recurve-tenant", tenant)]):
            before = messages.setdefault(part.sample, [])
            self.assertFalse(before and before[-1].HasField("final"))
            before.append(part)
        return [Collected(messages[sample]) for sample in sorted(messages)]

    def test_a_broken_stream_goes_on_exactly(self):
        sampling = {"temperature": 0.9, "seed": 3, "presence_penalty": 0.4,
                    "frequency_penalty": 0.2, "repetition_penalty": 1.1}
        stop = {"ignore_eos": True}
        ids = list(self.stub.Tokenize(pb.TokenizeRequest(text=PROMPT)).ids)
        whole = self.generate(request(ids=ids, max_tokens=40, sampling=sampling, stop=stop))
        for broken_after in (1, 17, 39):
            rest = self.generate(request(
                ids=ids + whole.ids[:broken_after], generated_prefix=broken_after,
                max_tokens=40 - broken_after, sampling=sampling, stop=stop))
            self.assertEqual(rest.ids, whole.ids[broken_after:])

    def test_stop_string_is_cut_off_or_included(self):
        whole = self.generate(request(PROMPT, max_tokens=60, stop={"ignore_eos": True}))
        middle = whole.text[len(whole.text) // 2:][:4]
        where = whole.text.index(middle)
        cut = self.generate(request(PROMPT, max_tokens=60, stop={
            "ignore_eos": True, "stop_strings": ["no such text", middle]}))
        self.assertEqual(cut.text, whole.text[:where])
        self.assertEqual(cut.final.finish_reason, pb.FINISH_REASON_STOP_STRING)
        self.assertEqual(cut.final.stop_string, middle)
        self.assertGreaterEqual(cut.usage.generated_tokens, len(cut.tokens))
        kept = self.generate(request(PROMPT, max_tokens=60, stop={
            "ignore_eos": True, "stop_strings": [middle], "include_stop_string": True}))
        self.assertEqual(kept.text, whole.text[:where + len(middle)])

    def test_stop_token_and_min_tokens(self):
        whole = self.generate(request(PROMPT, max_tokens=30, stop={"ignore_eos": True}))
        stop = whole.ids[4]
        result = self.generate(request(PROMPT, max_tokens=30, stop={
            "ignore_eos": True, "stop_token_ids": [stop]}))
        self.assertEqual(result.ids, whole.ids[:whole.ids.index(stop) + 1])
        self.assertEqual(result.final.finish_reason, pb.FINISH_REASON_STOP_TOKEN)
        self.assertEqual(result.final.stop_token_id, stop)
        later = self.generate(request(PROMPT, max_tokens=30, stop={
            "ignore_eos": True, "stop_token_ids": [stop], "min_tokens": 20}))
        self.assertGreaterEqual(later.usage.generated_tokens, 20)

    def test_prompt_logprobs_are_those_of_generating(self):
        ids = list(self.stub.Tokenize(pb.TokenizeRequest(text=PROMPT)).ids)
        result = self.generate(request(ids=ids, max_tokens=20, stop={"ignore_eos": True},
                                       output={"logprobs": True, "top_logprobs": 3}))
        scored = self.generate(request(ids=ids + result.ids, max_tokens=0, output={
            "prompt_logprobs": True, "top_logprobs": 3, "prompt_depths": True}))
        self.assertEqual(scored.tokens, [])
        positions = [p for m in scored.messages for p in m.prompt_logprobs]
        self.assertEqual(len(positions), len(ids) + 19)
        for token, position in zip(result.tokens, positions[len(ids) - 1:]):
            self.assertEqual(token.logprobs.logprob, position.logprob)
            self.assertEqual([t.id for t in token.logprobs.top], [t.id for t in position.top])
            self.assertEqual(token.logprobs.top[0].id, token.id)  # greedy
        self.assertEqual(list(scored.final.prompt_token_depths)[len(ids) - 1:], result.depths)

    def test_knobs_limit_the_depth(self):
        shallow = self.generate(request(PROMPT, max_tokens=20, recursion={"max_recursions": 1}))
        self.assertEqual(set(shallow.depths), {1})
        deep = self.generate(request(PROMPT, max_tokens=20, recursion={"router_threshold": 0.0}))
        self.assertEqual(set(deep.depths), {self.info.num_recursions})
        never = self.generate(request(PROMPT, max_tokens=20, recursion={"router_threshold": 1.0}))
        self.assertEqual(set(never.depths), {1})
        self.assertEqual(never.ids, shallow.ids)

    def test_cancelled_stream_gives_everything_back(self):
        call = self.stub.Generate(request(PROMPT, max_tokens=500, stop={"ignore_eos": True}))
        next(call)
        call.cancel()
        with self.assertRaises(grpc.RpcError) as caught:
            list(call)
        self.assertEqual(caught.exception.code(), grpc.StatusCode.CANCELLED)
        self.server.wait_until_idle()

    def test_deadline_and_time_limit(self):
        message = request(PROMPT, max_tokens=900, stop={"ignore_eos": True})
        with self.assertRaises(grpc.RpcError) as caught:
            list(self.stub.Generate(message, timeout=0.05))
        self.assertEqual(caught.exception.code(), grpc.StatusCode.DEADLINE_EXCEEDED)
        message.time_limit_ms = 50
        limited = self.generate(message)
        self.assertEqual(limited.final.finish_reason, pb.FINISH_REASON_TIME_LIMIT)
        self.assertLess(limited.usage.generated_tokens, 900)
        self.server.wait_until_idle()

    def test_what_prompts_have_in_common_is_computed_once(self):
        def answer(text, tenant, **fields):
            message = request(text, max_tokens=24, stop={"ignore_eos": True}, **fields)
            return self.generate(message, metadata=(("x-recurve-tenant", tenant),))

        common = "".join(f"def function_{i}(argument):\n    return {i}\n\n" for i in range(12))
        first = answer(common + "def one(", "a")
        self.assertEqual(first.final.cached_tokens, 0)
        hits = self.server.metric("recurve_prefix_cache_hits_total")
        second = answer(common + "class Two:", "a")
        self.assertGreaterEqual(second.final.cached_tokens, 128)
        self.assertEqual(second.final.cached_tokens % 64, 0)
        self.assertEqual(self.server.metric("recurve_prefix_cache_hits_total"),
                         hits + second.final.cached_tokens)
        alone = answer(common + "class Two:", "a", prefix={"cache_prompt": False})
        self.assertEqual(alone.final.cached_tokens, 0)
        self.assertEqual(second.ids, alone.ids)
        self.assertEqual(second.depths, alone.depths)
        self.assertEqual(second.final.prompt_depth, alone.final.prompt_depth)
        self.assertEqual(answer(common + "class Two:", "b").final.cached_tokens, 0)
        other_knobs = answer(common + "class Two:", "a", recursion={"max_recursions": 2})
        self.assertEqual(other_knobs.final.cached_tokens, 0)

    def test_an_answer_is_the_beginning_of_the_next_prompt(self):
        prompt = list(self.stub.Tokenize(pb.TokenizeRequest(text=PROMPT)).ids)
        first = self.generate(request(ids=prompt, max_tokens=150, stop={"ignore_eos": True},
                                      prefix={"cache_generated": True}))
        follow_up = prompt + first.ids + [5]
        second = self.generate(request(ids=follow_up, max_tokens=5))
        # The last generated token never became a row.
        self.assertEqual(second.final.cached_tokens, (len(prompt) + 149) // 64 * 64)
        alone = self.generate(request(ids=follow_up, max_tokens=5, prefix={"cache_prompt": False}))
        self.assertEqual(second.ids, alone.ids)

    def test_context_limit(self):
        ids = [1] * (self.info.max_context - 5)
        result = self.generate(request(ids=ids, stop={"ignore_eos": True}))
        self.assertEqual(result.final.finish_reason, pb.FINISH_REASON_CONTEXT_LIMIT)
        self.assertEqual(result.usage.generated_tokens, 5)

    def test_bad_requests_name_field_and_limit(self):
        cases = [
            (pb.GenerateRequest(), "prompt"),
            (request(""), "prompt"),
            (request(ids=[10**9]), str(self.info.vocab_size)),
            (request(PROMPT, sampling={"temperature": -1.0}), "temperature"),
            (request(PROMPT, sampling={"top_p": 0.0}), "top_p"),
            (request(PROMPT, stop={"stop_strings": [""]}), "stop_strings"),
            (request(PROMPT, stop={"stop_strings": ["x"] * 100}), "stop_strings"),
            (request(PROMPT, output={"top_logprobs": 1000}), "top_logprobs"),
            (request(PROMPT, recursion={"max_recursions": 99}), "max_recursions"),
            (request(PROMPT, recursion={"router_threshold": 2.0}), "router_threshold"),
            (request(PROMPT, max_tokens=10**6), str(self.info.max_context)),
            (request(PROMPT, samples=17), "samples"),
        ]
        for message, words in cases:
            with self.subTest(words=words), self.assertRaises(grpc.RpcError) as caught:
                list(self.stub.Generate(message))
            self.assertEqual(caught.exception.code(), grpc.StatusCode.INVALID_ARGUMENT)
            self.assertIn(words, caught.exception.details())

    def test_request_id_is_echoed(self):
        call = self.stub.Generate(request(PROMPT, max_tokens=2),
                                  metadata=[("x-request-id", "e2e-4711")])
        self.assertIn(("x-request-id", "e2e-4711"), list(call.initial_metadata()))
        list(call)
        self.server.wait_until(lambda: "e2e-4711" in self.server.log(), "no line in the log")
        self.assertNotIn("import os", self.server.log())

    def test_health_names(self):
        self.assertTrue(self.server.healthy(""))
        self.assertTrue(self.server.healthy("recurve.v1.GenerationService"))
        self.assertFalse(self.server.healthy("no.such.Service"))


if __name__ == "__main__":
    unittest.main()
