# SPDX-License-Identifier: Apache-2.0
"""Our renderer of chat templates against transformers' apply_chat_template."""

import json
import pathlib
import subprocess
import sys
import unittest

import tokenizers
import transformers

ROOT = pathlib.Path(__file__).resolve().parents[3]
SCRIPT = ROOT / "client" / "gateway" / "chat_template.py"
SPECIAL_TOKENS = {"bos_token": "<s>", "eos_token": "</s>"}
USER = {"role": "user", "content": "Hi <b>\"ä\" & 'c'\n "}
ASSISTANT = {"role": "assistant", "content": " Hello.\n\n"}
CONVERSATIONS = [
    [USER],
    [{"role": "system", "content": " Be brief. "}, USER],
    [USER, ASSISTANT, {"role": "user", "content": ""}],
    [USER, {"role": "assistant", "content": None, "tool_calls": [
        {"type": "function", "function": {"name": "f", "arguments": {"ü": [1, 2.5, None, True]}}}]},
     {"role": "tool", "content": "<ä>"}],
    [{"role": "skip", "content": "1"}, USER, ASSISTANT, {"role": "stop", "content": "2"}, USER],
    [USER, USER],
    [{"role": "user", "content": "{{ messages }} {% raise %}"}],
]


class Renderer:
    def __enter__(self):
        self.process = subprocess.Popen([sys.executable, "-I", "-c", SCRIPT.read_text()], text=True,
                                        stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        assert json.loads(self.process.stdout.readline()) == {"ready": True}
        return self

    def __exit__(self, *_):
        self.process.stdin.close()
        self.process.wait(timeout=60)
        self.process.stdout.close()

    def render(self, template: str, messages: list, add_generation_prompt: bool) -> dict:
        self.process.stdin.write(json.dumps({
            "template": template, "max_characters": 1 << 20, "seconds": 60,
            "messages": messages,
            "variables": {"tools": None, "documents": None, "add_generation_prompt": add_generation_prompt,
                          **SPECIAL_TOKENS},
        }) + "\n")
        self.process.stdin.flush()
        return json.loads(self.process.stdout.readline())


class TransformersTest(unittest.TestCase):
    def test_same_texts(self):
        tokenizer = transformers.PreTrainedTokenizerFast(
            tokenizer_object=tokenizers.Tokenizer(tokenizers.models.BPE()), **SPECIAL_TOKENS)
        templates = sorted(pathlib.Path(__file__).with_name("templates").glob("*.jinja"))
        self.assertGreaterEqual(len(templates), 5)
        rendered = 0
        with Renderer() as ours:
            for file in templates:
                template = file.read_text()
                for messages in CONVERSATIONS:
                    for add_generation_prompt in (False, True):
                        with self.subTest(template=file.name, messages=messages, prompt=add_generation_prompt):
                            answer = ours.render(template, messages, add_generation_prompt)
                            try:
                                theirs = tokenizer.apply_chat_template(
                                    messages, chat_template=template, tokenize=False,
                                    add_generation_prompt=add_generation_prompt)
                            except Exception as error:  # whatever a template does to a conversation
                                self.assertIn("error", answer, error)
                                self.assertIn(str(error), answer["error"])
                                continue
                            self.assertEqual(answer, {"text": theirs})
                            rendered += 1
        self.assertGreater(rendered, 40)


if __name__ == "__main__":
    unittest.main()
