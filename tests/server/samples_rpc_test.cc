// SPDX-License-Identifier: Apache-2.0
// Calls with several samples, as clients see them.
#include <string>
#include <thread>
#include <vector>

#include "gmock/gmock.h"
#include "tests/server/server_fixture.h"

namespace recurve {
namespace {

v1::GenerateRequest SamplesRequest(uint32_t samples) {
  v1::GenerateRequest request = TextRequest();
  request.set_samples(samples);
  request.mutable_sampling()->set_seed(7);
  return request;
}

Finish LikelyBy(double cumulative_logprob) {
  Finish finish;
  finish.cumulative_logprob = cumulative_logprob;
  return finish;
}

class SamplesRpcTest : public ServerTest {};

TEST_F(SamplesRpcTest, EachHasItsFinalAndTheCallIsCountedOnce) {
  engine_ = std::make_unique<FakeEngine>(
      FakeEngine::Script{MakeTokens({"a", "b", "c"}), EndReason::kLength});
  Start();
  const StreamEnd end = Generate(SamplesRequest(3));
  ASSERT_TRUE(end.status.ok()) << end.status.error_message();
  std::vector<std::string> texts(3);
  std::vector<bool> ended(3);
  for (const auto& message : end.messages) {
    ASSERT_LT(message.sample(), 3U);
    EXPECT_FALSE(ended[message.sample()]);
    texts[message.sample()] += message.text();
    EXPECT_EQ(message.usage().prompt_tokens(), 5U);
    EXPECT_EQ(message.usage().generated_tokens(), texts[message.sample()].size());
    if (!message.has_final()) continue;
    ended[message.sample()] = true;
    EXPECT_EQ(message.final().seed(), SampleSeed(7, message.sample()));
  }
  EXPECT_THAT(texts, testing::Each("abc"));
  EXPECT_THAT(ended, testing::Each(true));
  const std::string page = MetricsPage();
  EXPECT_EQ(MetricValue(page, "recurve_request_finished_total{reason=\"length\"}"), 1.0);
  EXPECT_EQ(MetricValue(page, "recurve_time_to_first_token_seconds_count"), 1.0);
  EXPECT_EQ(MetricValue(page, "recurve_inter_token_latency_seconds_count"), 6.0);
  EXPECT_EQ(MetricValue(page, "recurve_request_time_per_output_token_seconds_count"), 3.0);
  EXPECT_EQ(MetricValue(page, "recurve_request_generation_tokens_sum"), 9.0);
  EXPECT_EQ(MetricValue(page, "recurve_request_prompt_tokens_sum"), 5.0);
  EXPECT_EQ(MetricValue(page, "recurve_egress_backlog_tokens"), 0.0);
}

TEST_F(SamplesRpcTest, CompleteNamesTheSample) {
  Start();
  const auto complete = [this](uint32_t samples, v1::CompleteResponse* response) {
    grpc::ClientContext context;
    return NewStub()->Complete(&context, SamplesRequest(samples), response);
  };
  std::thread engine([this] {
    engine_->WaitForRequest(1);
    engine_->End(1, LikelyBy(-3.0));
    engine_->End(2, LikelyBy(-2.5));
    engine_->WaitForRequest(2);
    engine_->End(3, {});
  });
  v1::CompleteResponse best;
  EXPECT_TRUE(complete(2, &best).ok());
  EXPECT_EQ(best.sample(), 1U);
  EXPECT_EQ(best.cumulative_logprob(), -2.5);
  v1::CompleteResponse only;
  EXPECT_TRUE(complete(1, &only).ok());
  EXPECT_EQ(only.sample(), 0U);
  EXPECT_FALSE(only.has_cumulative_logprob());
  engine.join();
}

}  // namespace
}  // namespace recurve
