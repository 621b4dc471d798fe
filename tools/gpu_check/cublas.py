# SPDX-License-Identifier: Apache-2.0
"""What cuBLAS makes of the matrix products of prompts, through PyTorch: a JSON line for each."""

import json
import statistics

import torch

SHAPES = {  # m, k
    "360M qkv": (1600, 960), "360M o": (960, 960), "360M gate_up": (5120, 960), "360M down": (960, 2560),
    "1.7B qkv": (6144, 2048), "1.7B o": (2048, 2048), "1.7B gate_up": (16384, 2048), "1.7B down": (2048, 8192),
}
ROWS = (1, 8, 16, 32, 64, 256, 1024)
WEIGHT_BYTES = 400 << 20  # of all copies of a matrix, so that no product finds it in the L2


def main() -> None:
    for name, (m, k) in SHAPES.items():
        copies = max(8, min(64, WEIGHT_BYTES // (2 * m * k)))
        weights = torch.randn(copies, m, k, device="cuda").to(torch.bfloat16)
        for rows in ROWS:
            x = torch.randn(rows, k, device="cuda").to(torch.bfloat16)
            graph = torch.cuda.CUDAGraph()
            for w in weights[:3]:
                x @ w.T
            torch.cuda.synchronize()
            with torch.cuda.graph(graph):
                for w in weights:
                    x @ w.T
            times = []
            for _ in range(9):
                begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
                begin.record()
                graph.replay()
                end.record()
                end.synchronize()
                times.append(begin.elapsed_time(end) * 1e3 / copies)
            us = statistics.median(times[2:])
            line = {"stage": "cublas", "name": "product", "shape": name, "rows": rows, "us": us,
                    "tflop_s": 2 * m * k * rows / us / 1e6, "weights_gb_s": 2 * m * k / us / 1e3}
            print(json.dumps(line), flush=True)


if __name__ == "__main__":
    main()
