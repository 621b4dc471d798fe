// SPDX-License-Identifier: Apache-2.0
// Cuts text into the words that byte-pair encoding never merges across: hand-written matchers with
// the exact semantics of four regular expressions, in time linear in the text.
#ifndef RECURVE_ENGINE_TOKENIZER_PRE_TOKENIZER_H_
#define RECURVE_ENGINE_TOKENIZER_PRE_TOKENIZER_H_

#include <cstddef>
#include <string_view>

namespace recurve {

enum class WordPattern { kGpt2, kLlama3, kQwen2 };

inline constexpr std::string_view kGpt2Pattern =
    R"('s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+)";
inline constexpr std::string_view kLlama3Pattern =
    R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)";
inline constexpr std::string_view kQwen2Pattern =
    R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)";

// The three patterns match at every position, so the words of a text are its successive matches.
// Returns the length in bytes, at least 1, of the match of `pattern` at the start of `text`: not
// empty, valid UTF-8, up to the end of the text being cut (the patterns look ahead). Calls for all
// words of a text take linear time together.
size_t WordLength(WordPattern pattern, std::string_view text);

// Length in bytes, at least 1, of the first unit of `text` (not empty, valid UTF-8) when each
// numeric character is a unit of its own and so is all text between two of them.
size_t DigitUnitLength(std::string_view text);

}  // namespace recurve

#endif  // RECURVE_ENGINE_TOKENIZER_PRE_TOKENIZER_H_
