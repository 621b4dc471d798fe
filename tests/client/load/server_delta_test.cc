// SPDX-License-Identifier: Apache-2.0
#include "client/load/server_delta.h"

#include <nlohmann/json.hpp>

#include "client/load/report_json.h"
#include "client/load/report_text.h"
#include "gmock/gmock.h"

namespace recurve::client {
namespace {

using testing::ContainsRegex;
using testing::HasSubstr;

v1::GetLoadResponse Loaded(uint64_t tokens, double uptime) {
  v1::GetLoadResponse load;
  load.set_prompt_tokens(3 * tokens);
  load.set_generated_tokens(tokens);
  load.set_steps(tokens / 2);
  load.set_preemptions_for_memory(tokens / 10);
  load.set_preemptions_for_priority(tokens / 5);
  load.set_prefix_tokens_wanted(4 * tokens);
  load.set_prefix_tokens_found(tokens);
  load.set_uptime_seconds(uptime);
  load.mutable_time_to_first_token()->add_bounds(0.1);
  load.mutable_time_to_first_token()->add_counts(tokens);
  load.mutable_time_to_first_token()->add_counts(tokens / 10);
  load.mutable_time_to_first_token()->set_sum(0.05 * static_cast<double>(tokens));
  return load;
}

TEST(ServerDeltaTest, IsWhatCameBetween) {
  const auto delta = DeltaOf(Loaded(100, 5), Loaded(300, 6));
  ASSERT_TRUE(delta.has_value());
  EXPECT_EQ(delta->prompt_tokens, 600U);
  EXPECT_EQ(delta->generated_tokens, 200U);
  EXPECT_EQ(delta->steps, 100U);
  EXPECT_EQ(delta->preemptions, 60U);
  EXPECT_EQ(delta->cached_prompt_share, 0.25);
  EXPECT_EQ(delta->ttft.count(), 220);
  const std::string text = ServerDeltaText(*delta);
  EXPECT_THAT(text, HasSubstr("600 prompt tokens, 25.0 % of those looked up cached; 200 gen"));
  EXPECT_THAT(text, ContainsRegex("TTFT +220 +45.45 +55.00 +99.00 +more +more\n"));
  EXPECT_THAT(text, ContainsRegex("ITL +0( +-){5}\n"));
  Report report;
  report.server = delta;
  EXPECT_THAT(ReportText("host:1", {}, report), HasSubstr(text));
  const auto json = nlohmann::json::parse(ReportJson({}, report))["server"];
  EXPECT_EQ(json["preemptions"], 60);
  EXPECT_EQ(json["time_to_first_token_seconds"]["count"], 220);
  EXPECT_TRUE(json["time_to_first_token_seconds"]["p99"].is_null());  // above all bounds
  EXPECT_TRUE(json["queue_seconds"]["mean"].is_null());
}

TEST(ServerDeltaTest, ANewServerHasNone) {
  EXPECT_EQ(DeltaOf(Loaded(100, 5), Loaded(10, 1)), std::nullopt);
  EXPECT_EQ(DeltaOf(Loaded(100, 5), Loaded(100, 6))->cached_prompt_share, std::nullopt);
  EXPECT_TRUE(nlohmann::json::parse(ReportJson({}, {}))["server"].is_null());
}

}  // namespace
}  // namespace recurve::client
