#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Compares the engine's tokenizer with the `tokenizers` package on a hard corpus.

  compare_tokenizers.py --dump build/cpu/bin/tokenizer_dump [--seed N] [--only NAME]

Trains small tokenizers of every supported kind into a temporary folder, encodes the corpus with
both, with and without special tokens, and decodes ids both ways. Exits with 1 and prints the first
difference. Needs the packages of tests/requirements.txt.
"""

import argparse
import json
import pathlib
import random
import struct
import subprocess
import sys
import tempfile
import time

from tokenizers import (
    AddedToken,
    Regex,
    Tokenizer,
    decoders,
    models,
    normalizers,
    pre_tokenizers,
    processors,
    trainers,
)

CONTRACTION = "(?i:'s|'t|'re|'ve|'m|'ll|'d)"
TAIL = r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
LLAMA3 = CONTRACTION + r"|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}" + TAIL
QWEN2 = CONTRACTION + r"|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}" + TAIL

SPACES = "\t\n\v\f\r \x85\xa0\u1680\u2000\u2003\u2009\u200a\u2028\u2029\u202f\u205f\u3000"
NOT_SPACES = "\u200b\ufeff\u180e\u200d\x1c\x1d\x1e\x1f\x00\x7f"
EMOJI = [
    "\U0001f468\u200d\U0001f469\u200d\U0001f467\u200d\U0001f466",
    "\U0001f3f3\ufe0f\u200d\U0001f308",
    "\U0001f44d\U0001f3fd",
    "\U0001f1e9\U0001f1ea",
    "1\ufe0f\u20e3",
    "\u2764\ufe0f\u200d\U0001f525",
    "\U0001f3f4\U000e0067\U000e0062\U000e0065\U000e006e\U000e0067\U000e007f",
]
WORDS = (
    "the of and to a in is it you that he was for on are with as I his they be at one have this "
    "from or had by hot but some what there we can out other were all your when up use how said "
    "naïve café Ångström straße größer été ça España mañana доброе утро мир привет γειά σου κόσμε "
    "שלום עולם مرحبا بالعالم नमस्ते दुनिया สวัสดีชาวโลก こんにちは 世界 日本語 中文 你好 안녕하세요 세계 "
    "def return self None True import class lambda x1 y22 z333 0x1F 3.14 10000 2024 ١٢٣ ½ Ⅷ ②"
).split()
MARKS = "\u0300\u0301\u0308\u0323\u0327\u0328\u0334\u0338\u0345\u05b0\u0591\u064b\u0651\u093c\u3099"


def any_code_point(rng):
    while True:
        c = rng.randrange(0x110000) if rng.random() < 0.3 else rng.randrange(0x30000)
        if not 0xD800 <= c <= 0xDFFF:
            return chr(c)


class Corpus:
    """Texts to encode; `full` adds each code point in several contexts."""

    def __init__(self, seed):
        self.rng = random.Random(seed)

    def blocks(self, full):
        for start in range(0, 0x110000, 256):
            if 0x40000 <= start < 0xE0000 and start % 0x4000:
                continue  # never assigned: one block of 64 will do
            chars = [chr(c) for c in range(start, start + 256) if not 0xD800 <= c <= 0xDFFF]
            if not chars:
                continue
            yield "".join(chars)
            if full and start < 0x32000:
                yield "a".join(chars)
                yield " ".join(chars)
                yield "1".join(chars) + "  "
                yield "".join("'" + c for c in chars) + "\n"
                yield "".join(c * 3 + "e\u0301" for c in chars)

    def pool(self):
        rng = self.rng
        pools = [
            lambda: rng.choice(SPACES),
            lambda: rng.choice(" \n\r\t"),
            lambda: rng.choice(NOT_SPACES),
            lambda: rng.choice(EMOJI),
            lambda: rng.choice(WORDS),
            lambda: rng.choice(MARKS),
            lambda: any_code_point(rng),
            lambda: chr(rng.randrange(128)),
            lambda: rng.choice("0123456789٣四Ⅷ½²\U00010d40"),
            lambda: rng.choice("'s 'S 'ſ 'T 're 'RE 'rE 'lL 'll ' ’s".split()),
            lambda: chr(rng.choice([0x1100, 0x1161, 0x11A7, 0x11A8, 0xAC00]) + rng.randrange(28)),
            lambda: rng.choice("<s> <|end|> <pad> <a <a> <ab> caf\u00e9 cafe\u0301 tok".split()),
        ]
        return pools

    def mixtures(self, count):
        rng, pools = self.rng, self.pool()
        for _ in range(count):
            chosen = rng.sample(pools, rng.randrange(1, 5))
            parts = [rng.choice(chosen)() for _ in range(rng.randrange(1, 30))]
            yield rng.choice(["", "", " "]).join(parts)

    def bytes(self, count):
        rng = self.rng
        for _ in range(count):
            raw = bytes(rng.randrange(256) for _ in range(rng.randrange(1, 80)))
            yield raw.decode("utf-8", errors="replace")
            yield raw.decode("latin-1")

    def marks(self, count):
        """Combining marks of all classes in all orders, on starters that compose and others."""
        rng = self.rng
        marks = [chr(c) for c in range(0x300, 0x36F)] + list(MARKS)
        marks += list("\U0001d165\u302a\u1dce\u0f71\u0f72\u1037\u0344\u0340")
        starters = list("aeiouAEIOUc=<>ΑΩαωυЖиㅏ가각ᄀक\u1e0b\u01d5\u212b\u2126\ufb1d")
        for _ in range(count):
            parts = []
            for _ in range(rng.randrange(1, 6)):
                parts.append(rng.choice(starters))
                parts += rng.choices(marks, k=rng.randrange(0, 5))
            yield "".join(parts)

    def lines(self, size):
        rng = self.rng
        yield "a" * size
        yield " " * size
        yield " " * size + "x"
        yield "\n" * size
        yield " \n" * (size // 2) + " x"
        yield "1" * size
        yield "ab" * (size // 2)
        yield "".join(rng.choices("ab", k=size))
        yield "".join(rng.choices("abcdefghij", k=size))
        yield "é" * (size // 2)
        yield "e\u0301" * (size // 4)
        yield "a" + "\u0301" * (size // 16)
        yield "".join(rng.choices("\u0301\u0323\u0334\u0345", k=size // 16))
        yield "\U0001f468\u200d" * (size // 8)
        yield "!" * size
        yield "'s" * (size // 2)
        yield " ".join(rng.choices(WORDS, k=size // 8))
        yield "".join(rng.choices(SPACES, k=size // 2))

    def texts(self, full):
        yield from ["", " ", "a", "\n", "\u0301", "'s"]
        yield from self.blocks(full)
        yield from self.mixtures(8000 if full else 4000)
        yield from self.bytes(500)
        yield from self.marks(3000)

    def training(self):
        rng = self.rng
        for _ in range(400):
            words = rng.choices(WORDS, weights=[1 / (i + 1) for i in range(len(WORDS))], k=60)
            yield rng.choice([" ", " ", "  ", "\n", "\u3000"]).join(words) + "'s aaaa    \n\n"


def train(corpus, pre_tokenizer, size=1200, normalizer=None, alphabet=True, specials=()):
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizer
    tokenizer.normalizer = normalizer
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=size,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet() if alphabet else [],
        special_tokens=list(specials),
        show_progress=False,
    )
    tokenizer.train_from_iterator(corpus.training(), trainer)
    return tokenizer


def split(pattern, prefix=False):
    return pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(pattern), "isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=prefix, use_regex=False),
        ]
    )


def removed_inverted(pattern):
    """As OLMo 2 has it: what the pattern does not match is removed, which is nothing."""
    parts = [
        pre_tokenizers.Split(Regex(pattern), "removed", invert=True),
        pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
    ]
    return pre_tokenizers.Sequence(parts)


def byte_level(prefix=False):
    return pre_tokenizers.ByteLevel(add_prefix_space=prefix)


def digits(prefix=False):
    return pre_tokenizers.Sequence(
        [pre_tokenizers.Digits(individual_digits=True), byte_level(prefix)]
    )


def old_merges(tokenizer):
    """The same tokenizer with its merges as "a b", as older files have them."""
    content = json.loads(tokenizer.to_str())
    content["model"]["merges"] = [" ".join(merge) for merge in content["model"]["merges"]]
    return Tokenizer.from_str(json.dumps(content)), json.dumps(content)


def as_gpt2_has_it(tokenizer):
    """The same tokenizer with the fields that GPT-2's own file has, model.type not among them."""
    content = json.loads(old_merges(tokenizer)[1])
    fields = "dropout unk_token continuing_subword_prefix end_of_word_suffix fuse_unk vocab merges"
    content["model"] = {name: content["model"][name] for name in fields.split()}
    for part in ("pre_tokenizer", "post_processor", "decoder"):
        del content[part]["use_regex"]
    return Tokenizer.from_str(json.dumps(content)), json.dumps(content)


