# SPDX-License-Identifier: Apache-2.0
"""Checkpoints: one file with the configuration, weights, optimizers and tokens seen."""

import dataclasses
import os

import torch

import model as models

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16}


def save(path, config, model, optimizers, tokens):
    """Replaces the file at path as a whole: a crash leaves the old one or the new one."""
    partial = path.with_suffix(".partial")
    torch.save(
        {
            "config": dataclasses.asdict(config),
            "model": model.state_dict(),
            "optimizers": [optimizer.state_dict() for optimizer in optimizers],
            "tokens": tokens,
        },
        partial,
    )
    os.replace(partial, path)


def load_model(path, compute_dtype, weights_dtype="float32"):
    """(model, the whole checkpoint). Weights are rounded to weights_dtype and kept in float32."""
    saved = torch.load(path, map_location="cpu")
    model = models.make_model(models.ModelConfig(**saved["config"]), DTYPES[compute_dtype])
    rounded = {name: w.to(DTYPES[weights_dtype]).float() for name, w in saved["model"].items()}
    model.load_state_dict(rounded)
    return model, saved
