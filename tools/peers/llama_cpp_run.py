# SPDX-License-Identifier: Apache-2.0
"""Measures llama.cpp, by its Python binding: prompts, then as many new tokens, in all streams at once.

Runs in llama.cpp's own environment (peers.py makes it), prints one JSON object a number of streams, and knows nothing
of Recurve. The work is that of llama.cpp's own llama-batched-bench.
"""

import argparse
import json
import pathlib
import time

import gguf
import llama_cpp
import numpy as np


def convert(directory: pathlib.Path, precision: str) -> pathlib.Path:
    """The model directory as a GGUF file beside it. Rows of q and k stay as they are: the values are random anyway."""
    path = directory / f"{precision}.gguf"
    if path.exists():
        return path
    config = json.loads((directory / "config.json").read_text())
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_vocab_size(config["vocab_size"])
    writer.add_context_length(config["max_position_embeddings"])
    writer.add_embedding_length(config["hidden_size"])
    writer.add_block_count(config["num_hidden_layers"])
    writer.add_feed_forward_length(config["intermediate_size"])
    writer.add_head_count(config["num_attention_heads"])
    writer.add_head_count_kv(config["num_key_value_heads"])
    writer.add_rope_dimension_count(config["head_dim"])
    writer.add_rope_freq_base(config["rope_theta"])
    writer.add_layer_norm_rms_eps(config["rms_norm_eps"])
    writer.add_tokenizer_model("no_vocab")
    kind = {"bf16": gguf.GGMLQuantizationType.BF16, "int8": gguf.GGMLQuantizationType.Q8_0}[precision]
    names = gguf.get_tensor_name_map(gguf.MODEL_ARCH.LLAMA, config["num_hidden_layers"])
    for name, values in read(directory / "model.safetensors"):
        target = names.get_name(name, try_suffixes=(".weight",))
        if values.ndim == 1:
            writer.add_tensor(target, values)
        else:
            writer.add_tensor(target, gguf.quants.quantize(values, kind), raw_dtype=kind)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def read(path: pathlib.Path):
    """Names and float32 values of a file in bf16."""
    with open(path, "rb") as file:
        size = int.from_bytes(file.read(8), "little")
        header = json.loads(file.read(size))
        for name, entry in header.items():
            if name == "__metadata__":
                continue
            begin, end = entry["data_offsets"]
            file.seek(8 + size + begin)
            bits = np.frombuffer(file.read(end - begin), "<u2").astype("<u4") << 16
            yield name, bits.view("<f4").reshape(entry["shape"])


class Batch:
    """Tokens of one call."""

    def __init__(self, size: int):
        self.batch = llama_cpp.llama_batch_init(size, 0, 1)
        self.batch.n_tokens = 0

    def add(self, token: int, position: int, stream: int, logits: bool) -> None:
        i = self.batch.n_tokens
        self.batch.token[i] = token
        self.batch.pos[i] = position
        self.batch.n_seq_id[i] = 1
        self.batch.seq_id[i][0] = stream
        self.batch.logits[i] = logits
        self.batch.n_tokens += 1

    def decode(self, context) -> None:
        if llama_cpp.llama_decode(context, self.batch) != 0:
            raise RuntimeError("llama_decode failed")
        self.batch.n_tokens = 0


def measure(context, vocab: int, args, streams: int) -> dict:
    memory = llama_cpp.llama_get_memory(context)
    llama_cpp.llama_memory_clear(memory, True)
    rng = np.random.default_rng(1)
    batch = Batch(args.batch)
    begin = time.perf_counter()
    for stream in range(streams):
        for position in range(args.prompt_tokens):
            batch.add(int(rng.integers(vocab)), position, stream, position == args.prompt_tokens - 1)
            if batch.batch.n_tokens == args.batch:
                batch.decode(context)
    if batch.batch.n_tokens:
        batch.decode(context)
    llama_cpp.llama_synchronize(context)
    prompts = time.perf_counter()
    for step in range(args.new_tokens - 1):  # the first ones are the prompts'
        for stream in range(streams):
            batch.add(int(rng.integers(vocab)), args.prompt_tokens + step, stream, True)
        batch.decode(context)
        llama_cpp.llama_synchronize(context)
    end = time.perf_counter()
    llama_cpp.llama_batch_free(batch.batch)
    return {"streams": streams, "tokens_per_second": streams * (args.new_tokens - 1) / (end - prompts),
            "prompt_tokens_per_second": streams * args.prompt_tokens / (prompts - begin)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("directory", type=pathlib.Path)
    parser.add_argument("--precision", default="bf16")
    parser.add_argument("--streams", default="1")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--prompt_tokens", type=int, default=64)
    parser.add_argument("--new_tokens", type=int, default=64)
    parser.add_argument("--batch", type=int, default=2048)
    args = parser.parse_args()
    streams = [int(text) for text in args.streams.split(",")]
    path = convert(args.directory, args.precision)
    llama_cpp.llama_backend_init()
    silent = llama_cpp.llama_log_callback(lambda *_: None)
    llama_cpp.llama_log_set(silent, None)
    model = llama_cpp.llama_model_load_from_file(str(path).encode(), llama_cpp.llama_model_default_params())
    vocab = json.loads((args.directory / "config.json").read_text())["vocab_size"]
    for count in streams:
        params = llama_cpp.llama_context_default_params()
        params.n_ctx = count * (args.prompt_tokens + args.new_tokens)
        params.n_batch = args.batch
        params.n_seq_max = count
        params.n_threads = params.n_threads_batch = args.threads
        context = llama_cpp.llama_init_from_model(model, params)
        measure(context, vocab, argparse.Namespace(**{**vars(args), "new_tokens": 4}), count)  # to warm up
        print(json.dumps(measure(context, vocab, args, count)), flush=True)
        llama_cpp.llama_free(context)


if __name__ == "__main__":
    main()
