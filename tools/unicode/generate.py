#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Generates engine/tokenizer/unicode_tables.cc from what the `tokenizers` package does.

The engine must give the ids that `tokenizers` gives, so its character tables are not those of one
Unicode version: they are what the engines inside that package do with every code point. Each table
is therefore found by probing the package itself:

  letter, number, space   \\p{L}, \\p{N}, \\s of Oniguruma (the Split and ByteLevel patterns)
  numeric                 Rust's char::is_numeric (the Digits pre-tokenizer)
  word                    \\w of Rust's regex crate (single_word added tokens)
  NFC                     the unicode-normalization crate: decompositions, compositions and
                          combining classes; older than the tables above

Usage:
  generate.py           writes the file
  generate.py --check   exits with 1 when the committed file differs
The version of `tokenizers` is pinned in tests/requirements.txt.
"""

import argparse
import pathlib
import sys
import unicodedata

import tokenizers
from tokenizers import AddedToken, Regex, Tokenizer, models, normalizers, pre_tokenizers

OUTPUT = pathlib.Path(__file__).resolve().parents[2] / "engine/tokenizer/unicode_tables.cc"
CODE_POINTS = [c for c in range(0x110000) if not 0xD800 <= c <= 0xDFFF]
BATCH = 4096
HANGUL = range(0xAC00, 0xD7A4)

nfc = normalizers.NFC().normalize_str
nfd = normalizers.NFD().normalize_str


def batches():
    for i in range(0, len(CODE_POINTS), BATCH):
        yield CODE_POINTS[i : i + BATCH]


def pattern_class(pattern):
    """The code points that one Oniguruma character class matches."""
    split = pre_tokenizers.Split(Regex(pattern), "removed", invert=True)
    found = set()
    for batch in batches():
        for piece, _ in split.pre_tokenize_str("".join(map(chr, batch))):
            found.update(map(ord, piece))
    return found


def numeric_class():
    """The code points that Digits isolates: a run of one character each, between letters."""
    digits = pre_tokenizers.Digits(individual_digits=True)
    found = set()
    for batch in batches():
        pieces = digits.pre_tokenize_str("".join("a" + chr(c) for c in batch))
        found.update(ord(piece) for piece, _ in pieces if len(piece) == 1 and piece != "a")
    return found


def added_token_class(**flags):
    """The code points c for which an added token X with `flags` matches in "Xc.", and how far."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.add_tokens([AddedToken("X", normalized=False, **flags)])
    widths = {}
    for batch in batches():
        encoding = tokenizer.encode("".join("X" + chr(c) + "." for c in batch))
        for begin, end in encoding.offsets:
            widths[batch[begin // 3]] = end - begin
    return widths


def character_classes():
    letter = pattern_class(r"\p{L}")
    number = pattern_class(r"\p{N}")
    space = pattern_class(r"\s")
    everything = set(CODE_POINTS)
    # The matchers rely on this: the classes are disjoint and negated sets are true complements.
    assert not letter & number and not letter & space and not number & space
    assert pattern_class(r"\S") == everything - space
    assert pattern_class(r"[^\s\p{L}\p{N}]") == everything - space - letter - number
    assert pattern_class(r"[^\r\n\p{L}\p{N}]") == everything - letter - number - {10, 13}
    word = everything - set(added_token_class(single_word=True))
    stripped = {c for c, width in added_token_class(rstrip=True).items() if width > 1}
    assert stripped == space, "rstrip takes other characters than \\s"
    return [letter, number, space, numeric_class(), word]


def case_folds():
    """What (?i:...) of the Llama 3 and Qwen 2 patterns matches beyond ASCII: U+017F for s."""
    for contraction in ["'s", "'t", "'re", "'ve", "'m", "'ll", "'d"]:
        split = pre_tokenizers.Split(Regex(f"(?i:{contraction})"), "removed", invert=True)
        for i, letter in enumerate(contraction):
            found = set()
            for batch in batches():
                texts = (contraction[:i] + chr(c) + contraction[i + 1 :] for c in batch)
                found.update(ord(piece[i]) for piece, _ in split.pre_tokenize_str("|".join(texts)))
            expected = {ord(letter), ord(letter.upper())} | ({0x17F} if letter == "s" else set())
            assert found == expected, (contraction, letter, found)
        if len(contraction) == 3:  # one character that folds to both letters
            for batch in batches():
                assert not split.pre_tokenize_str("|".join("'" + chr(c) for c in batch))


def changed(before, after):
    """The code points c for which NFD changes before + c + after."""
    found = []
    for i in range(0, len(CODE_POINTS), 256):
        texts = {c: before + chr(c) + after for c in CODE_POINTS[i : i + 256]}
        whole = "".join(texts.values())
        if nfd(whole) != whole:
            found.extend(c for c, text in texts.items() if nfd(text) != text)
    return found


def decompositions():
    """Full canonical decompositions, without Hangul syllables (computed, not looked up)."""
    table = {c: nfd(chr(c)) for c in changed("a", "a")}
    for c in HANGUL:
        l, v, t = (c - 0xAC00) // 588, (c - 0xAC00) % 588 // 28, (c - 0xAC00) % 28
        expected = chr(0x1100 + l) + chr(0x1161 + v) + (chr(0x11A7 + t) if t else "")
        assert table.pop(c) == expected
    return table


def compositions(decomposed):
    """(first, second) -> composed, for every primary composite."""
    table = {}
    for c, text in decomposed.items():
        if nfc(chr(c)) != chr(c):
            continue  # excluded from composition
        first = nfc(text[:-1])
        assert len(first) == 1 and nfc(first + text[-1]) == chr(c), hex(c)
        table[ord(first), ord(text[-1])] = c
    firsts, seconds = {a for a, _ in table}, {b for _, b in table}
    for a in firsts:
        for b in seconds:
            expected = table.get((a, b))
            composed = nfc(chr(a) + chr(b))
            assert expected is None or composed == chr(expected)
            assert expected is not None or len(composed) > 1 or a in decomposed, (hex(a), hex(b))
    return table


def combining_classes(decomposed):
    """Code point -> canonical combining class, where it is not 0, by how pairs are reordered.

    A representative of each class comes from Python's tables: classes never change.
    """
    representatives = {}
    for c in CODE_POINTS:
        value = unicodedata.combining(chr(c))
        if value and c not in decomposed and value not in representatives:
            pairs = (chr(c) + "\u0334", "\u0345" + chr(c))  # classes 1 and 240
            if any(nfd(pair) != pair for pair in pairs):  # the crate knows its class
                representatives[value] = chr(c)
    values = sorted(representatives)
    assert values[0] == 1 and values[-1] == 240, values
    for low, high in zip(values, values[1:]):
        pair = representatives[high] + representatives[low]
        assert nfd(pair) == pair[::-1], (low, high)
    # Between the highest and the lowest class only a starter keeps the order.
    table = {}
    for c in changed("a" + representatives[240], representatives[1]):
        text = chr(c)
        if c in decomposed or c in HANGUL:
            continue
        equal = [
            v
            for v, r in representatives.items()
            if nfd(text + r) == text + r and nfd(r + text) == r + text
        ]
        assert len(equal) == 1, (hex(c), equal)
        table[c] = equal[0]
    return table


def breakpoints(value_of):
    """The points where a function of the code point changes, as start << 8 | value."""
    result, previous = [], None
    for c in range(0x110000):
        value = value_of(c)
        if value != previous:
            result.append(c << 8 | value)
            previous = value
    return result


def lines(items, width=100):
    line = " "
    for item in items:
        if len(line) + len(item) + 2 > width:
            yield line
            line = " "
        line += " " + item + ","
    yield line


def array(comment, declaration, items):
    return [f"// {text}" for text in comment] + [declaration + " = {", *lines(items), "};", ""]


def generate():
    case_folds()
    classes = character_classes()
    bits = {}
    for i, members in enumerate(classes):
        for c in members:
            bits[c] = bits.get(c, 0) | 1 << i
    class_points = breakpoints(lambda c: bits.get(c, 0))
    decomposed = decompositions()
    combining = combining_classes(decomposed)
    combining_points = breakpoints(lambda c: combining.get(c, 0))
    pool = []
    entries = []
    for c, text in sorted(decomposed.items()):
        entries.append(f"{{0x{c:X}, {len(pool)}, {len(text)}}}")
        pool.extend(f"0x{ord(x):X}" for x in text)
    composed = compositions(decomposed)
    pairs = [f"{{0x{a:X}, 0x{b:X}, 0x{c:X}}}" for (a, b), c in sorted(composed.items())]
    names = ["letter", "number", "space", "numeric", "word"]
    counts = ", ".join(f"{name} {len(members)}" for name, members in zip(names, classes))
    out = [
        "// SPDX-License-Identifier: Apache-2.0",
        f"// Generated by tools/unicode/generate.py from tokenizers {tokenizers.__version__}; "
        "not to be edited.",
        f"// Code points: {counts}.",
        f"// NFC: {len(entries)} decompositions, {len(pairs)} compositions, "
        f"{len(combining)} combining characters.",
        "// clang-format off",
        '#include "engine/tokenizer/unicode_tables.h"',
        "",
        "namespace recurve::unicode_tables {",
        "namespace {",
        "",
    ]
    out += array(
        ["Start of a run of code points with equal classes << 8 | CharacterClass bits."],
        f"constexpr uint32_t kClassArray[{len(class_points)}]",
        [f"0x{x:X}" for x in class_points],
    )
    out += array(
        ["Start of a run of code points of equal combining class << 8 | class."],
        f"constexpr uint32_t kCombiningArray[{len(combining_points)}]",
        [f"0x{x:X}" for x in combining_points],
    )
    out += array(
        ["Code point, where its full canonical decomposition begins in the pool, its length."],
        f"constexpr Decomposition kDecompositionArray[{len(entries)}]",
        entries,
    )
    out += array([], f"constexpr char32_t kPoolArray[{len(pool)}]", pool)
    out += array(
        ["First, second, their primary composite; sorted."],
        f"constexpr Composition kCompositionArray[{len(pairs)}]",
        pairs,
    )
    out += [
        "}  // namespace",
        "",
        "constinit const std::span<const uint32_t> kClasses = kClassArray;",
        "constinit const std::span<const uint32_t> kCombining = kCombiningArray;",
        "constinit const std::span<const Decomposition> kDecompositions = kDecompositionArray;",
        "constinit const std::span<const char32_t> kDecompositionPool = kPoolArray;",
        "constinit const std::span<const Composition> kCompositions = kCompositionArray;",
        "",
        "}  // namespace recurve::unicode_tables",
        "",
    ]
    return "\n".join(out)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--check", action="store_true", help="compare with the committed file")
    arguments = parser.parse_args()
    text = generate()
    if not arguments.check:
        OUTPUT.write_text(text)
    elif OUTPUT.read_text() != text:
        version = tokenizers.__version__
        sys.exit(f"{OUTPUT} is not what tokenizers {version} gives; run {sys.argv[0]}")


if __name__ == "__main__":
    main()
