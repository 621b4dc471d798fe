# SPDX-License-Identifier: Apache-2.0
"""recurve-bench as a process: what it prints, and what it refuses."""

import json
import os
import pathlib
import subprocess
import sys
import unittest

ROOT = pathlib.Path(__file__).resolve().parents[2]
BENCH = pathlib.Path(os.environ.get("RECURVE_BIN", ROOT / "build" / "cpu" / "bin")) / "recurve-bench"
DEMO = f"--model={ROOT / 'models' / 'demo'}"
SMALL = ("--streams=3", "--prompt_tokens=20", "--new_tokens=40", "--threads=2", "--warmup=0")
GROUPS = ("entry", "1", "2", "3", "exit")  # of the demonstration model
STAGES = ("exit", "sampling", "entry", "block", "routers")
STAGES_WITH_LAYERS = ("exit", "entry", "block")
FIELDS = {
    "run", "tokens_per_second", "steady_tokens_per_second", "prompt_tokens_per_second", "first_token_seconds",
    "cached_prompt_share", "mean_depth", "rows_per_step", "flop_ratio", "bytes_per_token",
    "steps", "step_seconds", "idle_share",
    "kv_bytes_peak", "kv_bytes_reserved_peak", *(f"kv_bytes_peak_{group}" for group in GROUPS),
    *(f"stage_seconds_{stage}" for stage in STAGES),
    *(f"attention_seconds_{stage}" for stage in STAGES_WITH_LAYERS),
    "read_bytes_per_second", "peak_flops_per_second", "bound_share", "ideal_ratio",
}


def bench(*flags: str) -> subprocess.CompletedProcess:
    return subprocess.run([BENCH, *flags], capture_output=True, text=True, timeout=300, check=False)


