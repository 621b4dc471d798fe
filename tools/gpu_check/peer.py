# SPDX-License-Identifier: Apache-2.0
"""What transformers makes of loads of recurve-bench, on the same card: a JSON line for each.

The vanilla 360M of recurve-bench, random weights in bf16, greedy; one stream, 48 at once as a batch, and 48 by its
continuous batching where this version has it. Times are without compilation of the model (torch.compile).
"""

import json
import statistics
import time

import torch
from transformers import GenerationConfig, LlamaConfig, LlamaForCausalLM

PROMPT = 128
RUNS = 2


def make_model():
    config = LlamaConfig(vocab_size=49152, hidden_size=960, intermediate_size=2560, num_hidden_layers=32,
                         num_attention_heads=15, num_key_value_heads=5, head_dim=64, max_position_embeddings=2048,
                         tie_word_embeddings=True, bos_token_id=None, eos_token_id=None, pad_token_id=0)
    torch.manual_seed(1)
    return LlamaForCausalLM(config).to(device="cuda", dtype=torch.bfloat16).eval()


def seconds(run):
    """The median time of a call, after one to warm up."""
    times = []
    for _ in range(1 + RUNS):
        torch.cuda.synchronize()
        begin = time.perf_counter()
        run()
        torch.cuda.synchronize()
        times.append(time.perf_counter() - begin)
    return statistics.median(times[1:])


def report(name, **fields):
    print(json.dumps({"stage": "transformers", "name": name, **fields}), flush=True)


def measure_batch(model, streams, new_tokens):
    """Tokens a second behind the first, of streams that advance together."""
    prompts = torch.randint(0, 49152, (streams, PROMPT), device="cuda")

    def run(tokens):
        model.generate(prompts, attention_mask=torch.ones_like(prompts), max_new_tokens=tokens, min_new_tokens=tokens,
                       do_sample=False)

    took = seconds(lambda: run(new_tokens)) - seconds(lambda: run(1))
    report("batch", streams=streams, new_tokens=new_tokens, tokens_per_second=streams * (new_tokens - 1) / took)


def measure_continuous(model, streams, new_tokens):
    prompts = torch.randint(0, 49152, (streams, PROMPT)).tolist()
    config = GenerationConfig(max_new_tokens=new_tokens, do_sample=False, eos_token_id=-1, pad_token_id=0)
    try:
        took = seconds(lambda: model.generate_batch(inputs=prompts, generation_config=config, progress_bar=False))
    except Exception as error:  # pylint: disable=broad-except  # another version's interface, which is no finding
        report("continuous batching", not_measured=f"{type(error).__name__}: {error}"[:300].replace('"', "'"))
        return
    report("continuous batching", streams=streams, new_tokens=new_tokens,
           tokens_per_second_with_prompts=streams * new_tokens / took)


def main():
    with torch.inference_mode():
        model = make_model()
        measure_batch(model, 1, 64)
        measure_batch(model, 48, 96)
        measure_continuous(model, 48, 96)


if __name__ == "__main__":
    main()
