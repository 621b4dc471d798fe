// SPDX-License-Identifier: Apache-2.0
// compare_tokenizers.py compares the matchers with the real regular expressions on far more text.
#include "engine/tokenizer/pre_tokenizer.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <vector>

namespace recurve {
namespace {

using ::testing::ElementsAre;

std::vector<std::string> Words(WordPattern pattern, std::string_view text) {
  std::vector<std::string> words;
  while (!text.empty()) {
    const size_t length = WordLength(pattern, text);
    words.emplace_back(text.substr(0, length));
    text.remove_prefix(length);
  }
  return words;
}

TEST(Gpt2Words, LettersNumbersAndOthersWithOneSpace) {
  EXPECT_THAT(Words(WordPattern::kGpt2, "Hello world 123abc!? x"),
              ElementsAre("Hello", " world", " 123", "abc", "!?", " x"));
  EXPECT_THAT(Words(WordPattern::kGpt2, "na\xC3\xAFve \xE4\xB8\x96\xE7\x95\x8C"),
              ElementsAre("na\xC3\xAFve", " \xE4\xB8\x96\xE7\x95\x8C"));
}

TEST(Gpt2Words, ContractionsAreLowerCase) {
  EXPECT_THAT(Words(WordPattern::kGpt2, "I'm we'll've it'S 'r x's"),
              ElementsAre("I", "'m", " we", "'ll", "'ve", " it", "'", "S", " '", "r", " x", "'s"));
}

TEST(Gpt2Words, WhiteSpaceLeavesItsLastCharacterToTheWord) {
  EXPECT_THAT(Words(WordPattern::kGpt2, "a   b\n\nc \t"),
              ElementsAre("a", "  ", " b", "\n", "\n", "c", " \t"));
  EXPECT_THAT(Words(WordPattern::kGpt2, "\xE3\x80\x80\xC2\xA0x"),
              ElementsAre("\xE3\x80\x80", "\xC2\xA0", "x"));
}

TEST(Llama3Words, ContractionsIgnoreCase) {
  EXPECT_THAT(Words(WordPattern::kLlama3, "IT'S we'LL a'\xC5\xBFx 'tis"),
              ElementsAre("IT", "'S", " we", "'LL", " a", "'\xC5\xBF", "x", " '", "tis"));
}

TEST(Llama3Words, AnyCharacterMayLeadAWord) {
  EXPECT_THAT(Words(WordPattern::kLlama3, "(abc \tdef\nghi"),
              ElementsAre("(abc", " ", "\tdef", "\n", "ghi"));
}

TEST(Llama3Words, NumbersInThreesOrOnes) {
  EXPECT_THAT(Words(WordPattern::kLlama3, "1234567 8"), ElementsAre("123", "456", "7", " ", "8"));
  EXPECT_THAT(Words(WordPattern::kQwen2, "123 4"), ElementsAre("1", "2", "3", " ", "4"));
}

TEST(Llama3Words, OthersTakeLineBreaksAndLineBreaksTakeSpace) {
  EXPECT_THAT(Words(WordPattern::kLlama3, "x;\r\n\n  y"), ElementsAre("x", ";\r\n\n", " ", " y"));
  EXPECT_THAT(Words(WordPattern::kQwen2, " \n \r  x \n"), ElementsAre(" \n \r", " ", " x", " \n"));
}

TEST(DigitUnits, IsolateEachNumericCharacter) {
  std::vector<std::string> units;
  for (std::string_view text = "ab12 \xC2\xBD!"; !text.empty();) {
    units.emplace_back(text.substr(0, DigitUnitLength(text)));
    text.remove_prefix(units.back().size());
  }
  EXPECT_THAT(units, ElementsAre("ab", "1", "2", " ", "\xC2\xBD", "!"));
}

// A matcher that looked at the rest of the text for each word would take hours.
TEST(WordLength, LongRunsTakeLinearTime) {
  for (const WordPattern pattern :
       {WordPattern::kGpt2, WordPattern::kLlama3, WordPattern::kQwen2}) {
    const size_t size = 1 << 20;
    EXPECT_EQ(Words(pattern, std::string(size, ' ')).size(), 1u);
    EXPECT_EQ(Words(pattern, std::string(size, ' ') + "x").size(), 2u);
    EXPECT_EQ(Words(pattern, std::string(size, 'x')).size(), 1u);
    std::string lines;
    for (size_t i = 0; i < size / 2; ++i) lines += "\n ";
    EXPECT_EQ(Words(pattern, lines).size(), pattern == WordPattern::kGpt2 ? 1u : 2u);
  }
}

}  // namespace
}  // namespace recurve
