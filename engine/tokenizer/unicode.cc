// SPDX-License-Identifier: Apache-2.0
#include "engine/tokenizer/unicode.h"

#include <algorithm>
#include <array>
#include <span>
#include <utility>
#include <vector>

#include "engine/tokenizer/unicode_tables.h"
#include "engine/tokenizer/utf8.h"

namespace recurve {
namespace {

using unicode_tables::Composition;
using unicode_tables::Decomposition;

// Hangul syllables are composed by arithmetic (The Unicode Standard, 3.12).
constexpr char32_t kSBase = 0xAC00, kLBase = 0x1100, kVBase = 0x1161, kTBase = 0x11A7;
constexpr char32_t kLCount = 19, kVCount = 21, kTCount = 28;
constexpr char32_t kSCount = kLCount * kVCount * kTCount;

// The low 8 bits of the last entry whose start is not above `code_point`.
uint8_t RunValue(std::span<const uint32_t> runs, char32_t code_point) {
  const auto after = std::upper_bound(runs.begin(), runs.end(), code_point << 8 | 0xFF);
  return static_cast<uint8_t>(*(after - 1));
}

// Direct look-up below U+0180: ASCII and Latin letters are most of most text.
constexpr size_t kDirect = 0x180;
const std::array<uint8_t, kDirect>& DirectClasses() {
  static const std::array<uint8_t, kDirect> classes = [] {
    std::array<uint8_t, kDirect> result;
    for (char32_t c = 0; c < kDirect; ++c) result[c] = RunValue(unicode_tables::kClasses, c);
    return result;
  }();
  return classes;
}

struct Character {
  char32_t code_point;
  uint8_t combining;  // canonical combining class; 0: a starter
};

void Push(char32_t code_point, std::vector<Character>* out) {
  out->push_back({code_point, RunValue(unicode_tables::kCombining, code_point)});
}

void Decompose(char32_t c, std::vector<Character>* out) {
  if (c - kSBase < kSCount) {
    const char32_t index = c - kSBase;
    out->push_back({kLBase + index / (kVCount * kTCount), 0});
    out->push_back({kVBase + index % (kVCount * kTCount) / kTCount, 0});
    if (index % kTCount != 0) out->push_back({kTBase + index % kTCount, 0});
    return;
  }
  const auto& table = unicode_tables::kDecompositions;
  const auto found =
      std::lower_bound(table.begin(), table.end(), c,
                       [](const Decomposition& d, char32_t value) { return d.code_point < value; });
  if (found == table.end() || found->code_point != c) return Push(c, out);
  for (const char32_t part :
       unicode_tables::kDecompositionPool.subspan(found->begin, found->length)) {
    Push(part, out);
  }
}

// The primary composite of two characters, 0 if there is none.
char32_t Compose(char32_t first, char32_t second) {
  if (first - kLBase < kLCount && second - kVBase < kVCount) {
    return kSBase + ((first - kLBase) * kVCount + (second - kVBase)) * kTCount;
  }
  if (first - kSBase < kSCount && (first - kSBase) % kTCount == 0 &&
      second - kTBase - 1 < kTCount - 1) {
    return first + (second - kTBase);
  }
  const auto& table = unicode_tables::kCompositions;
  const auto found =
      std::lower_bound(table.begin(), table.end(), std::pair(first, second),
                       [](const Composition& c, std::pair<char32_t, char32_t> value) {
                         return std::pair<char32_t, char32_t>(c.first, c.second) < value;
                       });
  if (found == table.end() || found->first != first || found->second != second) return 0;
  return found->composed;
}

// Canonical composition in place (The Unicode Standard, D117), `text` being in canonical order.
void ComposeAll(std::vector<Character>* text) {
  std::vector<Character>& t = *text;
  size_t size = 0;
  size_t starter = t.size();  // index of the last starter kept; t.size(): none yet
  uint8_t last = 0;           // combining class of the last character kept after the starter
  for (size_t i = 0; i < t.size(); ++i) {
    const Character c = t[i];
    const bool adjacent = starter < t.size() && starter + 1 == size;
    // Blocked: something between the starter and c has class 0 or one not below that of c.
    if (starter < t.size() && (adjacent || (last != 0 && last < c.combining))) {
      if (const char32_t composed = Compose(t[starter].code_point, c.code_point); composed != 0) {
        t[starter].code_point = composed;
        continue;
      }
    }
    if (c.combining == 0) starter = size;
    last = c.combining;
    t[size++] = c;
  }
  t.resize(size);
}

}  // namespace

uint8_t ClassesOf(char32_t code_point) {
  static const std::array<uint8_t, kDirect>& direct = DirectClasses();
  if (code_point < kDirect) return direct[code_point];
  return RunValue(unicode_tables::kClasses, code_point);
}

std::string NormalizeNfc(std::string_view text) {
  // Text below U+0300 holds no combining character and nothing that NFC changes: no lead byte
  // above that of U+02FF.
  const bool stable =
      std::all_of(text.begin(), text.end(), [](char c) { return static_cast<uint8_t>(c) < 0xCC; });
  if (stable) return std::string(text);
  std::vector<Character> characters;
  characters.reserve(text.size());
  for (size_t at = 0; at < text.size();) {
    const CodePoint c = DecodeUtf8(text, at);
    Decompose(c.value, &characters);
    at += c.length;
  }
  for (auto begin = characters.begin(); begin != characters.end();) {
    if (begin->combining == 0) {
      ++begin;
      continue;
    }
    const auto end =
        std::find_if(begin, characters.end(), [](const Character& c) { return c.combining == 0; });
    std::stable_sort(begin, end, [](const Character& a, const Character& b) {
      return a.combining < b.combining;
    });
    begin = end;
  }
  ComposeAll(&characters);
  std::string result;
  result.reserve(text.size());
  for (const Character& c : characters) AppendUtf8(c.code_point, &result);
  return result;
}

}  // namespace recurve
