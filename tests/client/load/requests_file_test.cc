// SPDX-License-Identifier: Apache-2.0
#include "client/load/requests_file.h"

#include <cstdio>
#include <nlohmann/json.hpp>

#include "absl/strings/str_split.h"
#include "client/cli/prompt_text.h"
#include "gmock/gmock.h"

namespace recurve::client {
namespace {

using testing::HasSubstr;
using testing::StartsWith;

std::vector<RequestRecord> Records() {
  RequestRecord late, first;
  late.index = 1;
  late.intended = 0.5;
  late.sent = 0.75;
  late.ended = 2;
  late.messages = {{1, 1}, {1.5, 2}};
  late.generated_tokens = 3;
  late.report.last_server = "a:1";
  first.is_measured = false;
  first.status = absl::UnavailableError("gone, \"far\"\naway");
  return {late, first};
}

TEST(RequestsFileTest, JsonLinesHaveAnObjectARequestInOrder) {
  const std::vector<std::string> lines = absl::StrSplit(RequestsAsJsonLines(Records()), '\n');
  ASSERT_EQ(lines.size(), 3U);
  const auto first = nlohmann::json::parse(lines[0]), late = nlohmann::json::parse(lines[1]);
  EXPECT_EQ(first["index"], 0);
  EXPECT_EQ(first["measured"], false);
  EXPECT_EQ(first["status"], "UNAVAILABLE");
  EXPECT_EQ(first["message"], "gone, \"far\"\naway");
  EXPECT_TRUE(first["time_to_first_token_seconds"].is_null());
  EXPECT_EQ(late["status"], "OK");
  EXPECT_EQ(late["client_queue_seconds"], 0.25);
  EXPECT_EQ(late["time_to_first_token_seconds"], 0.5);
  EXPECT_EQ(late["time_per_output_token_seconds"], 0.25);
  EXPECT_EQ(late["end_to_end_seconds"], 1.5);
  EXPECT_EQ(late["messages"][1]["tokens"], 2);
}

TEST(RequestsFileTest, CsvHasALineOfNames) {
  const std::string csv = RequestsAsCsv(Records());
  EXPECT_THAT(csv, StartsWith("index,measured,intended,sent,ended,status,fault,message,server,"));
  EXPECT_THAT(csv, HasSubstr("\n0,false,0.0,0.0,0.0,UNAVAILABLE,,\"gone, \"\"far\"\"\naway\",,"));
  EXPECT_THAT(csv, HasSubstr("\n1,true,0.5,0.75,2.0,OK,,,a:1,"));
  EXPECT_THAT(csv, HasSubstr(",0.25,0.5,0.25,1.5\n"));
}

TEST(RequestsFileTest, TheNameSaysTheForm) {
  EXPECT_TRUE(CheckRequestsFile("a.jsonl").ok());
  EXPECT_TRUE(CheckRequestsFile("a.csv").ok());
  EXPECT_THAT(std::string(CheckRequestsFile("a.json").message()), HasSubstr(".jsonl or .csv"));
  const std::string path = testing::TempDir() + "/requests.csv";
  ASSERT_TRUE(WriteRequestsFile(path, Records()).ok());
  EXPECT_EQ(ReadText(path).value(), RequestsAsCsv(Records()));
  std::remove(path.c_str());
  EXPECT_THAT(std::string(WriteRequestsFile("/nowhere/a.csv", {}).message()),
              HasSubstr("cannot write file '/nowhere/a.csv': No such file"));
}

}  // namespace
}  // namespace recurve::client
