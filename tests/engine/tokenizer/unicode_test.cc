// SPDX-License-Identifier: Apache-2.0
#include "engine/tokenizer/unicode.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <random>
#include <string>
#include <vector>

#include "engine/tokenizer/unicode_tables.h"
#include "engine/tokenizer/utf8.h"

namespace recurve {
namespace {

using namespace std::string_literals;

std::string Utf8(std::initializer_list<char32_t> code_points) {
  std::string text;
  for (const char32_t c : code_points) AppendUtf8(c, &text);
  return text;
}

TEST(ClassesOf, KnowsEachClassAtItsEdges) {
  EXPECT_EQ(ClassesOf('a'), kLetter | kWordChar);
  EXPECT_EQ(ClassesOf('7'), kNumber | kNumeric | kWordChar);
  EXPECT_EQ(ClassesOf('_'), kWordChar);
  EXPECT_EQ(ClassesOf('\''), 0);
  EXPECT_EQ(ClassesOf(0), 0);
  EXPECT_EQ(ClassesOf(0x10FFFF), 0);
  for (const char32_t space :
       U"\t\n\v\f\r \u0085\u00A0\u1680\u2000\u200A\u2028\u202F\u205F\u3000"s) {
    EXPECT_EQ(ClassesOf(space), kSpace) << static_cast<uint32_t>(space);
  }
  for (const char32_t none : {0x1Cu, 0x200Bu, 0xFEFFu, 0x180Eu})
    EXPECT_EQ(ClassesOf(none) & kSpace, 0);
  EXPECT_EQ(ClassesOf(0x301), kWordChar);                                   // a mark
  EXPECT_EQ(ClassesOf(0x2163) & (kNumber | kNumeric), kNumber | kNumeric);  // roman four
  EXPECT_EQ(ClassesOf(0x4E00) & (kLetter | kNumber), kLetter);              // ideograph one
}

size_t Utf8Bytes(char32_t c) { return Utf8({c}).size(); }

// A character of normal form C stands for the characters of its decomposition, each of which was
// written as itself or as a character that decomposes to it: at most `kMostNfcShrinkage` times its
// bytes.
TEST(NormalizeNfc, ShrinksNoTextByMoreThanItsBound) {
  std::map<char32_t, std::vector<char32_t>> decompositions;
  std::map<char32_t, size_t> most;  // bytes that a decomposed character may have been written in
  for (const auto& d : unicode_tables::kDecompositions) {
    const auto parts = unicode_tables::kDecompositionPool.subspan(d.begin, d.length);
    decompositions[d.code_point].assign(parts.begin(), parts.end());
    for (const char32_t part : parts) most[part] = std::max(most[part], Utf8Bytes(part));
    if (parts.size() == 1) most[parts[0]] = std::max(most[parts[0]], Utf8Bytes(d.code_point));
  }
  const auto written = [&](const std::vector<char32_t>& parts) {
    size_t bytes = 0;
    for (const char32_t part : parts) bytes += most[part];
    return bytes;
  };
  size_t ratio = 0;  // the largest one, rounded up
  for (const auto& [part, bytes] : most) {
    ratio = std::max(ratio, (bytes + Utf8Bytes(part) - 1) / Utf8Bytes(part));
  }
  for (const auto& [c, parts] : decompositions) {
    EXPECT_LE(Utf8Bytes(c), written(parts)) << static_cast<uint32_t>(c);
    ratio = std::max(ratio, (written(parts) + Utf8Bytes(c) - 1) / Utf8Bytes(c));
  }
  EXPECT_EQ(ratio, kMostNfcShrinkage);
  // Hangul, which has no tables.
  EXPECT_EQ(NormalizeNfc(Utf8({0x1112, 0x1175, 0x11C2})), Utf8({0xD7A3}));
  EXPECT_LE(Utf8({0x1112, 0x1175, 0x11C2}).size(), kMostNfcShrinkage * Utf8Bytes(0xD7A3));
}

TEST(ClassesOf, CountsMatchTheGeneratedTables) {
  int letters = 0, numbers = 0, spaces = 0;
  for (char32_t c = 0; c <= 0x10FFFF; ++c) {
    letters += (ClassesOf(c) & kLetter) != 0;
    numbers += (ClassesOf(c) & kNumber) != 0;
    spaces += (ClassesOf(c) & kSpace) != 0;
  }
  EXPECT_EQ(letters, 141028);  // \p{L} and \p{N} of Unicode 16
  EXPECT_EQ(numbers, 1911);
  EXPECT_EQ(spaces, 25);
}

TEST(NormalizeNfc, Composes) {
  EXPECT_EQ(NormalizeNfc("plain \xC3\xA9"), "plain \xC3\xA9");
  EXPECT_EQ(NormalizeNfc(Utf8({'e', 0x301})), Utf8({0xE9}));
  EXPECT_EQ(NormalizeNfc(Utf8({0x212B})), Utf8({0xC5}));                  // angstrom sign
  EXPECT_EQ(NormalizeNfc(Utf8({0x1E0B, 0x323})), Utf8({0x1E0D, 0x307}));  // reordered
  EXPECT_EQ(NormalizeNfc(Utf8({'a', 0x338, 0x301})), Utf8({0xE1, 0x338}));
  EXPECT_EQ(NormalizeNfc(Utf8({'a', 0x5B0, 0x334})), Utf8({'a', 0x334, 0x5B0}));
  EXPECT_EQ(NormalizeNfc(Utf8({'a', 0x300, 0x301})), Utf8({0xE0, 0x301}));
  EXPECT_EQ(NormalizeNfc(Utf8({'a', 0x305, 0x301})), Utf8({'a', 0x305, 0x301}));  // blocked
  EXPECT_EQ(NormalizeNfc(Utf8({0x958})), Utf8({0x915, 0x93C}));                   // excluded
  EXPECT_EQ(NormalizeNfc(Utf8({0x301, 'e'})), Utf8({0x301, 'e'}));
}

TEST(NormalizeNfc, Hangul) {
  EXPECT_EQ(NormalizeNfc(Utf8({0x1100, 0x1161, 0x11A8})), Utf8({0xAC01}));
  EXPECT_EQ(NormalizeNfc(Utf8({0xAC00, 0x11C2})), Utf8({0xAC1B}));
  EXPECT_EQ(NormalizeNfc(Utf8({0xAC00, 0x11A7})), Utf8({0xAC00, 0x11A7}));  // no trailing jamo
  EXPECT_EQ(NormalizeNfc(Utf8({0xAC01, 0x11A8})), Utf8({0xAC01, 0x11A8}));
  EXPECT_EQ(NormalizeNfc(Utf8({0xD7A3})), Utf8({0xD7A3}));
}

TEST(NormalizeNfc, IsIdempotent) {
  std::mt19937 random(7);
  for (int round = 0; round < 2000; ++round) {
    std::string text;
    for (int i = 0; i < 8; ++i) {
      char32_t c = random() % (random() % 2 ? 0x700 : 0x30000);
      if (c >= 0xD800 && c < 0xE000) c = 'x';
      AppendUtf8(c, &text);
    }
    const std::string once = NormalizeNfc(text);
    ASSERT_EQ(NormalizeNfc(once), once) << "round " << round;
    ASSERT_EQ(FindInvalidUtf8(once), once.npos);
  }
}

TEST(FindInvalidUtf8, NamesTheOffset) {
  EXPECT_EQ(FindInvalidUtf8("a\xC3\xA9\xF0\x9F\x98\x80"), std::string::npos);
  EXPECT_EQ(FindInvalidUtf8("ab\xFF"), 2u);
  EXPECT_EQ(FindInvalidUtf8("a\xC3"), 1u);
  EXPECT_EQ(FindInvalidUtf8("\xC0\x80"), 0u);          // overlong
  EXPECT_EQ(FindInvalidUtf8("\xED\xA0\x80"), 0u);      // surrogate
  EXPECT_EQ(FindInvalidUtf8("\xF4\x90\x80\x80"), 0u);  // above U+10FFFF
}

TEST(Utf8Stream, ReplacesMaximalSubparts) {
  const auto decode = [](std::string_view bytes) {
    std::string text;
    Utf8Stream stream;
    stream.Append(bytes, &text);
    stream.Finish(&text);
    return text;
  };
  const std::string bad = "\xEF\xBF\xBD";
  EXPECT_EQ(decode("a\xE2\x82z"), "a" + bad + "z");
  EXPECT_EQ(decode("\xE2\x82"), bad);
  EXPECT_EQ(decode("\xF0\x9F\x98"), bad);
  EXPECT_EQ(decode("\xC0\x80"), bad + bad);
  EXPECT_EQ(decode("\xED\xA0\x80"), bad + bad + bad);
  EXPECT_EQ(decode("\xE2\xE2\x82\xAC"), bad + "\xE2\x82\xAC");
  EXPECT_EQ(decode("\xF0\x80\x80"), bad + bad + bad);
}

}  // namespace
}  // namespace recurve