def in_sequences(tokenizer):
    """The same tokenizer with its parts in sequences of one."""
    content = json.loads(tokenizer.to_str())
    for part, parts in (("pre_tokenizer", "pretokenizers"), ("decoder", "decoders")):
        content[part] = {"type": "Sequence", parts: [content[part]]}
    return Tokenizer.from_str(json.dumps(content)), json.dumps(content)


def without_some_merges(tokenizer, rng):
    """Words that only ignore_merges reaches: their merges are gone."""
    content = json.loads(tokenizer.to_str())
    model = content["model"]
    model["ignore_merges"] = True
    model["merges"] = [merge for merge in model["merges"] if rng.random() < 0.7]
    return Tokenizer.from_str(json.dumps(content))


def ambiguous_merges(rng):
    """Merges over three letters in random order, most tokens made by several of them."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    words = ["a", "b", "c"]
    for length in (2, 3, 4):
        words += rng.sample(
            ["".join(rng.choices("abc", k=length)) for _ in range(60)], 20
        )
    words = list(dict.fromkeys(words))
    vocab = {token: i for i, token in enumerate(dict.fromkeys(alphabet + words))}
    halves = [(w[:i], w[i:]) for w in words for i in range(1, len(w))]
    merges = [(left, right) for left, right in halves if left in vocab and right in vocab]
    rng.shuffle(merges)
    tokenizer = Tokenizer(models.BPE(vocab=vocab, merges=merges))
    tokenizer.pre_tokenizer = byte_level()
    tokenizer.decoder = decoders.ByteLevel()
    return tokenizer


def with_leftovers(tokenizer):
    """The file of the same tokenizer as a fine-tuning leaves it: it cuts and pads."""
    content = json.loads(tokenizer.to_str())
    size = tokenizer.get_vocab_size()
    content["truncation"] = {
        "direction": "Right", "max_length": 5, "strategy": "LongestFirst", "stride": 0,
    }
    content["padding"] = {
        "strategy": {"Fixed": 64}, "direction": "Left", "pad_to_multiple_of": None,
        "pad_id": size, "pad_type_id": 0, "pad_token": "<pad>",
    }
    saved = Tokenizer.from_str(json.dumps(content))
    assert len(saved.encode("abcdefgh ijkl mnop qrst uvw").ids) == 64
    return json.dumps(content)


def with_tokens_beyond(tokenizer):
    """The file of the same tokenizer with two more tokens, and how many ids the model has."""
    size = max(tokenizer.get_vocab().values()) + 1
    content = json.loads(tokenizer.to_str())
    for i, token in enumerate(("<pad>", "tok<a")):
        content["added_tokens"].append({
            "id": size + i, "content": token, "single_word": False, "lstrip": i == 1,
            "rstrip": False, "normalized": i == 1, "special": i == 0,
        })
    saved = Tokenizer.from_str(json.dumps(content))
    assert saved.encode("a<pad>").ids[-1] == size
    return json.dumps(content), size


def template(single, tokenizer, names):
    return processors.TemplateProcessing(
        single=single, special_tokens=[(name, tokenizer.token_to_id(name)) for name in names]
    )


ADDED = [
    AddedToken("<a", normalized=False),
    AddedToken("<a>", normalized=False, lstrip=True),
    AddedToken("<ab>", normalized=False, rstrip=True, special=True),
    AddedToken("tok", normalized=False, single_word=True),
    AddedToken("café", normalized=True, lstrip=True, rstrip=True),
    AddedToken("nai\u0308ve", normalized=True),
    AddedToken("\u212b", normalized=True, special=True),
    AddedToken("\n\n", normalized=False, rstrip=True),
    # With lstrip too, `tokenizers` panics where it follows a token with rstrip.
    AddedToken("\u3000", normalized=True),
    AddedToken("und er", normalized=True, single_word=True),
    AddedToken("Ġx", normalized=False),
    AddedToken("é!", normalized=False),
    AddedToken("the", normalized=True),
]


def tokenizers_to_compare(seed):
    """Yields name, tokenizer, its file's text, whether it sees the full corpus, ids of the model."""
    rng = random.Random(seed + 1)
    corpus = Corpus(seed + 2)

    def entry(name, tokenizer, full=False, text=None, ids=None):
        return name, tokenizer, text or tokenizer.to_str(), full, ids

    gpt2 = train(corpus, byte_level(), specials=["<|end|>"])
    gpt2.post_processor = processors.ByteLevel()
    yield entry("gpt2", gpt2, full=True)
    tokenizer, text = as_gpt2_has_it(gpt2)
    yield entry("gpt2-own-file", tokenizer, text=text)
    tokenizer, text = in_sequences(gpt2)
    yield entry("gpt2-in-sequences", tokenizer, text=text)
    tokenizer, text = old_merges(train(corpus, byte_level(prefix=True)))
    yield entry("gpt2-prefix-old-merges", tokenizer, text=text)
    yield entry("smollm", train(corpus, digits(), specials=["<s>", "<|end|>"]), full=True)
    smollm = train(corpus, digits(prefix=True), normalizer=normalizers.NFC())
    yield entry("smollm-prefix-nfc", smollm)

    llama3 = train(corpus, split(LLAMA3), size=1500)
    llama3 = without_some_merges(llama3, rng)
    llama3.add_special_tokens(["<s>", "<|end|>"])
    llama3.post_processor = processors.Sequence(
        [processors.ByteLevel(trim_offsets=False), template("<s> $A", llama3, ["<s>"])]
    )
    yield entry("llama3", llama3, full=True)
    for name, pattern in (("olmo2", LLAMA3), ("olmo2-qwen2-pattern", QWEN2)):
        olmo2 = train(corpus, removed_inverted(pattern), size=1500)
        olmo2.add_special_tokens(["<|end|>"])
        yield entry(name, olmo2)
    # The oracle is the tokenizer before it was saved so.
    yield entry("llama3-leftovers", llama3, text=with_leftovers(llama3))
    text, ids = with_tokens_beyond(llama3)
    yield entry("llama3-tokens-beyond", llama3, text=text, ids=ids)
    qwen2 = train(corpus, split(QWEN2), normalizer=normalizers.NFC())
    qwen2.add_special_tokens(["<s>", "<|end|>"])
    qwen2.post_processor = processors.ByteLevel()
    yield entry("qwen2", qwen2, full=True)
    sequence = normalizers.Sequence([normalizers.NFC()])
    prefixed = train(corpus, split(QWEN2, True), normalizer=sequence)
    prefixed.add_special_tokens(["<s>"])
    prefixed.post_processor = template("<s> $A <s> $A", prefixed, ["<s>"])
    yield entry("qwen2-prefix-template", prefixed)
    for name, normalizer in (("added", None), ("added-nfc", normalizers.NFC())):
        tokenizer = train(corpus, split(LLAMA3), normalizer=normalizer)
        tokenizer.add_tokens(ADDED)
        tokenizer.add_special_tokens(["<s>", AddedToken("<|end|>", lstrip=True, rstrip=True)])
        yield entry(name, tokenizer)
    yield entry("missing-bytes", train(corpus, byte_level(), alphabet=False))
    for i in range(6):
        yield entry(f"ambiguous-{i}", ambiguous_merges(rng))


