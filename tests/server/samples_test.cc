// SPDX-License-Identifier: Apache-2.0
// Calls with several samples.
#include <string>
#include <thread>
#include <vector>

#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "tests/server/call_fixture.h"

namespace recurve {
namespace {

using testing::HasSubstr;

v1::GenerateRequest SamplesRequest(uint32_t samples) {
  v1::GenerateRequest request = TextRequest();
  request.set_samples(samples);
  request.mutable_sampling()->set_seed(7);
  return request;
}

std::string TextOf(const Delta& delta) {
  std::string text;
  for (const TokenEvent& token : delta.tokens) text += token.text;
  return text;
}

Finish LikelyBy(double cumulative_logprob) {
  Finish finish;
  finish.cumulative_logprob = cumulative_logprob;
  return finish;
}

class SamplesTest : public CallTest {
 protected:
  // Takes a message, and has its write end.
  static Delta Take(TestCall& call) {
    Delta delta = call.WaitForDelta();
    call.WriteDone(true);
    return delta;
  }
};

TEST_F(SamplesTest, StreamTakesThemInTurnsAndEndsAfterTheLast) {
  const auto call = NewCall();
  call->Admit(SamplesRequest(2));
  EXPECT_EQ(engine_.WaitForRequest(1).samples, 2U);
  EXPECT_FALSE(engine_.WaitForRequest(1).cumulative_logprob);
  engine_.Emit(1, MakeTokens({"a"}));
  Delta delta = call->WaitForDelta();
  EXPECT_EQ(delta.sample, 0U);
  EXPECT_EQ(TextOf(delta), "a");
  engine_.Emit(1, MakeTokens({"b"}));
  engine_.Emit(2, MakeTokens({"x"}));
  engine_.Emit(2, MakeTokens({"y"}));
  call->WriteDone(true);
  delta = Take(*call);
  EXPECT_EQ(delta.sample, 1U);
  EXPECT_EQ(TextOf(delta), "xy");
  EXPECT_EQ(delta.generated_tokens, 2U);
  delta = Take(*call);
  EXPECT_EQ(delta.sample, 0U);
  EXPECT_EQ(TextOf(delta), "b");

  engine_.End(2, {});
  delta = Take(*call);
  EXPECT_EQ(delta.sample, 1U);
  EXPECT_TRUE(delta.finish.has_value());
  EXPECT_EQ(call->seed(), SampleSeed(7, 1));
  engine_.Emit(1, MakeTokens({"c"}));
  delta = Take(*call);
  EXPECT_EQ(TextOf(delta), "c");
  EXPECT_FALSE(delta.finish.has_value());
  Finish finish;
  finish.reason = FinishReason::kStopString;
  engine_.End(1, finish);
  delta = Take(*call);
  EXPECT_EQ(delta.sample, 0U);
  EXPECT_TRUE(delta.finish.has_value());
  EXPECT_EQ(call->seed(), 7U);
  EXPECT_TRUE(call->WaitForStatus().ok());
  call->TransportDone();
  EXPECT_THAT(LogText(), HasSubstr("code=OK reason=stop_string samples=2 prompt_tokens=5 "
                                   "generated_tokens=5 "));
}

TEST_F(SamplesTest, OneErrorEndsThemAll) {
  const auto call = NewCall();
  call->Admit(SamplesRequest(3));
  engine_.Emit(1, MakeTokens({"a"}));
  call->WaitForDelta();
  engine_.End(2, {});
  Finish finish;
  finish.status = absl::InternalError("not finite");
  engine_.End(3, finish);
  engine_.WaitUntilEnded(1);  // though a message is still being written
  call->WriteDone(true);
  EXPECT_EQ(Take(*call).sample, 1U);
  EXPECT_EQ(call->WaitForStatus(), absl::InternalError("not finite"));
  call->TransportDone();
  EXPECT_THAT(LogText(), HasSubstr("code=INTERNAL reason=internal samples=3"));
  EXPECT_THAT(LogText(), HasSubstr("error=\"not finite\""));
}

TEST_F(SamplesTest, ClientThatLeavesEndsThemAll) {
  const auto call = NewCall();
  call->Admit(SamplesRequest(16));
  engine_.Emit(9, MakeTokens({"a"}));
  EXPECT_EQ(Take(*call).sample, 8U);
  call->PeerGone();
  for (Engine::RequestId id = 1; id <= 16; ++id) engine_.WaitUntilEnded(id);
  EXPECT_EQ(call->WaitForStatus().code(), absl::StatusCode::kCancelled);
  call->TransportDone();
}

TEST_F(SamplesTest, BufferBoundIsOfTheCall) {
  options_.stream.buffer_tokens = 2;
  const auto call = NewCall();
  call->Admit(SamplesRequest(3));
  engine_.Emit(1, MakeTokens({"a"}));
  call->WaitForDelta();
  for (Engine::RequestId id = 1; id <= 3; ++id) engine_.Emit(id, MakeTokens({"b"}));
  call->WaitForAbort();
  for (Engine::RequestId id = 1; id <= 3; ++id) engine_.WaitUntilEnded(id);
  call->PeerGone();
  call->WriteDone(false);
  EXPECT_EQ(call->WaitForStatus().code(), absl::StatusCode::kCancelled);
  call->TransportDone();
  EXPECT_THAT(LogText(), HasSubstr("reason=slow_reader"));
}

TEST_F(SamplesTest, RefusalIsOfTheCall) {
  engine_.RefuseWith(absl::ResourceExhaustedError("queue full"));
  const auto call = NewCall();
  call->Admit(SamplesRequest(3));
  EXPECT_EQ(call->WaitForStatus(), absl::ResourceExhaustedError("queue full"));
  call->TransportDone();
  EXPECT_EQ(engine_.num_accepted(), 0U);
  EXPECT_THAT(LogText(), HasSubstr("refused=queue_full"));
}

TEST_F(SamplesTest, CompleteIsTheMostLikelyWithTheLogprobsOfThePrompt) {
  const auto call = NewCall(/*streams=*/false);
  call->Admit(SamplesRequest(4));
  EXPECT_TRUE(engine_.WaitForRequest(0).cumulative_logprob);
  engine_.EmitPromptLogprobs(1, {{-1.0F, {}}});
  for (Engine::RequestId id = 1; id <= 4; ++id) {
    engine_.Emit(id, MakeTokens({absl::StrCat("text ", id)}));
  }
  engine_.End(2, LikelyBy(-2.0));
  engine_.End(3, LikelyBy(-1.5));
  Finish best = LikelyBy(-1.5);
  best.reason = FinishReason::kStopToken;
  engine_.End(1, LikelyBy(-9.0));
  engine_.End(4, best);  // as likely as the one before it
  const Delta delta = call->WaitForDelta();
  EXPECT_EQ(delta.sample, 2U);
  EXPECT_EQ(TextOf(delta), "text 3");
  EXPECT_EQ(delta.finish->cumulative_logprob, -1.5);
  ASSERT_TRUE(delta.prompt_logprobs.has_value());
  EXPECT_EQ(call->seed(), SampleSeed(7, 2));
  EXPECT_TRUE(call->WaitForStatus().ok());
  call->TransportDone();
  EXPECT_THAT(LogText(), HasSubstr("code=OK reason=length samples=4"));
}

class SamplesRpcTest : public ServerTest {};

TEST_F(SamplesRpcTest, EachHasItsFinalAndTheCallIsCountedOnce) {
  engine_ = std::make_unique<FakeEngine>(
      FakeEngine::Script{MakeTokens({"a", "b", "c"}), FinishReason::kLength});
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
