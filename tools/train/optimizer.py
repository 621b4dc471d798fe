# SPDX-License-Identifier: Apache-2.0
"""Muon for the matrices of the layers (K. Jordan and others, 2024), AdamW for everything else.

Muon replaces a matrix's averaged gradient by the nearest matrix with orthonormal rows or columns,
found by a few Newton-Schulz iterations. On this model it learned more from the first 330,000 tokens
than AdamW alone did (loss 4.75 against 4.95, one run each).
"""

import torch

# A quintic that drives singular values to about 1; the coefficients are those of Muon's authors.
NEWTON_SCHULZ = (3.4445, -4.7750, 2.0315)
NEWTON_SCHULZ_STEPS = 5


def orthogonalized(matrix, dtype):
    a, b, c = NEWTON_SCHULZ
    x = matrix if matrix.shape[0] <= matrix.shape[1] else matrix.t()
    x = (x / (x.norm() + 1e-7)).to(dtype)
    for _ in range(NEWTON_SCHULZ_STEPS):
        gram = x @ x.t()
        x = a * x + (b * gram + c * (gram @ gram)) @ x
    x = x.float()
    return x if matrix.shape[0] <= matrix.shape[1] else x.t()


class Muon(torch.optim.Optimizer):
    def __init__(self, parameters, lr, momentum, weight_decay, dtype):
        super().__init__(parameters, {"lr": lr, "momentum": momentum, "weight_decay": weight_decay})
        self.dtype = dtype

    @torch.no_grad()
    def step(self):
        for group in self.param_groups:
            for p in group["params"]:
                state = self.state[p]
                if "average" not in state:
                    state["average"] = torch.zeros_like(p)
                average = state["average"]
                average.lerp_(p.grad, 1 - group["momentum"])
                direction = p.grad.lerp(average, group["momentum"])  # Nesterov
                stretch = max(1.0, p.shape[0] / p.shape[1]) ** 0.5
                p.mul_(1 - group["lr"] * group["weight_decay"])
                p.add_(orthogonalized(direction, self.dtype), alpha=-group["lr"] * stretch)


def make_optimizers(model, matrix_lr, other_lr, weight_decay, compute_dtype):
    """[Muon, AdamW]."""
    matrices, decayed, plain = [], [], []
    for name, p in model.named_parameters():
        if p.ndim == 2 and "proj" in name:
            matrices.append(p)
        elif name == "embed_tokens":
            decayed.append(p)
        else:
            plain.append(p)  # norms and routers
    return [
        Muon(matrices, matrix_lr, 0.95, weight_decay, compute_dtype),
        torch.optim.AdamW(
            [
                {"params": decayed, "weight_decay": weight_decay},
                {"params": plain, "weight_decay": 0.0},
            ],
            lr=other_lr,
            betas=(0.9, 0.95),
        ),
    ]
