# SPDX-License-Identifier: Apache-2.0
"""Tests of the reference itself: `python3 -m tools.reference.selftest`."""

from __future__ import annotations

import dataclasses
import functools
import json
import math
import pathlib
import tempfile
import unittest
from typing import Any

import numpy as np

from . import config as config_lib
from . import against_transformers, generate, pairs, quantized, random_models, safetensors_io
from . import model as model_lib
from .forward import Result, forward
from .token_by_token import TokenByToken

_SEED = 1


@functools.cache
def _golden() -> list[tuple[generate.Spec, generate.Golden]]:
    return [(spec, generate.draw(spec, _SEED)) for spec in generate.specs()]


def _find(name: str) -> generate.Golden:
    return next(golden for spec, golden in _golden() if spec.name == name)


def _model(golden: generate.Golden, dtype: type = np.float64) -> model_lib.Model:
    return model_lib.assemble(golden.config, golden.tensors, dtype)


def _with(config: config_lib.Config, **changes: Any) -> config_lib.Config:
    """The configuration with some fields of `mor` or `mor.router` changed."""
    names = {field.name for field in dataclasses.fields(config_lib.RouterConfig)}
    inner = {k: v for k, v in changes.items() if k in names}
    outer = {k: v for k, v in changes.items() if k not in names}
    mor = dataclasses.replace(config.mor, **outer)
    if inner:
        mor = dataclasses.replace(mor, router=dataclasses.replace(mor.router, **inner))
    return dataclasses.replace(config, mor=mor)


class ReferenceTest(unittest.TestCase):
    def assert_same(self, a: Result, b: Result, rows: int | None = None) -> None:
        np.testing.assert_array_equal(a.depths[:rows], b.depths[:rows])
        np.testing.assert_allclose(a.logits[:rows], b.logits[:rows], rtol=1e-9, atol=1e-9)


