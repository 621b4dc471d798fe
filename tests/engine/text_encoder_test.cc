// SPDX-License-Identifier: Apache-2.0
// How much of a text is encoded before it is refused, by the count of bytes.
#include "engine/text_encoder.h"

#include <string>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/engine/tokenizer/test_tokenizer.h"

namespace recurve {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

constexpr size_t kHuge = 4 << 20;
constexpr uint32_t kContext = 16;

// Its longest token has 8 bytes.
nlohmann::json File() {
  return TestTokenizer({{"a", "a"}, {"aa", "aa"}, {"aaaa", "aaaa"}, {" ", " "}});
}

void ExpectRefused(const TextEncoder& encoder, const std::string& text) {
  const auto ids = encoder.EncodePrompt(text, /*add_special_tokens=*/true);
  ASSERT_EQ(ids.status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(std::string(ids.status().message()),
              HasSubstr("more than 16 tokens; expected at most the context of 16 tokens"));
}

TEST(TextEncoderTest, EncodesNothingOfWhatCannotFit) {
  const auto tokenizer = MustParse(File());
  const TextEncoder encoder(tokenizer.get(), kContext);
  EXPECT_EQ(encoder.MaxPromptBytes(), 8U * kContext);
  ExpectRefused(encoder, std::string(kHuge, ' ') + ".");
  ExpectRefused(encoder, std::string(8 * kContext + 1, 'a'));
  EXPECT_EQ(encoder.encoded_bytes(), 0U);
  EXPECT_TRUE(encoder.EncodePrompt(std::string(8 * kContext, 'a'), true).ok());
  EXPECT_EQ(encoder.encoded_bytes(), 8U * kContext);
}

TEST(TextEncoderTest, StopsWhereTooManyTokensAreCertain) {
  const auto tokenizer = MustParse(File());
  const TextEncoder encoder(tokenizer.get(), kContext);
  std::string text;
  for (int i = 0; i < 40; ++i) text += " b";  // words of two tokens: eight fill the context
  ExpectRefused(encoder, text);
  EXPECT_EQ(encoder.encoded_bytes(), 8U * 2);
}

TEST(TextEncoderTest, AddedTokensThatTakeWhiteSpaceTakeAnyNumberOfBytes) {
  for (const bool normalized : {false, true}) {
    nlohmann::json file = File();
    const auto id =
        static_cast<uint32_t>(normalized ? AddToken(&file, "<l>", {"lstrip", "normalized"})
                                         : AddToken(&file, "<l>", {"lstrip", "special"}));
    const auto tokenizer = MustParse(file);
    const TextEncoder encoder(tokenizer.get(), kContext);
    EXPECT_EQ(encoder.MaxPromptBytes(), std::nullopt);
    const auto ids = encoder.EncodePrompt(std::string(kHuge, ' ') + "<l>", true);
    ASSERT_TRUE(ids.ok()) << ids.status();
    EXPECT_THAT(*ids, ElementsAre(id));
    ExpectRefused(encoder, std::string(kHuge, ' '));  // one word, too long for 16 tokens
    EXPECT_EQ(encoder.encoded_bytes(), 0U);
  }
}

TEST(TextEncoderTest, BytesWithoutATokenTakeNone) {
  nlohmann::json file = File();
  file["model"]["vocab"].erase("x");
  const auto tokenizer = MustParse(file);
  const TextEncoder encoder(tokenizer.get(), kContext);
  EXPECT_EQ(encoder.MaxPromptBytes(), std::nullopt);
  const auto ids = encoder.EncodePrompt(std::string(kHuge, 'x') + "b", true);
  ASSERT_TRUE(ids.ok()) << ids.status();
  EXPECT_THAT(*ids, ElementsAre('b'));
  const uint64_t before = encoder.encoded_bytes();
  ExpectRefused(encoder, std::string(kHuge, 'b'));
  EXPECT_EQ(encoder.encoded_bytes(), before);
}

TEST(TextEncoderTest, OtherTextsHaveNoBound) {
  const auto tokenizer = MustParse(File());
  const TextEncoder encoder(tokenizer.get(), kContext);
  const auto ids = encoder.Encode(std::string(1000, 'b'), true);
  ASSERT_TRUE(ids.ok()) << ids.status();
  EXPECT_EQ(ids->size(), 1000U);
  EXPECT_EQ(encoder.encoded_bytes(), 1000U);
  EXPECT_EQ(TextEncoder(nullptr, kContext).MaxPromptBytes(), std::nullopt);
  EXPECT_EQ(TextEncoder(nullptr, kContext).Encode("a", true).status().code(),
            absl::StatusCode::kInvalidArgument);
}

}  // namespace
}  // namespace recurve
