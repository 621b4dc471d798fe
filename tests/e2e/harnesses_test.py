# SPDX-License-Identifier: Apache-2.0
"""Load testers and an evaluation harness that no one here wrote, against a gateway and a server: they get what they ask for.

What is counted is compared with what the server counted; how long it took is not looked at.
"""

import json
import os
import pathlib
import re
import subprocess
import tempfile
import unittest

from tests.e2e.gateway import TEMPLATE, Gateway, chat_model
from tests.e2e.harness import ROOT, Collected, Server, pb, request

HARNESSES = pathlib.Path(os.environ.get("RECURVE_HARNESSES", ROOT / "build" / "venv_harnesses"))
CHOICES = (("import", (" os\n", " zebra\n"), 0), ("def __init__(", ("qqq", "self"), 1), ("return", (" None\n", " ]]]]"), 0))
TEXTS = ("import os\nimport sys\n", "def f(self):\n    return self\n")
NEW_TOKENS = 8
END_OF_SEQUENCE = 0  # its id in the bundled model
# For perf_analyzer, which is linked with it and uses none of it here.
CUDA_RUNTIME = next(HARNESSES.glob("lib/python3.*/site-packages/nvidia/cuda_runtime/lib"), "")


def total(metrics: str, name: str) -> int:
    return int(sum(float(value) for value in re.findall(rf"^{name}(?:{{.*}})? (\S+)$", metrics, re.M)))


class HarnessesTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.model = chat_model()
        cls.directory = cls.model.__enter__()
        # Without the names of special tokens: what ends a sequence is known by its id alone.
        (cls.directory / "tokenizer_config.json").write_text(json.dumps({"chat_template": TEMPLATE}))
        cls.server = Server("--slots=8", "--precision=f32", model=cls.directory)
        cls.gateway = Gateway(cls.server.address)
        cls.scratch = tempfile.TemporaryDirectory(prefix="recurve-harnesses-")
        cls.folder = pathlib.Path(cls.scratch.name)

    @classmethod
    def tearDownClass(cls):
        assert cls.gateway.stop() == 0, cls.gateway.last_log
        cls.server.wait_until_idle()
        assert cls.server.stop() == 0, cls.server.scratch_log
        cls.scratch.cleanup()
        cls.model.__exit__(None, None, None)

    def counts(self) -> tuple[int, int, int]:
        """Calls that ended well, tokens of their prompts and new ones, as the gateway counts them."""
        metrics = self.gateway.metrics()
        calls = re.findall(r'^recurve_gateway_calls_total{path="/v1/[a-z/]*completions",status="200"} (\d+)', metrics, re.M)
        return (sum(map(int, calls)), total(metrics, "recurve_gateway_prompt_tokens_total"),
                total(metrics, "recurve_gateway_generated_tokens_total"))

    def run_program(self, *command, **environment) -> str:
        ran = subprocess.run([str(part) for part in command], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                             errors="replace", timeout=300, check=False, cwd=self.folder, env={
            **os.environ, "HF_HUB_OFFLINE": "1", "HF_DATASETS_OFFLINE": "1", "HF_HOME": str(self.folder / "hf"), **environment})
        self.assertEqual(ran.returncode, 0, ran.stdout[-6000:] + self.gateway.log()[-2000:])
        return ran.stdout

    def load(self, kind: str, *arguments: str) -> tuple:
        """One benchmark of guidellm with conversations or completions (`kind`): what it says, and what the gateway counted.
        Both are calls, tokens of prompts and new tokens."""
        path = self.folder / "report.json"
        before = self.counts()
        self.run_program(
            HARNESSES / "bin" / "guidellm", "benchmark", "run", f"--target=http://{self.gateway.address}", *arguments,
            f"--processor={self.directory}", f"--backend-args={json.dumps({'verify': False})}",
            f"--data={json.dumps({'prompt_tokens': 16, 'output_tokens': NEW_TOKENS})}", f"--output-path={path}",
            GUIDELLM__PREFERRED_ROUTE=kind)
        after = self.counts()
        benchmark, = json.loads(path.read_text())["benchmarks"]
        self.assertEqual((benchmark["requests"]["errored"], benchmark["requests"]["incomplete"]), ([], []))
        done = benchmark["requests"]["successful"]
        self.assertEqual([one["output_tokens"] for one in done], [NEW_TOKENS] * len(done))
        said = (len(done), sum(one["prompt_tokens"] for one in done), sum(one["output_tokens"] for one in done))
        return said, tuple(b - a for a, b in zip(before, after))

    def test_guidellm(self):
        for kind, arguments, requests in (
                ("text_completions", ("--rate-type=concurrent", "--rate=3", "--max-requests=12"), 12),
                ("chat_completions", ("--rate-type=constant", "--rate=20", "--max-requests=10"), 10)):
            with self.subTest(kind=kind):
                said, counted = self.load(kind, *arguments)
                self.assertEqual(said[0], requests)
                calls, prompt_tokens, new_tokens = (b - a for a, b in zip(said, counted))
                # Its workers try a call of one token each before they begin, always the same.
                self.assertEqual((new_tokens, prompt_tokens % calls), (calls, 0))

    def evaluate(self, tasks: dict, **model_arguments: str) -> dict:
        """What lm-eval says of tasks, by name: their documents and how they are asked."""
        folder = self.folder / "tasks"
        folder.mkdir(exist_ok=True)
        for name, (documents, asked) in tasks.items():
            data = folder / f"{name}.jsonl"
            data.write_text("".join(json.dumps(document) + "\n" for document in documents))
            (folder / f"{name}.yaml").write_text(json.dumps({  # YAML has JSON in it
                "task": name, "dataset_path": "json", "dataset_kwargs": {"data_files": {"test": str(data)}},
                "test_split": "test", **asked}))
        arguments = ",".join(f"{name}={value}" for name, value in {
            "model": "chatty", "base_url": f"http://{self.gateway.address}/v1/completions", "num_concurrent": "2",
            "max_retries": "1", **model_arguments}.items())
        out = self.folder / "evaluated"
        self.run_program(
            HARNESSES / "bin" / "lm_eval", "run", "--model=local-completions", f"--model_args={arguments}", "--batch_size=4",
            f"--include_path={folder}", f"--tasks={','.join(tasks)}", f"--output_path={out}", "--log_samples")
        return {name: [json.loads(line) for path in out.rglob(f"samples_{name}_*.jsonl")
                       for line in path.read_text().splitlines()] for name in tasks}

    def ids(self, text: str) -> list:
        return list(self.server.stub.Tokenize(pb.TokenizeRequest(text=text, add_special_tokens=False)).ids)

    def logprob(self, context: str, text: str) -> float:
        """Of `text` after `context`, or after the end of another text, by our own API."""
        given = self.ids(context) or [END_OF_SEQUENCE]
        whole = self.ids(context + text) if context else [*given, *self.ids(text)]
        answer = self.server.stub.Complete(request(ids=whole, max_tokens=0, output={"prompt_logprobs": True}))
        return sum(one.logprob for one in answer.prompt_logprobs[len(given) - 1:])

    def test_lm_eval(self):
        """With prompts as ids, several a call, and echo with logprobs; it tokenizes by the gateway."""
        got = self.evaluate({
            "recurve_choices": ([{"question": question, "choices": choices, "answer": answer}
                                 for question, choices, answer in CHOICES],
                                {"output_type": "multiple_choice", "doc_to_text": "question", "target_delimiter": "",
                                 "doc_to_choice": "choices", "doc_to_target": "answer", "metric_list": [{"metric": "acc"}]}),
            "recurve_rolling": ([{"text": text} for text in TEXTS],
                                {"output_type": "loglikelihood_rolling", "doc_to_text": "", "doc_to_target": "text",
                                 "metric_list": [{"metric": "byte_perplexity"}]}),
            "recurve_written": ([{"text": text} for text in TEXTS],
                                {"output_type": "generate_until", "doc_to_text": "text", "doc_to_target": "text",
                                 "generation_kwargs": {"until": ["\n\n"], "max_gen_toks": NEW_TOKENS, "temperature": 0,
                                                       "do_sample": False},
                                 "metric_list": [{"metric": "exact_match"}]})})
        for (question, choices, _), told in zip(CHOICES, got["recurve_choices"], strict=True):
            for choice, (answer,) in zip(choices, told["resps"], strict=True):
                self.assertAlmostEqual(float(answer[0]), self.logprob(question, choice), places=4)
            self.assertEqual(told["acc"], 1)
        for text, told in zip(TEXTS, got["recurve_rolling"], strict=True):
            self.assertAlmostEqual(float(told["resps"][0][0]), self.logprob("", text), places=4)
        for text, told in zip(TEXTS, got["recurve_written"], strict=True):
            expected = Collected(self.server.stub.Generate(request(text, max_tokens=NEW_TOKENS))).text
            self.assertEqual(told["resps"][0][0], expected.split("\n\n")[0])

    def test_perf_analyzer(self):
        """NVIDIA's, over the Open Inference Protocol's streams."""
        out, data = self.folder / "perf.json", self.folder / "inputs.json"
        parameters = {"max_tokens": NEW_TOKENS, "temperature": 0, "ignore_eos": True}
        data.write_text(json.dumps({"data": [
            {"text_input": [text], "stream": [True], "sampling_parameters": [json.dumps(parameters)]} for text in TEXTS]}))
        before = self.server.metrics()
        said = self.run_program(
            HARNESSES / "bin" / "perf_analyzer", "-m", "chatty", "-i", "grpc", "-u", self.server.address, "--streaming",
            "--async", f"--input-data={data}", "--request-count=12", "--concurrency-range=2",
            f"--profile-export-file={out}", "-v", LD_LIBRARY_PATH=str(CUDA_RUNTIME))
        done = [one for test in json.loads(out.read_text())["experiments"] for one in test["requests"]]
        self.assertEqual(len(done), 12, said)
        for one in done:
            texts = [output["text_output"] for output in one["response_outputs"]]
            self.assertTrue(all(texts[:-1]), texts)
        self.assertIn("Inference count: 12", said)
        new = total(self.server.metrics(), "recurve_generation_tokens_total") - total(before, "recurve_generation_tokens_total")
        self.assertEqual(new % NEW_TOKENS, 0)
        self.assertGreaterEqual(new, 12 * NEW_TOKENS)


if __name__ == "__main__":
    unittest.main()