class AllModelsTest(ReferenceTest):
    """What holds for every golden model."""

    def test_agrees_with_one_token_at_a_time(self) -> None:
        for spec, golden in _golden():
            model = _model(golden)
            for case in golden.cases:
                ids = case.ids[:12]
                slow = TokenByToken(model, case.max_recursions, case.router_threshold)
                for t, token in enumerate(ids):
                    logits, depth = slow.step(token)
                    where = f"{spec.name} token {t}"
                    self.assertEqual(depth, case.depths[t], where)
                    np.testing.assert_allclose(logits, case.logits[t], 1e-9, 1e-9, err_msg=where)

    def test_caches_keep_the_same_one_token_at_a_time(self) -> None:
        for spec, golden in _golden():
            if not spec.name.startswith("keys_"):
                continue
            model, ids = _model(golden), golden.cases[0].ids[:12]
            for name, keep in quantized.KEEP.items():
                whole = forward(model, ids, keep=keep)
                slow = TokenByToken(model, keep=keep)
                for t, token in enumerate(ids):
                    logits, depth = slow.step(token)
                    where = f"{spec.name} {name} token {t}"
                    self.assertEqual(depth, whole.depths[t], where)
                    np.testing.assert_allclose(logits, whole.logits[t], 1e-9, 1e-9, err_msg=where)
                self.assertGreater(np.abs(whole.logits - forward(model, ids).logits).max(), 1e-4)

    def test_causal(self) -> None:
        for spec, golden in _golden():
            with self.subTest(spec.name):
                model, case = _model(golden), golden.cases[0]
                ids = [*case.ids[:-1], (case.ids[-1] + 1) % golden.config.vocab_size]
                self.assert_same(forward(model, ids), forward(model, case.ids), len(ids) - 1)
                half = forward(model, case.ids[: len(ids) // 2])
                self.assert_same(half, forward(model, case.ids), len(ids) // 2)

    def test_float32_decides_alike(self) -> None:
        """An engine in float32 can meet the tolerance of 1e-4 with room to spare."""
        for spec, golden in _golden():
            with self.subTest(spec.name):
                model = _model(golden, np.float32)
                for case in golden.cases:
                    low = forward(model, case.ids, case.max_recursions, case.router_threshold)
                    self.assertEqual(low.logits.dtype, np.float32)
                    np.testing.assert_array_equal(low.depths, case.depths)
                    error = np.linalg.norm(low.logits - case.logits, axis=1)
                    self.assertLess((error / np.linalg.norm(case.logits, axis=1)).max(), 2e-5)

    def test_routing_is_mixed_and_clear(self) -> None:
        for spec, golden in _golden():
            with self.subTest(spec.name):
                model, mor = _model(golden), golden.config.mor
                if mor and mor.router:
                    depths = set(golden.cases[0].depths.tolist())
                    self.assertEqual(depths, set(range(1, mor.num_recursions + 1)))
                for case in golden.cases:
                    again = forward(model, case.ids, case.max_recursions, case.router_threshold)
                    self.assertGreaterEqual(again.margin, random_models.MARGIN)
                    self.assertGreater(case.logits.std(axis=1).min(), 0.5)

    def test_every_pair_of_options_occurs(self) -> None:
        specs = generate.specs()
        self.assertEqual(len({s.name for s in specs}), len(specs))
        for family, factors in generate.FAMILIES.items():
            rows = [s.factors for s in specs if s.name.startswith(f"pairs_{family}_")]
            covered = set().union(*(pairs.pairs_of(row) for row in rows))
            self.assertEqual(pairs.all_pairs(factors) - covered, set(), family)

    def test_directory_reads_back_as_it_was_drawn(self) -> None:
        with tempfile.TemporaryDirectory() as scratch:
            for spec, golden in _golden():
                with self.subTest(spec.name):
                    directory = pathlib.Path(scratch) / spec.name
                    generate.write(spec, golden, directory)
                    case = json.loads((directory / "cases.json").read_text())[-1]
                    result = forward(model_lib.load(directory), case["ids"])
                    raw = np.fromfile(directory / case["logits_file"], "<f4")
                    np.testing.assert_array_equal(
                        result.logits.astype("<f4"), raw.reshape(case["shape"])
                    )
                    self.assertEqual(result.depths.tolist(), case["depths"])


class IdentitiesTest(ReferenceTest):
    """Models that must compute the same, said in two ways."""

    def test_cycle_of_one_recursion_is_vanilla(self) -> None:
        golden = _find("sharing_cycle_n1")
        vanilla = dataclasses.replace(golden.config, mor=None)
        ids = golden.cases[0].ids
        self.assert_same(
            forward(_model(golden), ids), forward(model_lib.assemble(vanilla, golden.tensors), ids)
        )

    def test_fixed_depth_is_its_unrolled_vanilla_model(self) -> None:
        for sharing in ("cycle", "middle_cycle", "sequence", "middle_sequence"):
            golden = _find(f"sharing_{sharing}")
            config = golden.config
            vanilla = dataclasses.replace(config, mor=None)
            unrolled = golden.tensors | {
                copy: golden.tensors[name] for copy, name in model_lib.duplicates(config).items()
            }
            result = forward(model_lib.assemble(vanilla, unrolled), golden.cases[0].ids)
            np.testing.assert_allclose(result.logits, golden.cases[0].logits, 1e-9, 1e-9)

    def test_without_routing_update_is_recursion_wise(self) -> None:
        golden = _find("keys_fixed_shared_update")
        own = _with(golden.config, kv_mode="recursion_wise")
        once = _with(golden.config, kv_mode="shared")
        ids = golden.cases[0].ids
        result = forward(_model(golden), ids)
        self.assert_same(result, forward(model_lib.assemble(own, golden.tensors), ids))
        shared = forward(model_lib.assemble(once, golden.tensors), ids)
        self.assertGreater(np.abs(shared.logits - result.logits).max(), 0.01)

    def test_thresholds_at_the_ends(self) -> None:
        golden = _find("keys_expert_recursion_wise")
        model, ids = _model(golden), golden.cases[0].ids
        self.assertEqual(set(forward(model, ids, None, 0.0).depths.tolist()), {3})
        self.assert_same(forward(model, ids, None, 1.0), forward(model, ids, 1))

    def test_caps(self) -> None:
        for kind in ("expert", "token", "fixed"):
            golden = _find(f"keys_{kind}_shared")
            model, ids = _model(golden), golden.cases[0].ids
            free = forward(model, ids)
            self.assert_same(forward(model, ids, 3), free)
            for c in (1, 2):
                np.testing.assert_array_equal(
                    forward(model, ids, c).depths, np.minimum(free.depths, c)
                )

    def test_all_tokens_at_full_depth_need_no_overlay(self) -> None:
        golden = _find("keys_expert_shared_update")
        own = _with(golden.config, kv_mode="recursion_wise")
        ids = golden.cases[0].ids
        self.assert_same(
            forward(_model(golden), ids, None, 0.0),
            forward(model_lib.assemble(own, golden.tensors), ids, None, 0.0),
        )


class ByHandTest(ReferenceTest):
    """Blocks whose matrices are zero where they would add: block(H) = H, and depths by hand."""

    def _identity(self, name: str, **changes: Any) -> tuple[model_lib.Model, np.ndarray]:
        golden = _find(name)
        config = dataclasses.replace(_with(golden.config, **changes), rms_norm_eps=0.5)
        tensors = {
            leaf: np.zeros_like(x) if "o_proj" in leaf or "down_proj" in leaf else x
            for leaf, x in golden.tensors.items()
        }
        return model_lib.assemble(config, tensors), golden.cases[0].ids

    def _logits(self, model: model_lib.Model, h: np.ndarray) -> np.ndarray:
        return model.head @ (model.norm * h / math.sqrt(float(np.mean(h * h)) + 0.5))

    def test_expert_choice(self) -> None:
        for function in ("sigmoid", "tanh", "none"):
            model, ids = self._identity(
                "keys_expert_recursion_wise", function=function, alpha=0.7, temperature=1.7,
                threshold=0.3,
            )  # fmt: skip
            result = forward(model, ids)
            for t, token in enumerate(ids):
                h, depth = model.embedding[token], 0
                for router in model.routers:
                    z = float(router.matrices[0][0] @ h) / 1.7
                    if depth > 0 and z < math.log(0.3 / 0.7):
                        break
                    gate = {
                        "sigmoid": 0.7 / (1 + math.exp(-z)),
                        "tanh": 0.7 * math.tanh(z),
                        "none": z,
                    }[function]
                    h, depth = h + gate * h, depth + 1
                self.assertEqual(result.depths[t], depth)
                np.testing.assert_allclose(result.logits[t], self._logits(model, h), 1e-9, 1e-9)

    def test_token_choice(self) -> None:
        for function in ("softmax", "sigmoid"):
            model, ids = self._identity(
                "duplicates_token_middle_cycle", function=function, alpha=0.4, temperature=0.6
            )
            result = forward(model, ids)
            for t, token in enumerate(ids):
                h = model.embedding[token]
                z = np.exp(model.routers[0].matrices[0] @ h / 0.6)
                gates = 0.4 * (z / z.sum() if function == "softmax" else z / (1 + z))
                depth = 1 + int(np.argmax(gates + model.router_bias))
                self.assertEqual(result.depths[t], depth)
                expected = self._logits(model, h + gates[depth - 1] * h)
                np.testing.assert_allclose(result.logits[t], expected, 1e-9, 1e-9)


class FilesTest(unittest.TestCase):
    def test_rounds_to_nearest_even(self) -> None:
        x = np.array([1.0, 1 + 2**-8, 1 + 3 * 2**-8, 1 + 2**-8 + 2**-20, -3.0e38], np.float32)
        expected = [1.0, 1.0, 1 + 2**-6, 1 + 2**-7, float(np.float32(-3.0e38))]
        rounded = safetensors_io.round_to(x, "BF16")
        np.testing.assert_array_equal(rounded[:4], expected[:4])
        self.assertLess(abs(rounded[4] / expected[4] - 1), 2**-8)
        np.testing.assert_array_equal(safetensors_io.round_to(rounded, "BF16"), rounded)

    def test_duplicates_that_differ_are_refused(self) -> None:
        spec = next(s for s in generate.specs() if s.name == "duplicates_expert_cycle")
        golden = _find(spec.name)
        with tempfile.TemporaryDirectory() as scratch:
            directory = pathlib.Path(scratch)
            generate.write(spec, golden, directory)
            tensors = safetensors_io.read_file(directory / "model.safetensors")
            name = "model.layers.1.block.0.mlp.up_proj.weight"
            tensors[name] = tensors[name] + 1
            safetensors_io.write_file(directory / "model.safetensors", tensors)
            with self.assertRaisesRegex(ValueError, name):
                model_lib.load(directory)

    def test_config_errors_name_the_field(self) -> None:
        good = _find("keys_token_shared").fields
        for path, value, said in (
            (("num_hidden_layers",), 9, "num_hidden_layers: 9"),
            (("mor", "sharing"), "cycle", "token_choice is not defined for cycle"),
            (("mor", "colour"), 1, "mor.colour"),
            (("mor", "attention_weights"), "per_recursion", "needs expert_choice"),
            (("mor", "router", "sampling"), "aux_loss", "mor.router.sampling"),
            (("mor", "router", "function"), "tanh", "mor.router.function"),
            (("mor", "router", "alpha"), 0, "mor.router.alpha"),
            (("mor", "router", "temperature"), True, "mor.router.temperature"),
        ):
            fields = json.loads(json.dumps(good))
            inner = fields
            for key in path[:-1]:
                inner = inner[key]
            inner[path[-1]] = value
            with self.assertRaisesRegex(config_lib.ConfigError, said):
                config_lib.parse(fields)


class TransformersTest(unittest.TestCase):
    def test_agrees_with_the_logits_of_transformers(self) -> None:
        """Plain Llama models, with and without RoPE scaling; transformers computes in float32."""
        found = against_transformers.errors(against_transformers.RECORD)
        self.assertEqual(set(found), {"default", "linear", "llama3", "llama3_parameters"})
        for name, error in found.items():
            self.assertLess(error, 1e-5, name)


if __name__ == "__main__":
    unittest.main()
