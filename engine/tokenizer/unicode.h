// SPDX-License-Identifier: Apache-2.0
// Character classes and NFC exactly as the pinned `tokenizers` package has them (its engines follow
// different Unicode versions; tools/unicode/generate.py says which table comes from which engine).
// Pure functions, safe from any thread.
#ifndef RECURVE_ENGINE_TOKENIZER_UNICODE_H_
#define RECURVE_ENGINE_TOKENIZER_UNICODE_H_

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

namespace recurve {

// Bits; kLetter, kNumber and kSpace exclude each other.
enum CharacterClass : uint8_t {
  kLetter = 1,    // \p{L} of the pre-tokenizers' patterns
  kNumber = 2,    // \p{N} of the pre-tokenizers' patterns
  kSpace = 4,     // \s, and what lstrip and rstrip of added tokens take
  kNumeric = 8,   // what the Digits pre-tokenizer isolates
  kWordChar = 16  // \w, for single_word of added tokens
};

// CharacterClass bits of a code point up to 0x10FFFF.
uint8_t ClassesOf(char32_t code_point);

// `text`, valid UTF-8, in Unicode normalization form C. O(n log n) in the longest run of combining
// characters, O(n) otherwise.
std::string NormalizeNfc(std::string_view text);

// A text has at most so many times the bytes of its normalization form C: the seven of U+1FBE,
// U+0308 and U+0301, for instance, become the two of U+0390.
inline constexpr size_t kMostNfcShrinkage = 4;

}  // namespace recurve

#endif  // RECURVE_ENGINE_TOKENIZER_UNICODE_H_
