// SPDX-License-Identifier: Apache-2.0
#include "server/observe/log.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <array>

#include "absl/strings/numbers.h"
#include "absl/strings/str_split.h"
#include "gtest/gtest.h"

namespace recurve {
namespace {

constexpr char kTime[] = "2024-01-02T03:04:05.678Z";

TEST(LogTest, TextIsKeysAndValues) {
  EXPECT_EQ(FormatLogLine(LogFormat::kText, kTime, "request",
                          {{"id", "abc-1"}, {"n", uint64_t{42}}, {"ms", 1.5}, {"ok", true}}),
            "2024-01-02T03:04:05.678Z request id=abc-1 n=42 ms=1.5 ok=true");
}

TEST(LogTest, JsonIsOneObject) {
  EXPECT_EQ(
      FormatLogLine(LogFormat::kJson, kTime, "request",
                    {{"id", "abc-1"}, {"n", uint64_t{42}}, {"ms", 1.5}, {"ok", false}}),
      R"({"time":"2024-01-02T03:04:05.678Z","event":"request","id":"abc-1","n":42,"ms":1.5,"ok":false})");
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

// A pipe for a log, with the other end in the test's hands.
class LogPipeTest : public testing::Test {
 protected:
  LogPipeTest() { EXPECT_EQ(pipe(ends_.data()), 0); }
  ~LogPipeTest() override {
    close(ends_[0]);
    close(ends_[1]);
  }
  // What is in the pipe now.
  std::string Read() {
    fcntl(ends_[0], F_SETFL, O_NONBLOCK);
    std::string text;
    char buffer[4096];
    for (ssize_t n = 0; (n = read(ends_[0], buffer, sizeof(buffer))) > 0;) {
      text.append(buffer, static_cast<size_t>(n));
    }
    return text;
  }

  std::array<int, 2> ends_{};
};

TEST_F(LogPipeTest, ReaderThatStallsHoldsUpNobodyAndIsToldWhatItMissed) {
  constexpr uint64_t kLines = 100000;  // some megabytes: far more than pipe and queue take
  Log log(LogFormat::kText, ends_[1], /*max_waiting=*/20000);
  for (uint64_t i = 0; i < kLines; ++i) log.Write("line", {{"number", i}});
  std::string text = Read();
  for (int i = 0; i < 10 && text.find("log_dropped") == std::string::npos; ++i) {
    log.Flush();
    text += Read();
  }
  log.Write("line", {{"number", kLines}});
  log.Flush();
  text += Read();
  uint64_t seen = 0, dropped = 0;
  for (const absl::string_view line : absl::StrSplit(text, '\n', absl::SkipEmpty())) {
    const std::vector<std::string> words = absl::StrSplit(line, ' ');
    ASSERT_EQ(words.size(), 3U) << line;
    uint64_t lines = 0;
    if (words[1] == "log_dropped") {
      ASSERT_TRUE(absl::SimpleAtoi(words[2].substr(words[2].find('=') + 1), &lines));
      dropped += lines;
    } else {
      ++seen;
    }
  }
  EXPECT_GT(dropped, 0U);
  EXPECT_EQ(seen + dropped, kLines + 1);
}

TEST_F(LogPipeTest, EndsAlthoughNobodyReads) {
  Log log(LogFormat::kText, ends_[1]);
  for (int i = 0; i < 10000; ++i) log.Write("line", {{"text", std::string(100, 'x')}});
}

TEST_F(LogPipeTest, IsWrittenWholeBeforeItEnds) {
  {
    Log log(LogFormat::kText, ends_[1]);
    for (uint64_t i = 0; i < 100; ++i) log.Write("line", {{"number", i}});
  }
  const std::string text = Read();
  EXPECT_EQ(std::count(text.begin(), text.end(), '\n'), 100);
  EXPECT_NE(text.find("number=99\n"), std::string::npos);
}

}  // namespace
}  // namespace recurve
