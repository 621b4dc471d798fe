// SPDX-License-Identifier: Apache-2.0
#include "client/cli/prompt_text.h"

#include "gmock/gmock.h"
#include "tests/scoped_directory.h"

namespace recurve::client {
namespace {

using testing::HasSubstr;

TEST(PromptTextTest, Utf8EndsWhereItIsBroken) {
  for (const std::string text : {"", "abc", "\xC3\xA4", "\xE2\x82\xAC", "\xF0\x9F\x8C\x80",
                                 "\xEF\xBF\xBD", "\xED\x9F\xBF", "\xF4\x8F\xBF\xBF"}) {
    EXPECT_EQ(ValidUtf8Prefix(text), text.size()) << text;
  }
  EXPECT_EQ(ValidUtf8Prefix(std::string_view("a\0b", 3)), 3U);
  for (const char* broken : {"\xE9", "\xE9t\xE9", "\x80", "\xC3", "\xC0\x80", "\xC1\xBF",
                             "\xE2\x82", "\xE2\x82z", "\xE0\x9F\xBF", "\xED\xA0\x80",
                             "\xF0\x8F\xBF\xBF", "\xF4\x90\x80\x80", "\xF5\x80\x80\x80", "\xFF"}) {
    EXPECT_EQ(ValidUtf8Prefix(std::string("ab\xC3\xA4") + broken), 4U) << broken;
  }
}

TEST(PromptTextTest, ErrorsNameTheSourceAndThePlace) {
  const absl::Status status = CheckUtf8("the prompt", "caf\xE9 noir");
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(std::string(status.message()),
              HasSubstr("the prompt is not UTF-8: the byte 0xE9 at offset 3"));

  const ScopedDirectory directory;
  const std::string path = directory.path() + "/latin1.txt";
  directory.Write("latin1.txt", "caf\xE9");
  EXPECT_THAT(std::string(ReadText(path).status().message()),
              HasSubstr("file '" + path + "' is not UTF-8: the byte 0xE9 at offset 3"));
  directory.Write("latin1.txt", "caf\xC3\xA9\n");
  EXPECT_EQ(ReadText(path).value_or(""), "caf\xC3\xA9\n");
}

TEST(PromptTextTest, UnreadableFilesAreErrors) {
  EXPECT_THAT(std::string(ReadText(testing::TempDir()).status().message()),
              HasSubstr("Is a directory"));
  EXPECT_THAT(std::string(ReadText("/no/such/file").status().message()),
              HasSubstr("'/no/such/file': No such file"));
}

}  // namespace
}  // namespace recurve::client
