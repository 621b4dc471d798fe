# SPDX-License-Identifier: Apache-2.0
"""recurve-gateway driven by OpenAI's own Python package."""

import asyncio
import unittest

import openai

from tests.e2e.gateway import Gateway, chat_model
from tests.e2e.harness import Collected, Server, request

PROMPT = "import os\n"
MESSAGES = [{"role": "user", "content": "Go"}]


class OpenAiTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.model = chat_model()
        cls.server = Server("--slots=2", "--precision=f32", "--max_queued_requests=2",
                            model=cls.model.__enter__())
        cls.gateway = Gateway(cls.server.address)
        cls.options = {"base_url": f"http://{cls.gateway.address}/v1", "api_key": "none", "max_retries": 0, "timeout": 120}
        cls.client = openai.OpenAI(**cls.options)
        cls.text = Collected(cls.server.stub.Generate(request(PROMPT, max_tokens=12))).text

    @classmethod
    def tearDownClass(cls):
        cls.client.close()
        assert cls.gateway.stop() == 0, cls.gateway.last_log
        cls.server.wait_until_idle()
        assert cls.server.stop() == 0, cls.server.scratch_log
        cls.model.__exit__(None, None, None)

    def complete(self, **fields):
        return self.client.completions.create(
            **{"model": "chatty", "prompt": PROMPT, "max_tokens": 12, "temperature": 0, **fields})

    def chat(self, **fields):
        return self.client.chat.completions.create(
            **{"model": "chatty", "messages": MESSAGES, "max_tokens": 12, "temperature": 0, **fields})

    def test_completions(self):
        answer = self.complete(n=2, logprobs=2, seed=1)
        self.assertEqual([choice.text for choice in answer.choices], [self.text] * 2)
        self.assertEqual(answer.usage.completion_tokens, 24)
        logprobs = answer.choices[0].logprobs
        self.assertEqual("".join(logprobs.tokens), self.text)
        self.assertEqual(len(logprobs.token_logprobs), 12)
        self.assertTrue(all(2 <= len(top) <= 3 for top in logprobs.top_logprobs))
        echo = self.complete(echo=True, logprobs=1, max_tokens=0).choices[0]
        self.assertEqual(echo.text, PROMPT)
        self.assertIsNone(echo.logprobs.token_logprobs[0])

    def test_streams(self):
        with self.complete(stream=True, stream_options={"include_usage": True}) as stream:
            chunks = list(stream)
        self.assertEqual("".join(chunk.choices[0].text for chunk in chunks[:-1]), self.text)
        self.assertEqual(chunks[-1].usage.completion_tokens, 12)
        with self.chat(stream=True) as stream:
            text = "".join(chunk.choices[0].delta.content or "" for chunk in stream)
        self.assertEqual(text, self.chat().choices[0].message.content)

    def test_chats(self):
        answer = self.chat(logprobs=True, top_logprobs=2)
        choice = answer.choices[0]
        self.assertEqual((choice.message.role, choice.finish_reason), ("assistant", "length"))
        self.assertEqual("".join(token.token for token in choice.logprobs.content), choice.message.content)
        self.assertEqual(len(choice.logprobs.content[0].top_logprobs), 2)

    def test_models(self):
        self.assertEqual([model.id for model in self.client.models.list()], ["chatty"])
        self.assertEqual(self.client.models.retrieve("chatty").id, "chatty")

    def test_errors(self):
        with self.assertRaises(openai.BadRequestError) as bad:
            self.complete(temperature=-1)
        self.assertEqual(bad.exception.param, "temperature")
        with self.assertRaises(openai.BadRequestError) as bad:
            self.complete(extra_body={"guided_regex": "a"})
        self.assertEqual(bad.exception.code, "unknown_parameter")
        with self.assertRaises(openai.NotFoundError) as missing:
            self.complete(model="other")
        self.assertEqual(missing.exception.code, "model_not_found")

    def test_full_queues_and_cancelled_streams(self):
        async def run():
            async with openai.AsyncOpenAI(**self.options) as client:
                long = {"model": "chatty", "prompt": PROMPT, "max_tokens": 900, "stream": True,
                        "extra_body": {"ignore_eos": True}}
                running = [await client.completions.create(**long) for _ in range(2)]
                for stream in running:
                    await anext(aiter(stream))
                waiting = [asyncio.create_task(client.completions.create(**{**long, "stream": False}))
                           for _ in range(2)]
                while self.server.load().requests_waiting < 2:
                    await asyncio.sleep(0.01)
                with self.assertRaises(openai.RateLimitError) as full:
                    await client.completions.create(**long)
                self.assertIn("retry-after", full.exception.response.headers)
                for task in waiting:
                    task.cancel()
                await asyncio.gather(*waiting, return_exceptions=True)
                for stream in running:
                    await stream.close()
        asyncio.run(run())
        self.server.wait_until_idle()


if __name__ == "__main__":
    unittest.main()
