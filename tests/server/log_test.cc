// SPDX-License-Identifier: Apache-2.0
#include "server/log.h"

#include <set>

#include "gtest/gtest.h"
#include "server/ids.h"

namespace recurve {
namespace {

constexpr char kTime[] = "2024-01-02T03:04:05.678Z";

TEST(LogTest, TextIsKeysAndValues) {
  EXPECT_EQ(FormatLogLine(LogFormat::kText, kTime, "request",
                          {{"id", std::string("abc-1")}, {"n", uint64_t{42}}, {"ms", 1.5}}),
            "2024-01-02T03:04:05.678Z request id=abc-1 n=42 ms=1.5");
}

TEST(LogTest, JsonIsOneObject) {
  EXPECT_EQ(
      FormatLogLine(LogFormat::kJson, kTime, "request",
                    {{"id", std::string("abc-1")}, {"n", uint64_t{42}}, {"ms", 1.5}}),
      R"({"time":"2024-01-02T03:04:05.678Z","event":"request","id":"abc-1","n":42,"ms":1.5})");
}

TEST(LogTest, ValuesCannotForgeFieldsOrLines) {
  const std::string evil = "x\" code=OK\n2024 request id=y\x1b[2J\xff";
  EXPECT_EQ(FormatLogLine(LogFormat::kText, kTime, "request", {{"id", evil}}),
            "2024-01-02T03:04:05.678Z request "
            "id=\"x\\\" code=OK\\n2024 request id=y\\033[2J\\377\"");
  const std::string json = FormatLogLine(LogFormat::kJson, kTime, "request", {{"id", evil}});
  EXPECT_EQ(json.find('\n'), std::string::npos);
  EXPECT_EQ(json.find('\x1b'), std::string::npos);
  EXPECT_NE(json.find(R"("id":"x\" code=OK\n2024)"), std::string::npos) << json;
  EXPECT_EQ(FormatLogLine(LogFormat::kText, kTime, "e", {{"id", std::string()}}),
            "2024-01-02T03:04:05.678Z e id=\"\"");
}

TEST(IdsTest, ValidIdsArePrintableAndShort) {
  EXPECT_TRUE(IsValidRequestId("a b~!"));
  EXPECT_TRUE(IsValidRequestId(std::string(kMaxRequestIdBytes, 'x')));
  EXPECT_FALSE(IsValidRequestId(""));
  EXPECT_FALSE(IsValidRequestId(std::string(kMaxRequestIdBytes + 1, 'x')));
  EXPECT_FALSE(IsValidRequestId("a\nb"));
  EXPECT_FALSE(IsValidRequestId("\xC3\xA4"));
  std::set<std::string> made;
  for (int i = 0; i < 1000; ++i) made.insert(MakeRequestId());
  EXPECT_EQ(made.size(), 1000U);
  EXPECT_TRUE(IsValidRequestId(*made.begin()));
}

}  // namespace
}  // namespace recurve