class Dump:
    """The engine's side: a running tokenizer_dump."""

    def __init__(self, binary, path, model_ids):
        limit = [str(model_ids)] if model_ids else []
        self.process = subprocess.Popen(
            [binary, path, *limit], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )

    def call(self, operation, payload):
        request = operation.encode() + struct.pack("<I", len(payload)) + payload
        self.process.stdin.write(request)
        self.process.stdin.flush()
        size = self.process.stdout.read(4)
        if len(size) < 4:
            status = self.process.wait()
            sys.exit(f"tokenizer_dump failed ({status}) on {operation} {payload[:200]!r}")
        return self.process.stdout.read(struct.unpack("<I", size)[0])

    def encode(self, text, special):
        raw = self.call("E" if special else "e", text.encode())
        return list(struct.unpack(f"<{len(raw) // 4}I", raw))

    def decode(self, ids, operation):
        return self.call(operation, struct.pack(f"<{len(ids)}I", *ids)).decode()

    def close(self):
        self.process.stdin.close()
        if self.process.wait() != 0:
            sys.exit("tokenizer_dump failed")


def differ(name, what, given, expected, found):
    unequal = (i for i, (a, b) in enumerate(zip(expected, found)) if a != b)
    at = next(unequal, min(len(expected), len(found)))
    around = slice(max(at - 5, 0), at + 5)
    sys.exit(
        f"{name}: {what} differs at {at} of {len(expected)} (found {len(found)})\n"
        f"  given    {str(given[:300]).encode('unicode_escape')}\n"
        f"  expected {expected[around]!r}\n  found    {found[around]!r}"
    )


