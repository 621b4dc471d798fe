// SPDX-License-Identifier: Apache-2.0
#include "engine/tokenizer/text_stream.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <optional>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include "tests/engine/tokenizer/test_tokenizer.h"

namespace recurve {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;
using Text = std::pair<int64_t, std::string>;  // a token released and its text

// Ids 0 to 255 are bytes; these are longer tokens.
constexpr TokenId kHello = 259, kStopHalf = 261;

const Tokenizer& TestVocabulary() {
  static const Tokenizer* tokenizer = [] {
    nlohmann::json file = TestTokenizer({{"h", "e"},
                                         {"l", "l"},
                                         {"he", "ll"},
                                         {"hell", "o"},
                                         {"S", "T"},
                                         {"x", "ST"},
                                         {"\xE2", "\x82"}});
    AddToken(&file, "<s>");
    return MustParse(file).release();
  }();
  return *tokenizer;
}
constexpr TokenId kEuroStart = 262, kSpecial = 263;

TextStream MakeStream(const TextStreamOptions& options) {
  auto stream = TextStream::Create(&TestVocabulary(), options);
  EXPECT_TRUE(stream.ok()) << stream.status();
  return *std::move(stream);
}

std::vector<Text> Copy(std::span<const TextStream::Released> released) {
  std::vector<Text> result;
  for (const auto& one : released) result.emplace_back(one.token, std::string(one.text));
  return result;
}

TEST(TextStream, ReleasesPlainTokensAtOnce) {
  TextStream stream = MakeStream({.stop = {}});
  EXPECT_THAT(Copy(stream.Push(kHello)), ElementsAre(Text(0, "hello")));
  EXPECT_THAT(Copy(stream.Push('!')), ElementsAre(Text(1, "!")));
  EXPECT_THAT(Copy(stream.Finish()), IsEmpty());
}

TEST(TextStream, ACharacterBelongsToTheTokenThatCompletesIt) {
  TextStream stream = MakeStream({.stop = {}});
  EXPECT_THAT(Copy(stream.Push(0xF0)), IsEmpty());
  EXPECT_THAT(Copy(stream.Push(0x9F)), IsEmpty());
  EXPECT_THAT(Copy(stream.Push(0x98)), IsEmpty());
  EXPECT_EQ(stream.held_tokens(), 3u);
  EXPECT_THAT(Copy(stream.Push(0x80)),
              ElementsAre(Text(0, ""), Text(1, ""), Text(2, ""), Text(3, "\xF0\x9F\x98\x80")));
}

TEST(TextStream, BrokenCharactersBelongToTheTokenThatShowsIt) {
  TextStream stream = MakeStream({.stop = {}});
  EXPECT_THAT(Copy(stream.Push(kEuroStart)), IsEmpty());
  EXPECT_THAT(Copy(stream.Push('a')), ElementsAre(Text(0, ""), Text(1,
                                                                    "\xEF\xBF\xBD"
                                                                    "a")));
  EXPECT_THAT(Copy(stream.Push(0xE2)), IsEmpty());
  EXPECT_THAT(Copy(stream.Push(0x82)), IsEmpty());
  EXPECT_THAT(Copy(stream.Push(kSpecial)), IsEmpty());
  EXPECT_THAT(Copy(stream.Finish()),
              ElementsAre(Text(2, ""), Text(3, "\xEF\xBF\xBD"), Text(4, "")));
}

TEST(TextStream, SpecialTokensHaveNoTextUnlessShown) {
  TextStream hidden = MakeStream({.stop = {}});
  EXPECT_THAT(Copy(hidden.Push(kSpecial)), ElementsAre(Text(0, "")));
  EXPECT_THAT(Copy(hidden.Push(1 << 20)), ElementsAre(Text(1, "")));  // an id without a token
  TextStream shown = MakeStream({.skip_special_tokens = false, .stop = {}});
  EXPECT_THAT(Copy(shown.Push(kSpecial)), ElementsAre(Text(0, "<s>")));
}

TEST(TextStream, HoldsWhatMayBecomeAStopString) {
  TextStream stream = MakeStream({.stop = {"hello!", "lover"}});
  EXPECT_THAT(Copy(stream.Push(kHello)), IsEmpty());
  EXPECT_THAT(Copy(stream.Push('v')), IsEmpty());  // "hello!" no more, but "lov" of "lover"
  EXPECT_THAT(Copy(stream.Push('e')), IsEmpty());
  EXPECT_THAT(Copy(stream.Push('n')),
              ElementsAre(Text(0, "hello"), Text(1, "v"), Text(2, "e"), Text(3, "n")));
  EXPECT_FALSE(stream.stopped());
}

TEST(TextStream, ExcludedStopCutsTheTokenItBeginsInAndDropsTheRest) {
  TextStream stream = MakeStream({.stop = {"nope", "STOP"}});
  EXPECT_THAT(Copy(stream.Push('a')), ElementsAre(Text(0, "a")));
  EXPECT_THAT(Copy(stream.Push(kStopHalf)), IsEmpty());  // "xST"
  EXPECT_THAT(Copy(stream.Push('O')), IsEmpty());
  EXPECT_THAT(Copy(stream.Push('P')), ElementsAre(Text(1, "x")));
  EXPECT_TRUE(stream.stopped());
  EXPECT_EQ(stream.stop_index(), 1u);
  EXPECT_EQ(stream.tokens(), 4);
}

TEST(TextStream, IncludedStopEndsInsideItsLastToken) {
  TextStream stream = MakeStream({.stop = {"xSThe"}, .include_stop = true});
  EXPECT_THAT(Copy(stream.Push(kStopHalf)), IsEmpty());
  EXPECT_THAT(Copy(stream.Push(kHello)), ElementsAre(Text(0, "xST"), Text(1, "he")));
  EXPECT_TRUE(stream.stopped());
}

TEST(TextStream, TheStopThatEndsFirstWinsThenTheLongest) {
  TextStream first = MakeStream({.stop = {"hello", "ell"}});
  EXPECT_THAT(Copy(first.Push(kHello)), ElementsAre(Text(0, "h")));
  EXPECT_EQ(first.stop_index(), 1u);
  TextStream longest = MakeStream({.stop = {"ll", "hell", "ell"}});
  EXPECT_THAT(Copy(longest.Push(kHello)), IsEmpty());
  EXPECT_EQ(longest.stop_index(), 1u);
}

TEST(TextStream, AStopStringInsideAnother) {
  TextStream stream = MakeStream({.stop = {"abcd", "bc"}});
  EXPECT_THAT(Copy(stream.Push('a')), IsEmpty());
  EXPECT_THAT(Copy(stream.Push('b')), IsEmpty());
  EXPECT_THAT(Copy(stream.Push('c')), ElementsAre(Text(0, "a")));
  EXPECT_EQ(stream.stop_index(), 1u);
}

TEST(TextStream, FinishReleasesWhatWasHeld) {
  TextStream stream = MakeStream({.stop = {"STOP"}});
  EXPECT_THAT(Copy(stream.Push('S')), IsEmpty());
  EXPECT_THAT(Copy(stream.Push(kSpecial)), IsEmpty());
  EXPECT_THAT(Copy(stream.Finish()), ElementsAre(Text(0, "S"), Text(1, "")));
  EXPECT_FALSE(stream.stopped());
}

TEST(TextStream, FinishMayCompleteAStopString) {
  TextStream stream = MakeStream({.stop = {"a\xEF\xBF\xBD"}});
  EXPECT_THAT(Copy(stream.Push('z')), ElementsAre(Text(0, "z")));
  EXPECT_THAT(Copy(stream.Push('a')), IsEmpty());
  EXPECT_THAT(Copy(stream.Push(0xE2)), IsEmpty());
  EXPECT_THAT(Copy(stream.Finish()), IsEmpty());
  EXPECT_TRUE(stream.stopped());
}

TEST(TextStream, EarlyStopStringsAreText) {
  TextStream stream = MakeStream({.stop = {"ST", "STOP"}, .first_stop_token = 2});
  EXPECT_THAT(Copy(stream.Push('S')), IsEmpty());
  EXPECT_THAT(Copy(stream.Push('T')), IsEmpty());  // "STOP" may still come
  EXPECT_THAT(Copy(stream.Push('x')), ElementsAre(Text(0, "S"), Text(1, "T"), Text(2, "x")));
  EXPECT_THAT(Copy(stream.Push(kStopHalf)), ElementsAre(Text(3, "x")));
  TextStream lone = MakeStream({.stop = {"S"}, .first_stop_token = 1});
  EXPECT_THAT(Copy(lone.Push('S')), ElementsAre(Text(0, "S")));  // nothing to wait for
  EXPECT_THAT(Copy(lone.Push('S')), IsEmpty());
  EXPECT_TRUE(lone.stopped());
}

TEST(TextStream, RefusesStopStringsThatCannotBe) {
  for (const std::string bad : {"", "\xC3", "a\xFF"}) {
    const auto stream = TextStream::Create(&TestVocabulary(), {.stop = {"ok", bad}});
    EXPECT_EQ(stream.status().code(), absl::StatusCode::kInvalidArgument);
    EXPECT_NE(stream.status().message().find("stop[1]"), absl::string_view::npos);
  }
}

// What a whole text and all stop strings say: where the first stop ends, the longest there.
struct Expected {
  std::optional<size_t> stop;
  size_t begin = 0;
  size_t end = 0;
};

Expected FindStop(const std::string& text, const std::vector<std::string>& stops) {
  for (size_t end = 1; end <= text.size(); ++end) {
    Expected found;
    for (size_t i = 0; i < stops.size(); ++i) {
      const size_t length = stops[i].size();
      if (length > end || text.compare(end - length, length, stops[i]) != 0) continue;
      if (!found.stop || end - length < found.begin) found = {i, end - length, end};
    }
    if (found.stop) return found;
  }
  return {};
}

std::vector<TokenId> RandomIds(std::mt19937* random) {
  static const std::vector<TokenId> pool = {'a',  'b',  'a',  'b',  'S',  'T',  260,
                                            261,  262,  263,  0xC3, 0xA9, 0xE2, 0x82,
                                            0xAC, 0xF0, 0x9F, 0x98, 0xFF, 0xED, 900};
  std::vector<TokenId> ids((*random)() % 30);
  for (TokenId& id : ids) id = pool[(*random)() % pool.size()];
  return ids;
}

// The texts released are the whole text, cut where a naive search over it says; each token comes
// once, in order, never with half a character, never later than its text is certain.
TEST(TextStream, AgreesWithANaiveSearchOverTheWholeText) {
  std::mt19937 random(5);
  const std::vector<std::string> pool = {
      "a",   "ab",       "aba",          "bab",           "bb", "abab", "ST", "TS",
      "bST", "\xC3\xA9", "\xEF\xBF\xBD", "b\xE2\x82\xAC", "aab"};
  int stops = 0;
  for (int round = 0; round < 20000; ++round) {
    const std::vector<TokenId> ids = RandomIds(&random);
    TextStreamOptions options{.skip_special_tokens = random() % 2 == 0, .stop = {}};
    options.include_stop = random() % 2 == 0;
    for (size_t i = random() % 4; i > 0; --i) options.stop.push_back(pool[random() % pool.size()]);
    const std::string whole = TestVocabulary().Decode(ids, options.skip_special_tokens);
    const Expected expected = FindStop(whole, options.stop);

    TextStream stream = MakeStream(options);
    std::vector<Text> released;
    for (const TokenId id : ids) {
      if (stream.stopped()) break;
      for (Text& text : Copy(stream.Push(id))) released.push_back(std::move(text));
    }
    if (!stream.stopped()) {
      for (Text& text : Copy(stream.Finish())) released.push_back(std::move(text));
    }
    std::string text;
    for (size_t i = 0; i < released.size(); ++i) {
      ASSERT_EQ(released[i].first, static_cast<int64_t>(i)) << "round " << round;
      ASSERT_EQ(FindInvalidUtf8(released[i].second), std::string::npos) << "round " << round;
      text += released[i].second;
    }
    ASSERT_EQ(stream.stopped(), expected.stop.has_value()) << "round " << round;
    if (!expected.stop) {
      ASSERT_EQ(text, whole) << "round " << round;
      ASSERT_EQ(released.size(), ids.size()) << "round " << round;
    } else {
      ++stops;
      ASSERT_EQ(options.stop[stream.stop_index()], options.stop[*expected.stop]);
      ASSERT_EQ(text, whole.substr(0, options.include_stop ? expected.end : expected.begin))
          << "round " << round;
    }
  }
  EXPECT_GT(stops, 3000);
}

}  // namespace
}  // namespace recurve
