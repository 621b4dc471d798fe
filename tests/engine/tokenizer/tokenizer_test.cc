// SPDX-License-Identifier: Apache-2.0
#include "engine/tokenizer/tokenizer.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>

#include <iterator>
#include <random>
#include <string>
#include <vector>

#include "tests/engine/tokenizer/test_tokenizer.h"
#include "tests/scoped_directory.h"

namespace recurve {
namespace {

using nlohmann::json;
using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

std::vector<TokenId> Ids(const json& file, std::string_view text, bool special = false) {
  const auto ids = MustParse(file)->Encode(text, special);
  EXPECT_TRUE(ids.ok()) << ids.status();
  return ids.ok() ? *ids : std::vector<TokenId>();
}

TEST(Encode, MergesLowestRankFirst) {
  const json file = TestTokenizer({{"b", "c"}, {"a", "b"}, {"a", "bc"}, {" ", "x"}});
  EXPECT_THAT(Ids(file, "abc"), ElementsAre(258));  // b+c, then a+bc; a+b never
  EXPECT_THAT(Ids(file, "abab"), ElementsAre(257, 257));
  EXPECT_THAT(Ids(file, " x a"), ElementsAre(259, ' ', 'a'));
}

TEST(Encode, EqualPairsFromTheLeft) {
  EXPECT_THAT(Ids(TestTokenizer({{"a", "a"}}), "aaaaa"), ElementsAre(256, 256, 'a'));
}

// Against the definition: merge the pair of lowest rank, the leftmost of these, until none is left.
TEST(Encode, AgreesWithTheDefinitionOnRandomMerges) {
  std::mt19937 random(11);
  for (int round = 0; round < 200; ++round) {
    std::vector<std::string> made = {"a", "b", "c"};
    std::vector<std::pair<std::string, std::string>> merges;
    while (merges.size() < 12) {
      const auto& left = made[random() % made.size()];
      const auto& right = made[random() % made.size()];
      if (std::find(made.begin(), made.end(), left + right) != made.end()) continue;
      merges.emplace_back(left, right);
      made.push_back(left + right);
    }
    const auto tokenizer = MustParse(TestTokenizer(merges));
    std::string text;
    for (int i = 0; i < 40; ++i) text += static_cast<char>('a' + random() % 3);
    std::vector<std::string> parts;
    for (const char c : text) parts.emplace_back(1, c);
    for (bool merged = true; merged;) {
      merged = false;
      for (size_t rank = 0; rank < merges.size() && !merged; ++rank) {
        for (size_t i = 0; i + 1 < parts.size() && !merged; ++i) {
          if (parts[i] != merges[rank].first || parts[i + 1] != merges[rank].second) continue;
          parts[i] += parts[i + 1];
          parts.erase(parts.begin() + static_cast<ptrdiff_t>(i) + 1);
          merged = true;
        }
      }
    }
    std::vector<TokenId> expected;
    expected.reserve(parts.size());
    for (const std::string& part : parts) expected.push_back(*tokenizer->TokenToId(part));
    ASSERT_EQ(*tokenizer->Encode(text, false), expected) << "round " << round << ": " << text;
  }
}

TEST(Encode, AMegabyteOfOneWord) {
  const auto tokenizer = MustParse(TestTokenizer({{"a", "a"}, {"aa", "aa"}, {"aaaa", "aaaa"}}));
  const auto ids = tokenizer->Encode(std::string((1 << 20) + 3, 'a'), false);
  ASSERT_TRUE(ids.ok());
  EXPECT_EQ(ids->size(), (1u << 17) + 2);
}

// Every bound, for texts of a few characters that added tokens, NFC, prefix spaces and merges
// compete for: encoding up to it gives all ids or says that there are more, and no text has more
// bytes than its ids may stand for.
TEST(EncodeUpTo, AgreesWithEncodeAtEveryBound) {
  const std::string_view characters[] = {" ",
                                         "\n",
                                         "a",
                                         "b",
                                         "<l>",
                                         "1",
                                         "e",
                                         "\xCC\x81",
                                         "\xE2\x84\xAA",  // KELVIN SIGN
                                         "\xE1\x84\x80",
                                         "\xE1\x85\xA1",
                                         "\xE1\x86\xA8",  // Hangul jamo
                                         "\xE1\xBE\xBE",
                                         "\xCC\x88"};  // with "\xCC\x81" they become U+0390
  const std::vector<std::vector<std::string>> flags = {
      {}, {"normalized"}, {"lstrip"}, {"rstrip", "normalized"}};
  std::mt19937 random(5);
  for (int round = 0; round < 400; ++round) {
    json file = TestTokenizer({{"a", "b"}, {"ab", "ab"}, {" ", " "}, {" ", "a"}});
    AddToken(&file, "<l>", flags[random() % flags.size()]);
    if (random() % 2 == 0) file["normalizer"] = {{"type", "NFC"}};
    file["pre_tokenizer"]["add_prefix_space"] = random() % 2 == 0;
    if (random() % 4 == 0) {  // a byte without a token
      file["model"]["vocab"].erase("b");
      file["model"]["vocab"]["bb"] = 'b';
      file["model"]["merges"] = json::array();
    }
    file["model"]["ignore_merges"] = random() % 2 == 0;
    const auto tokenizer = MustParse(file);
    std::string text;
    for (size_t i = random() % 20; i > 0; --i) text += characters[random() % std::size(characters)];
    const std::vector<TokenId> ids = *tokenizer->Encode(text, true);
    for (size_t bound = 0; bound <= ids.size() + 1; ++bound) {
      const auto encoding = tokenizer->EncodeUpTo(bound, text, true);
      ASSERT_TRUE(encoding.ok());
      ASSERT_EQ(encoding->is_whole, bound >= ids.size()) << round << ": " << text;
      ASSERT_EQ(encoding->ids, encoding->is_whole ? ids : std::vector<TokenId>());
    }
    const auto most = tokenizer->MostBytes(static_cast<uint32_t>(ids.size()));
    if (most.has_value()) {
      ASSERT_LE(text.size(), *most) << round << ": " << text;
    }
  }
}

TEST(EncodeUpTo, CountsWhatTheTemplateAdds) {
  json file = TestTokenizer();
  const TokenId begin = AddToken(&file, "<s>");
  const json special = {{"SpecialToken", {{"id", "<s>"}, {"type_id", 0}}}};
  const json sequence = {{"Sequence", {{"id", "A"}, {"type_id", 0}}}};
  file["post_processor"] = {
      {"type", "TemplateProcessing"},
      {"single", {special, sequence, sequence}},
      {"pair", json::array()},
      {"special_tokens", {{"<s>", {{"id", "<s>"}, {"ids", {begin}}, {"tokens", {"<s>"}}}}}}};
  const auto tokenizer = MustParse(file);
  EXPECT_FALSE(tokenizer->EncodeUpTo(4, "ab", true)->is_whole);
  EXPECT_THAT(tokenizer->EncodeUpTo(5, "ab", true)->ids, ElementsAre(begin, 'a', 'b', 'a', 'b'));
  EXPECT_FALSE(tokenizer->EncodeUpTo(3, "ab", false)->is_whole);
  EXPECT_THAT(tokenizer->EncodeUpTo(4, "ab", false)->ids, ElementsAre('a', 'b', 'a', 'b'));
  EXPECT_FALSE(tokenizer->EncodeUpTo(0, "", true)->is_whole);
}

TEST(Encode, IgnoreMergesTakesWholeWords) {
  json file = TestTokenizer({{"a", "b"}});
  file["model"]["vocab"]["abc"] = 257;
  EXPECT_THAT(Ids(file, "abc abc"), ElementsAre(256, 'c', ' ', 256, 'c'));
  file["model"]["ignore_merges"] = true;
  EXPECT_THAT(Ids(file, "abc abc"), ElementsAre(257, ' ', 256, 'c'));
}

TEST(Encode, PrefixSpace) {
  json file = TestTokenizer();
  file["pre_tokenizer"]["add_prefix_space"] = true;
  EXPECT_THAT(Ids(file, "a b"), ElementsAre(' ', 'a', ' ', 'b'));
  EXPECT_THAT(Ids(file, " a"), ElementsAre(' ', 'a'));
  EXPECT_TRUE(Ids(file, "").empty());
}

TEST(Encode, TemplatePutsSpecialTokensAround) {
  json file = TestTokenizer();
  const TokenId begin = AddToken(&file, "<s>");
  file["post_processor"] = {
      {"type", "TemplateProcessing"},
      {"single",
       {{{"SpecialToken", {{"id", "<s>"}, {"type_id", 0}}}},
        {{"Sequence", {{"id", "A"}, {"type_id", 0}}}}}},
      {"pair", json::array()},
      {"special_tokens", {{"<s>", {{"id", "<s>"}, {"ids", {begin}}, {"tokens", {"<s>"}}}}}}};
  EXPECT_THAT(Ids(file, "a", true), ElementsAre(begin, 'a'));
  EXPECT_THAT(Ids(file, "a", false), ElementsAre('a'));
  EXPECT_THAT(Ids(file, "", true), ElementsAre(begin));
}

TEST(Encode, NfcIsApplied) {
  json file = TestTokenizer();
  file["normalizer"] = {{"type", "NFC"}};
  EXPECT_THAT(Ids(file, "e\xCC\x81"), ElementsAre(0xC3, 0xA9));
  file["normalizer"] = nullptr;
  EXPECT_THAT(Ids(file, "e\xCC\x81"), ElementsAre('e', 0xCC, 0x81));
}

TEST(Encode, InvalidUtf8NamesTheOffset) {
  const auto ids = MustParse(TestTokenizer())->Encode("ab\xC3(", false);
  EXPECT_EQ(ids.status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(std::string(ids.status().message()), HasSubstr("at byte 2"));
}

TEST(AddedTokens, LeftmostLongest) {
  json file = TestTokenizer();
  const TokenId shorter = AddToken(&file, "<a");
  const TokenId longer = AddToken(&file, "<a>");
  EXPECT_THAT(Ids(file, "<a><ab"), ElementsAre(longer, shorter, 'b'));
}

TEST(AddedTokens, StripSpace) {
  json file = TestTokenizer();
  const TokenId left = AddToken(&file, "<l>", {"lstrip"});
  const TokenId right = AddToken(&file, "<r>", {"rstrip"});
  EXPECT_THAT(Ids(file, "a \n<l> b <r>\xC2\xA0 c"),
              ElementsAre('a', left, ' ', 'b', ' ', right, 'c'));
  EXPECT_THAT(Ids(file, "<r> <l>"), ElementsAre(right, left));
}

TEST(AddedTokens, SingleWord) {
  json file = TestTokenizer();
  const TokenId id = AddToken(&file, "tok", {"single_word"});
  EXPECT_THAT(Ids(file, "tok-tok"), ElementsAre(id, '-', id));
  EXPECT_THAT(Ids(file, "toks"), ElementsAre('t', 'o', 'k', 's'));
  EXPECT_THAT(Ids(file, "_tok"), ElementsAre('_', 't', 'o', 'k'));
}

TEST(AddedTokens, NormalizedOnesMatchNormalizedText) {
  json file = TestTokenizer();
  file["normalizer"] = {{"type", "NFC"}};
  const TokenId id = AddToken(&file, "e\xCC\x81", {"normalized"});
  EXPECT_THAT(Ids(file, "\xC3\xA9"), ElementsAre(id));
  EXPECT_EQ(MustParse(file)->Decode(std::vector<TokenId>{id}, false), "\xEF\xBF\xBD");
  // As tokenizers: the normalized form is all of the byte alphabet, so it decodes as a byte.
}

TEST(Decode, SkipsSpecialTokensAndIdsWithoutToken) {
  json file = TestTokenizer();
  const TokenId special = AddToken(&file, "<s>");
  const TokenId plain = AddToken(&file, "<p q>", {});
  const auto tokenizer = MustParse(file);
  const std::vector<TokenId> ids = {'a',     special, plain,   kNoToken, plain + 1,
                                    1 << 30, 0xC3,    special, 0xA9};
  EXPECT_EQ(tokenizer->Decode(ids, true), "a<p q>\xC3\xA9");
  EXPECT_EQ(tokenizer->Decode(ids, false), "a<s><p q>\xEF\xBF\xBD<s>\xEF\xBF\xBD");
  EXPECT_TRUE(tokenizer->IsSpecial(special));
  EXPECT_FALSE(tokenizer->IsSpecial(plain));
  EXPECT_FALSE(tokenizer->IsSpecial(kNoToken));
  EXPECT_EQ(tokenizer->vocab_size(), plain + 1);
  EXPECT_EQ(tokenizer->IdToBytes(0xC3), "\xC3");
  EXPECT_EQ(tokenizer->TokenToId("<s>"), special);
  EXPECT_EQ(tokenizer->TokenToId("no such token"), std::nullopt);
}

TEST(Decode, GivesBackEveryText) {
  const auto tokenizer = MustParse(TestTokenizer({{"a", "b"}, {" ", "ab"}, {"\xC3", "\xA9"}}));
  std::mt19937 random(3);
  for (int round = 0; round < 500; ++round) {
    std::string text;
    for (int i = 0; i < 30; ++i) {
      const char32_t c = random() % 3 ? "ab \n'1"[random() % 6] : random() % 0xD800;
      AppendUtf8(c, &text);
    }
    ASSERT_EQ(tokenizer->Decode(*tokenizer->Encode(text, true), true), text) << "round " << round;
  }
}

TEST(Load, FromAFile) {
  EXPECT_EQ(Tokenizer::Load("/no/such/file").status().code(), absl::StatusCode::kNotFound);
  const ScopedDirectory directory;
  directory.Write("tokenizer.json", TestTokenizer().dump());
  const auto tokenizer = Tokenizer::Load(directory.path() + "/tokenizer.json");
  ASSERT_TRUE(tokenizer.ok()) << tokenizer.status();
  EXPECT_EQ((*tokenizer)->vocab_size(), 256U);
}

TEST(Load, TakesRegularFilesAlone) {
  const ScopedDirectory directory;
  const std::string pipe = directory.path() + "/pipe";
  ASSERT_EQ(mkfifo(pipe.c_str(), 0600), 0);
  for (const std::string& path : {directory.path(), pipe}) {
    const auto tokenizer = Tokenizer::Load(path);
    EXPECT_EQ(tokenizer.status().code(), absl::StatusCode::kInvalidArgument);
    EXPECT_THAT(std::string(tokenizer.status().message()),
                AllOf(HasSubstr(path), HasSubstr("not a regular file")));
  }
}

TEST(Tokenizer, ATokenBeyondTheModelIsPlainText) {
  nlohmann::json file = TestTokenizer({{"p", "a"}});
  AddToken(&file, "<s>");
  AddToken(&file, "<pad>");
  const auto tokenizer = Tokenizer::Parse(file.dump(), 258);
  ASSERT_TRUE(tokenizer.ok()) << tokenizer.status();
  EXPECT_EQ((*tokenizer)->warnings().size(), 1u);
  EXPECT_EQ((*tokenizer)->vocab_size(), 258U);
  EXPECT_EQ((*tokenizer)->TokenToId("<pad>"), std::nullopt);
  EXPECT_EQ(*(*tokenizer)->Encode("<s><pad>", false),
            (std::vector<TokenId>{257, '<', 256, 'd', '>'}));
  EXPECT_EQ((*tokenizer)->Decode(std::vector<TokenId>{'a', 258, 'b'}, false), "ab");
  EXPECT_FALSE((*tokenizer)->IsSpecial(258));
}

}  // namespace
}  // namespace recurve