def compare_encoding(name, tokenizer, dump, texts, special):
    encodings = tokenizer.encode_batch_fast(texts, add_special_tokens=special)
    for text, encoding in zip(texts, encodings):
        found = dump.encode(text, special)
        if found != encoding.ids:
            differ(name, f"encode(add_special_tokens={special})", text, encoding.ids, found)
    return [encoding.ids for encoding in encodings]


def compare_decoding(name, tokenizer, dump, lists):
    for ids in lists:
        for operation, skip in (("d", False), ("D", True), ("s", False)):
            expected = tokenizer.decode(ids, skip_special_tokens=skip)
            found = dump.decode(ids, operation)
            if found != expected:
                differ(name, f"decode {operation}", ids, expected, found)


def random_ids(rng, size):
    return [rng.randrange(size + 3) for _ in range(rng.randrange(1, 40))]


def compare(name, tokenizer, text, full, model_ids, arguments, folder):
    path = folder / f"{name}.json"
    path.write_text(text)
    dump = Dump(arguments.dump, str(path), model_ids)
    corpus = Corpus(arguments.seed)
    rng = random.Random(arguments.seed)
    start = time.monotonic()
    if name.startswith("ambiguous"):
        texts = ["".join(rng.choices("abc", k=rng.randrange(1, 60))) for _ in range(4000)]
        lines = ["".join(rng.choices("abc", k=1 << 18))]
    else:
        texts = list(corpus.texts(full))
        # `tokenizers` itself takes quadratic time to strip space around added tokens.
        size = 1 << 12 if name.startswith("added") else 1 << 20 if full else 1 << 16
        lines = list(corpus.lines(size))
    ids = compare_encoding(name, tokenizer, dump, texts, False)
    compare_encoding(name, tokenizer, dump, texts[:: 1 if full else 4], True)
    long_ids = [i for line in lines for i in compare_encoding(name, tokenizer, dump, [line], False)]
    size = max(tokenizer.get_vocab().values()) + 1
    compare_decoding(name, tokenizer, dump, ids[::5] + long_ids[::4])
    compare_decoding(name, tokenizer, dump, [random_ids(rng, size) for _ in range(2000)])
    dump.close()
    characters = sum(map(len, texts)) + sum(map(len, lines))
    print(f"{name}: {len(texts) + len(lines)} texts, {characters} characters, "
          f"{time.monotonic() - start:.1f} s", flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--dump", required=True, help="the tokenizer_dump binary")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--only", default="", help="compare only tokenizers whose name begins so")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        compared = 0
        for name, tokenizer, text, full, ids in tokenizers_to_compare(arguments.seed):
            if name.startswith(arguments.only):
                compare(name, tokenizer, text, full, ids, arguments, pathlib.Path(folder))
                compared += 1
    print(f"{compared} tokenizers give the same ids and text (seed {arguments.seed})")
    if compared == 0:
        sys.exit(f"no tokenizer's name begins with {arguments.only!r}")


if __name__ == "__main__":
    main()
