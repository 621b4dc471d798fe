// SPDX-License-Identifier: Apache-2.0
// Calls with several samples.
#include <string>

#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "tests/server/call/call_fixture.h"

namespace recurve {
namespace {

using testing::HasSubstr;

Request SamplesRequest(uint32_t samples) {
  Request request = TextRequest();
  request.samples = samples;
  request.sampling.set_seed(7);
  return request;
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
  EXPECT_EQ(delta.text, "a");
  engine_.Emit(1, MakeTokens({"b"}));
  engine_.Emit(2, MakeTokens({"x"}));
  engine_.Emit(2, MakeTokens({"y"}));
  call->WriteDone(true);
  delta = Take(*call);
  EXPECT_EQ(delta.sample, 1U);
  EXPECT_EQ(delta.text, "xy");
  EXPECT_EQ(delta.generated_tokens, 2U);
  delta = Take(*call);
  EXPECT_EQ(delta.sample, 0U);
  EXPECT_EQ(delta.text, "b");

  engine_.End(2, {});
  delta = Take(*call);
  EXPECT_EQ(delta.sample, 1U);
  EXPECT_TRUE(delta.finish.has_value());
  EXPECT_EQ(call->seed(), SampleSeed(7, 1));
  engine_.Emit(1, MakeTokens({"c"}));
  delta = Take(*call);
  EXPECT_EQ(delta.text, "c");
  EXPECT_FALSE(delta.finish.has_value());
  Finish finish;
  finish.reason = EndReason::kStopString;
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
  for (Engine::SampleId id = 1; id <= 16; ++id) engine_.WaitUntilEnded(id);
  EXPECT_EQ(call->WaitForStatus().code(), absl::StatusCode::kCancelled);
  call->TransportDone();
}

TEST_F(SamplesTest, BufferBoundIsOfTheCall) {
  options_.stream.buffer_tokens = 2;
  const auto call = NewCall();
  call->Admit(SamplesRequest(3));
  engine_.Emit(1, MakeTokens({"a"}));
  call->WaitForDelta();
  for (Engine::SampleId id = 1; id <= 3; ++id) engine_.Emit(id, MakeTokens({"b"}));
  call->WaitForAbort();
  for (Engine::SampleId id = 1; id <= 3; ++id) engine_.WaitUntilEnded(id);
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
  for (Engine::SampleId id = 1; id <= 4; ++id) {
    engine_.Emit(id, MakeTokens({absl::StrCat("text ", id)}));
  }
  engine_.End(2, LikelyBy(-2.0));
  engine_.End(3, LikelyBy(-1.5));
  Finish best = LikelyBy(-1.5);
  best.reason = EndReason::kStopToken;
  engine_.End(1, LikelyBy(-9.0));
  engine_.End(4, best);  // as likely as the one before it
  const Delta delta = call->WaitForDelta();
  EXPECT_EQ(delta.sample, 2U);
  EXPECT_EQ(delta.text, "text 3");
  EXPECT_EQ(delta.finish->cumulative_logprob, -1.5);
  ASSERT_TRUE(delta.prompt_logprobs.has_value());
  EXPECT_EQ(call->seed(), SampleSeed(7, 2));
  EXPECT_TRUE(call->WaitForStatus().ok());
  call->TransportDone();
  EXPECT_THAT(LogText(), HasSubstr("code=OK reason=length samples=4"));
}

}  // namespace
}  // namespace recurve
