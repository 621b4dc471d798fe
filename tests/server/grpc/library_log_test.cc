// SPDX-License-Identifier: Apache-2.0
#include "server/grpc/library_log.h"

#include <grpc/grpc.h>
#include <grpc/support/log.h>
#include <gtest/gtest.h>

#include <cstdio>
#include <nlohmann/json.hpp>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include "absl/strings/str_split.h"
#include "engine/base/check.h"
#include "recurve/v1/generation.pb.h"
#include "server/observe/line_limit.h"

namespace recurve {
namespace {

class LibraryLogTest : public testing::Test {
 protected:
  LibraryLogTest() { grpc_init(); }  // without it gRPC writes nothing
  ~LibraryLogTest() override {
    grpc_shutdown();
    std::fclose(file_);
  }

  // What is in the log, a line each.
  std::vector<nlohmann::json> Lines() {
    log_.Flush();
    std::string text;
    std::fseek(file_, 0, SEEK_SET);
    char buffer[4096];
    for (size_t n = 0; (n = std::fread(buffer, 1, sizeof(buffer), file_)) > 0;) {
      text.append(buffer, n);
    }
    std::vector<nlohmann::json> lines;
    for (const absl::string_view line : absl::StrSplit(text, '\n', absl::SkipEmpty())) {
      lines.push_back(nlohmann::json::parse(line.begin(), line.end()));
    }
    return lines;
  }

  std::FILE* const file_ = std::tmpfile();
  Log log_{LogFormat::kJson, fileno(file_)};
};

// Text that is not UTF-8, which protobuf writes about.
void ParseWhatIsNotUtf8() {
  v1::GenerateRequest request;
  EXPECT_FALSE(request.ParseFromString(std::string("\x0A\x01\xFF", 3)));
}

TEST_F(LibraryLogTest, LinesOfLibrariesAreInTheLogsForm) {
  {
    const LibraryLog library_log(&log_);
    gpr_log("file.cc", 7, GPR_LOG_SEVERITY_ERROR, "two\nlines \xFF \"quoted\"");
    ParseWhatIsNotUtf8();
  }
  const auto lines = Lines();
  ASSERT_EQ(lines.size(), 2U);
  EXPECT_EQ(lines[0]["event"], "library");
  EXPECT_EQ(lines[0]["library"], "grpc");
  EXPECT_EQ(lines[0]["severity"], "error");
  EXPECT_EQ(lines[0]["where"], "file.cc:7");
  EXPECT_EQ(lines[0]["message"], "two\nlines \xEF\xBF\xBD \"quoted\"");
  EXPECT_EQ(lines[1]["library"], "protobuf");
  EXPECT_EQ(lines[1]["severity"], "error");
}

TEST_F(LibraryLogTest, AFloodIsBoundedAndCounted) {
  constexpr uint64_t kLines = 500;
  {
    const LibraryLog library_log(&log_);
    for (uint64_t i = 0; i < kLines; ++i) ParseWhatIsNotUtf8();
    gpr_log("file.cc", 7, GPR_LOG_SEVERITY_ERROR, "another library's line");
  }
  uint64_t written = 0, suppressed = 0, of_grpc = 0;
  for (const auto& line : Lines()) {
    if (line["library"] == "grpc") ++of_grpc;
    if (line["library"] == "protobuf" && line["event"] == "library") ++written;
    suppressed += line.value("suppressed", uint64_t{0});
    if (line["event"] == "library_suppressed") suppressed += line["lines"].get<uint64_t>();
  }
  EXPECT_GE(written, LineLimit::kBurst);
  EXPECT_LT(written, kLines / 2);
  EXPECT_EQ(written + suppressed, kLines);
  EXPECT_EQ(of_grpc, 1U);
}

TEST(LibraryLogDeathTest, AnUncaughtExceptionIsALine) {
  testing::FLAGS_gtest_death_test_style = "threadsafe";
  const auto die = [] {
    Log log(LogFormat::kJson, STDERR_FILENO);
    const LibraryLog library_log(&log);
    std::thread([] { throw std::runtime_error("nobody catches this"); }).join();
  };
  EXPECT_DEATH(die(), R"("event":"terminated","message":"nobody catches this"})");
}

TEST(LibraryLogDeathTest, ABrokenInvariantIsALine) {
  testing::FLAGS_gtest_death_test_style = "threadsafe";
  const auto die = [] {
    Log log(LogFormat::kJson, STDERR_FILENO);
    const LibraryLog library_log(&log);
    RECURVE_CHECK(false);
  };
  EXPECT_DEATH(die(),
               R"("event":"broken_invariant","message":".*library_log_test.cc:[0-9]+: false"})");
}

}  // namespace
}  // namespace recurve
