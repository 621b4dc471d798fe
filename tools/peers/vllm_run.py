# SPDX-License-Identifier: Apache-2.0
"""Measures vLLM's CPU build: prompts, then as many new tokens, in all streams at once.

Runs in vLLM's own environment (peers.py makes it), prints one JSON object a number of streams, and knows nothing of
Recurve.
"""

import argparse
import json
import os
import sys
import time

os.environ.setdefault("VLLM_LOGGING_LEVEL", "ERROR")
os.environ.setdefault("VLLM_CPU_KVCACHE_SPACE", "2")
os.environ.setdefault("VLLM_ENABLE_V1_MULTIPROCESSING", "0")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("directory")
    parser.add_argument("--streams", default="1")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--prompt_tokens", type=int, default=64)
    parser.add_argument("--new_tokens", type=int, default=64)
    args = parser.parse_args()
    os.environ["VLLM_CPU_OMP_THREADS_BIND"] = f"0-{args.threads - 1}"

    import numpy as np
    from vllm import LLM, SamplingParams

    streams = [int(text) for text in args.streams.split(",")]
    rows = max(streams)
    out = os.dup(1)
    os.dup2(2, 1)  # what it says while it starts is not for our reader
    llm = LLM(model=args.directory, dtype="bfloat16", skip_tokenizer_init=True, max_num_seqs=rows,
              max_num_batched_tokens=max(4096, rows), max_model_len=args.prompt_tokens + args.new_tokens,
              enable_prefix_caching=False, seed=1)
    vocab = json.load(open(os.path.join(args.directory, "config.json")))["vocab_size"]
    rng = np.random.default_rng(1)

    def seconds(count: int, tokens: int) -> float:
        prompts = [{"prompt_token_ids": rng.integers(1, vocab, args.prompt_tokens).tolist()} for _ in range(count)]
        sampling = SamplingParams(max_tokens=tokens, min_tokens=tokens, ignore_eos=True, temperature=0,
                                  detokenize=False)
        begin = time.perf_counter()
        llm.generate(prompts, sampling, use_tqdm=False)
        return time.perf_counter() - begin

    seconds(rows, 2)
    for count in streams:
        first = seconds(count, 1)
        rest = seconds(count, args.new_tokens) - first
        line = {"streams": count, "tokens_per_second": count * (args.new_tokens - 1) / rest,
                "prompt_tokens_per_second": count * args.prompt_tokens / first}
        os.write(out, (json.dumps(line) + "\n").encode())
    sys.stdout.flush()
    os._exit(0)  # its workers do not always end


if __name__ == "__main__":
    main()
