// SPDX-License-Identifier: Apache-2.0
#include "engine/tokenizer/pre_tokenizer.h"

#include <cstdint>

#include "engine/tokenizer/unicode.h"
#include "engine/tokenizer/utf8.h"

namespace recurve {
namespace {

constexpr uint8_t kLetterNumberSpace = kLetter | kNumber | kSpace;

// A character with its classes; `length` 0 and no class at the end of the text.
struct Char {
  char32_t value = 0;
  uint32_t length = 0;
  uint8_t classes = 0;

  bool letter() const { return classes & kLetter; }
  bool number() const { return classes & kNumber; }
  bool space() const { return classes & kSpace; }
  bool other() const { return length > 0 && !(classes & kLetterNumberSpace); }
  bool newline() const { return value == '\r' || value == '\n'; }
};

Char CharAt(std::string_view text, size_t at) {
  if (at >= text.size()) return {};
  const CodePoint c = DecodeUtf8(text, at);
  return {c.value, c.length, ClassesOf(c.value)};
}

// End of the run of characters from `at` on for which `in_run` holds, of at most `limit`
// characters.
template <typename Predicate>
size_t RunEnd(std::string_view text, size_t at, Predicate in_run, size_t limit = SIZE_MAX) {
  for (; limit > 0; --limit) {
    const Char c = CharAt(text, at);
    if (c.length == 0 || !in_run(c)) break;
    at += c.length;
  }
  return at;
}

bool IsLetter(const Char& c) { return c.letter(); }
bool IsNumber(const Char& c) { return c.number(); }
bool IsSpace(const Char& c) { return c.space(); }
bool IsOther(const Char& c) { return c.other(); }
bool IsNewline(const Char& c) { return c.newline(); }

// 's|'t|'re|'ve|'m|'ll|'d at the start of `text`: its length in bytes, 0 without a match.
// With `ignore_case` as Oniguruma folds: ASCII letters, and U+017F, which folds to s.
size_t ContractionLength(std::string_view text, bool ignore_case) {
  if (text.size() < 2 || text[0] != '\'') return 0;
  const auto lower = [&](size_t at) -> char {
    if (at >= text.size()) return '\0';
    const char c = text[at];
    return ignore_case && c >= 'A' && c <= 'Z' ? static_cast<char>(c + ('a' - 'A')) : c;
  };
  switch (lower(1)) {
    case 's':
    case 't':
    case 'm':
    case 'd':
      return 2;
    case 'r':
    case 'v':
      return lower(2) == 'e' ? 3 : 0;
    case 'l':
      return lower(2) == 'l' ? 3 : 0;
    default:
      return ignore_case && text.substr(1, 2) == "\xC5\xBF" ? 3 : 0;  // U+017F
  }
}

// \s+(?!\S)|\s+ at the start of `text`, which begins with white space that ends at `end`: all of
// it at the end of the text; else all but its last character, as what follows is not white space;
// a single character is taken by the second alternative.
size_t SpaceLength(std::string_view text, size_t end) {
  if (end == text.size()) return end;
  const size_t last = LastCharacter(text.substr(0, end));
  return last > 0 ? last : end;
}

size_t Gpt2WordLength(std::string_view text) {
  if (const size_t length = ContractionLength(text, /*ignore_case=*/false); length > 0)
    return length;
  const size_t start = text[0] == ' ' ? 1 : 0;  // the optional space of the next three alternatives
  const Char c = CharAt(text, start);
  if (c.letter()) return RunEnd(text, start, IsLetter);
  if (c.number()) return RunEnd(text, start, IsNumber);
  if (c.other()) return RunEnd(text, start, IsOther);
  return SpaceLength(text, RunEnd(text, 0, IsSpace));
}

// The pattern of Llama 3, and of Qwen 2, in which `max_digits` is 1 instead of 3.
size_t Llama3WordLength(std::string_view text, size_t max_digits) {
  if (const size_t length = ContractionLength(text, /*ignore_case=*/true); length > 0)
    return length;
  const Char first = CharAt(text, 0);
  // [^\r\n\p{L}\p{N}]?\p{L}+
  if (first.letter()) return RunEnd(text, 0, IsLetter);
  if (!first.number() && !first.newline() && CharAt(text, first.length).letter()) {
    return RunEnd(text, first.length, IsLetter);
  }
  // \p{N}{1,3}
  if (first.number()) return RunEnd(text, 0, IsNumber, max_digits);
  // ` ?[^\s\p{L}\p{N}]+[\r\n]*`
  const size_t start = text[0] == ' ' ? 1 : 0;
  if (CharAt(text, start).other()) return RunEnd(text, RunEnd(text, start, IsOther), IsNewline);
  // \s*[\r\n]+: greedy, so up to the last line break of the white space.
  const size_t end = RunEnd(text, 0, IsSpace);
  if (const size_t newline = text.substr(0, end).find_last_of("\r\n"); newline != text.npos) {
    return newline + 1;
  }
  return SpaceLength(text, end);
}

}  // namespace

size_t WordLength(WordPattern pattern, std::string_view text) {
  switch (pattern) {
    case WordPattern::kGpt2:
      return Gpt2WordLength(text);
    case WordPattern::kLlama3:
      return Llama3WordLength(text, 3);
    case WordPattern::kQwen2:
      return Llama3WordLength(text, 1);
  }
  return text.size();
}

size_t DigitUnitLength(std::string_view text) {
  const auto numeric = [](const Char& c) { return (c.classes & kNumeric) != 0; };
  const Char first = CharAt(text, 0);
  if (numeric(first)) return first.length;
  return RunEnd(text, 0, [&](const Char& c) { return !numeric(c); });
}

}  // namespace recurve