class BenchTest(unittest.TestCase):
    def lines(self, *flags: str) -> list[dict]:
        done = bench(DEMO, *SMALL, "--format=json", *flags)
        self.assertEqual(done.returncode, 0, done.stderr)
        return [json.loads(line) for line in done.stdout.splitlines()]

    def check_run(self, run: dict) -> None:
        self.assertEqual(set(run), FIELDS)
        for field in FIELDS - {"run", "steady_tokens_per_second", "cached_prompt_share", "stage_seconds_routers",
                               "stage_seconds_sampling"}:
            self.assertGreater(run[field], 0, field)
        # Three streams of single rows, and prompts of 20 rows, at whatever recursion.
        self.assertGreater(run["rows_per_step"], 1)
        self.assertLess(run["rows_per_step"], 63)
        self.assertLess(run["first_token_seconds"], 300)

    def test_prints_an_object_for_each_run_and_the_medians_last(self):
        lines = self.lines("--repeat=3", "--depths=1,0.6,0.3")
        self.assertEqual([line["run"] for line in lines], [1, 2, 3, "median"])
        for line in lines:
            self.check_run(line)
        for field in FIELDS - {"run"}:
            self.assertEqual(lines[3][field], sorted(line[field] for line in lines[:3])[1], field)

    def test_policies_take_turns(self):
        policies = ("staged", "lockstep", "staged")
        lines = self.lines("--repeat=2", f"--policy={','.join(policies)}")
        self.assertEqual([(line["run"], line["policy"]) for line in lines],
                         [(run, policy) for run in (1, 2, "median") for policy in policies])
        for line in lines:
            del line["policy"]
            self.check_run(line)
            self.assertEqual(line["mean_depth"], lines[0]["mean_depth"])

    def test_the_comparison_of_policies_has_an_object_for_each_load(self):
        done = subprocess.run(
            [sys.executable, "-m", "tools.policies.compare", "--streams=1,2", "--depths=deep", "--pairs=2",
             "--tokens=12", "--format=json", "--", "--shape=135m", "--layers=5", "--threads=2"],
            cwd=ROOT, capture_output=True, text=True, timeout=300, check=False)
        self.assertIn(done.returncode, (0, 1), done.stderr)  # so few runs may look as if one lost
        lines = [json.loads(line) for line in done.stdout.splitlines()]
        self.assertEqual([(line["streams"], line["depths"]) for line in lines], [(1, "deep"), (2, "deep")])
        for line in lines:
            self.assertGreater(line["staged"], 0)
            self.assertGreater(line["ratio"], 0)
            self.assertLessEqual(line["itself_low"], line["itself_high"])

    def test_stages_add_up_to_no_more_than_a_step(self):
        for run in self.lines("--repeat=2")[:2]:
            stages = sum(run[f"stage_seconds_{stage}"] for stage in STAGES)
            self.assertLessEqual(stages, run["step_seconds"])
            self.assertGreater(stages, 0.01 * run["step_seconds"])
            for stage in STAGES_WITH_LAYERS:
                self.assertGreater(run[f"attention_seconds_{stage}"], 0)
                self.assertLess(run[f"attention_seconds_{stage}"], run[f"stage_seconds_{stage}"])

    def test_the_null_backend_leaves_what_the_schedule_takes(self):
        done = bench(DEMO, "--backend=null", "--streams=3", "--prompt_tokens=20", "--new_tokens=12",
                     "--repeat=1", "--warmup=0", "--format=json")
        self.assertEqual(done.returncode, 0, done.stderr)
        run = json.loads(done.stdout.splitlines()[0])
        self.assertGreater(run["idle_share"], 0)
        self.assertEqual([run[f"stage_seconds_{stage}"] for stage in STAGES if stage != "block"],
                         [0, 0, 0, 0])
        refused = bench(DEMO, *SMALL, "--backend=null")  # with --threads
        self.assertEqual(refused.returncode, 2)
        self.assertIn("--threads is 2, which is of --backend=cpu alone", refused.stderr)

    def test_kernels_are_measured_at_each_number_of_rows(self):
        done = bench(DEMO, "--kernels", "--threads=2", "--repeat=1", "--format=json")
        self.assertEqual(done.returncode, 0, done.stderr)
        lines = [json.loads(line) for line in done.stdout.splitlines()]
        products = ("qkv", "o", "gate_up", "down", "head")
        rows = (1, 2, 4, 8, 12, 16, 24, 32, 48, 64, 128, 256)
        self.assertEqual([(line["product"], line["rows"]) for line in lines],
                         [(product, row) for product in products for row in rows])
        for line in lines:
            self.assertEqual(line["run"], "product")
            for field in ("seconds", "weight_bytes_per_second", "flops_per_second",
                          "read_bytes_per_second", "peak_flops_per_second", "bound_share"):
                self.assertGreater(line[field], 0, field)
        self.check_refusal("--kernels is of --backend=cpu alone; --backend is null",
                           "--backend=null", "--kernels", code=1)

    def test_depths_are_those_asked_for(self):
        full = self.lines("--repeat=1", "--depths=1,1,1")[0]
        self.assertEqual(full["mean_depth"], 3)
        self.assertAlmostEqual(full["flop_ratio"], 1, delta=0.05)
        one = self.lines("--repeat=1", "--depths=1,0,0")[0]
        self.assertEqual(one["mean_depth"], 1)
        self.assertGreater(one["flop_ratio"], full["flop_ratio"])
        self.assertEqual(one["kv_bytes_peak_2"], 0)
        self.assertEqual(full["kv_bytes_peak_2"], full["kv_bytes_peak_1"])
        self.assertTrue(1 <= self.lines("--repeat=1")[0]["mean_depth"] <= 3)  # the router's

    def test_text_tells_the_medians(self):
        done = bench(DEMO, *SMALL, "--repeat=2", "--policy=lockstep", "--precision=f32")
        self.assertEqual(done.returncode, 0, done.stderr)
        head, *rest = done.stdout.splitlines()
        self.assertRegex(head, r"^medians of 2 runs; f32, KV f32, \w+, 2 threads$")
        self.assertEqual({line.split()[0] for line in rest}, FIELDS - {"run"})

    def test_says_when_streams_end_before_all_have_begun(self):
        note = "had ended when the last one got its first token"
        short = ("--streams=4", "--threads=2", "--prompt_tokens=250", "--new_tokens=2", "--repeat=1",
                 "--warmup=0")
        done = bench(DEMO, *short)
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertIn(note, done.stderr)
        self.assertNotIn(note, bench(DEMO, *SMALL, "--repeat=1").stderr)

    def test_output_that_cannot_be_written_is_an_error(self):
        for flags in ((), ("--format=json",)):
            with open("/dev/full", "wb") as full:
                done = subprocess.run([BENCH, DEMO, *SMALL, "--repeat=1", *flags], stdout=full,
                                      stderr=subprocess.PIPE, text=True, timeout=300, check=False)
            self.assertEqual(done.returncode, 1, done.stderr)
            self.assertIn("standard output", done.stderr)

    def test_queues_steps_and_lets_ends_wait(self):
        plain = self.lines("--repeat=1", "--queue_depth=auto")[0]
        for flags in (("--queue_depth=1",), ("--ends_min=3", "--queue_depth=0"),
                      ("--ends_min=4294967294", "--queue_depth=1")):
            run = self.lines("--repeat=1", *flags)[0]
            self.check_run(run)
            self.assertEqual(run["mean_depth"], plain["mean_depth"], flags)

    def test_measures_attention_alone(self):
        for flags in (["--kv_precision=int8"], ["--kv_precision=f32", "--isa=avx2"]):
            done = bench(DEMO, "--attention", "--repeat=1", "--format=json", *flags)
            self.assertEqual(done.returncode, 0, done.stderr)
            lines = [json.loads(line) for line in done.stdout.splitlines()]
            self.assertEqual({line["entries"] for line in lines}, {128, 1024, 4096})
            self.assertEqual(len({line["rows"] for line in lines}), 2)
            for line in lines:
                self.assertGreater(line["from_memory_seconds"], 0)
                self.assertGreater(line["from_cache_seconds"], 0)
        self.check_refusal("--attention is of --backend=cpu alone; --backend is null",
                           "--attention", "--backend=null", code=1)

    def test_refuses_what_this_version_has_not(self):
        for flag, known in (("--policy=eager", "staged, depthwise and lockstep"),
                            ("--precision=int4", "f32, bf16 and int8"),
                            ("--kv_precision=fp8", "auto, f32, bf16 and int8"),
                            ("--backend=rocm", "cpu, cuda and null")):
            name, value = flag.split("=")
            self.check_refusal(f"{name} is '{value}'; this version has {known}", flag)
        self.check_refusal("--backend is 'cuda', which this build does not have; build with "
                           "`cmake --preset cuda`, or use --backend=cpu", "--backend=cuda")

    def check_refusal(self, sentence: str, *flags: str, model: str = DEMO, code: int = 2) -> None:
        done = bench(model, *flags)
        self.assertEqual((done.returncode, done.stdout), (code, ""), done.stderr)
        # Nothing else on stderr: it comes before any weights are drawn.
        self.assertEqual(done.stderr, f"recurve-bench: {sentence}\n")

    def test_refuses_flags_before_it_draws_weights(self):
        shape = "--shape=135m"
        self.check_refusal("--recursions is 4000000000; expected 1 to 14",
                           "--recursions=4000000000", model=shape, code=1)
        self.check_refusal("--layers is 3999999998; expected at most 1024",
                           "--layers=3999999998", "--recursions=2", model=shape, code=1)
        self.check_refusal("--depths has 2 shares; the model has 3 recursions", "--depths=1,0.5",
                           model=shape, code=1)
        self.check_refusal("--prompt_tokens + --new_tokens is 3128; the model's context is 2048",
                           "--prompt_tokens=3000", model=shape, code=1)
        self.check_refusal("--shape is '2b'; expected 135m, 360m, 730m or 1.7b", model="--shape=2b",
                           code=1)
        self.check_refusal("--depths has 'x'; expected numbers with commas between them, or router",
                           "--depths=1,x", model=shape)
        self.check_refusal("--policy is ''; this version has staged, depthwise and lockstep",
                           "--policy=lockstep,", model=shape)

    def test_refuses_flags(self):
        self.check_refusal("--threads: '-1' is not possible: expected a whole number from 1 to "
                           "4294967295, or auto", "--threads=-1")
        self.check_refusal("--queue_depth: '2' is not possible: expected a whole number from 0 to 1, "
                           "or auto", "--queue_depth=2")
        self.check_refusal("--streams= has no value behind its '='; give one, or leave the flag out",
                           "--streams=", "--repeat=3")
        self.check_refusal("--shared_prompt_tokens is 200; --prompt_tokens is 128",
                           "--shared_prompt_tokens=200", code=1)
        self.check_refusal("give one of --model and --shape", model="--streams=2")
        for flag in ("--recursions", "--layers", "--shape"):
            done = bench(DEMO, f"{flag}=2")
            self.assertEqual(done.returncode, 2)
            self.assertRegex(done.stderr, f"^(--model excludes {flag}|{flag} excludes --model)\n")
        done = bench("--model=/nowhere")
        self.assertEqual(done.returncode, 1)
        self.assertRegex(done.stderr, "^recurve-bench: /nowhere does not exist; expected a model directory")

    def test_refuses_numbers_out_of_range(self):
        for flag, limit in (("--streams=0", "1 to 65536"), ("--block_rows=4000000000", "0 to 65536"),
                            ("--repeat=0", "1 to 1000"), ("--ends_min=0", "1 to 4294967294"),
                            ("--new_tokens=0", "1 to 16777216"),
                            ("--streams=0x10", "1 to 65536"), ("--streams=+5", "1 to 65536"),
                            ("--recursions=-1", "0 to 4294967295"),
                            ("--seed=18446744073709551616", "0 to 18446744073709551615")):
            name, value = flag.split("=")
            done = bench(DEMO, flag)
            self.assertEqual(done.returncode, 2)
            self.assertTrue(done.stderr.startswith(
                f"{name}: '{value}' is not possible: expected a whole number from {limit}\n"), done.stderr)

    def test_numbers_are_decimal(self):
        # 03000 is not 1536, which would fit.
        done = bench(DEMO, "--prompt_tokens=03000")
        self.assertIn("is 3128; the model's context is", done.stderr)


if __name__ == "__main__":
    unittest.main()
