// SPDX-License-Identifier: Apache-2.0
// A call of one sample, step by step.
#include "server/call/call.h"

#include <chrono>
#include <future>
#include <memory>
#include <thread>
#include <vector>

#include "gmock/gmock.h"
#include "tests/server/call/call_fixture.h"

namespace recurve {
namespace {

using testing::HasSubstr;

// The sweep of the egress thread that comes when the call has been slow for long enough.
void CheckStallLater(TestCall* call) {
  call->CheckStall(std::chrono::steady_clock::now() + StreamOptions().stall_timeout);
}

TEST_F(CallTest, CancelledBeforeItsTurnNeverReachesTheEngine) {
  const auto call = NewCall();
  call->PeerGone();
  call->Admit(TextRequest());
  EXPECT_EQ(call->WaitForStatus().code(), absl::StatusCode::kCancelled);
  EXPECT_EQ(engine_.num_accepted(), 0U);
  call->TransportDone();
  EXPECT_THAT(LogText(), HasSubstr("code=CANCELLED refused=abandoned"));
}

TEST_F(CallTest, PastItsDeadlineBeforeItsTurnNeverReachesTheEngine) {
  const auto call = NewCall(/*streams=*/true, std::chrono::steady_clock::now());
  call->Admit(TextRequest());
  EXPECT_EQ(call->WaitForStatus().code(), absl::StatusCode::kDeadlineExceeded);
  EXPECT_EQ(engine_.num_accepted(), 0U);
  call->TransportDone();
  EXPECT_THAT(LogText(), HasSubstr("code=DEADLINE_EXCEEDED refused=abandoned"));
}

TEST_F(CallTest, OnlyAWriteInProgressCanBeTooSlow) {
  options_.stream.buffer_tokens = 2;
  const auto call = NewCall();
  call->Admit(TextRequest());
  engine_.Emit(1, MakeTokens({"a", "b", "c", "d"}));
  EXPECT_EQ(call->WaitForDelta().tokens.size(), 4U);
  call->WriteDone(true);
  engine_.Emit(1, MakeTokens({"e"}));
  EXPECT_EQ(call->WaitForDelta().tokens.size(), 1U);
  engine_.Emit(1, MakeTokens({"f", "g", "h"}));  // behind the write of "e"
  call->WaitForAbort();
  call->WriteDone(false);
  EXPECT_EQ(call->WaitForStatus().code(), absl::StatusCode::kCancelled);
  engine_.WaitUntilEnded(1);
  call->TransportDone();
}

TEST_F(CallTest, StallAfterTheEnginesEndIsASlowReader) {
  const auto call = NewCall();
  call->Admit(TextRequest());
  engine_.Emit(1, MakeTokens({"a"}));
  call->WaitForDelta();  // and its write never ends
  engine_.End(1, {});
  CheckStallLater(call.get());
  call->WaitForAbort();
  call->PeerGone();
  call->WriteDone(false);
  EXPECT_EQ(call->WaitForStatus().code(), absl::StatusCode::kCancelled);
  call->TransportDone();
  EXPECT_THAT(LogText(), HasSubstr("code=CANCELLED reason=slow_reader"));
}

TEST_F(CallTest, CancelAfterTheEnginesEndIsCancelled) {
  const auto call = NewCall();
  call->Admit(TextRequest());
  engine_.Emit(1, MakeTokens({"a"}));
  call->WaitForDelta();
  engine_.End(1, {});
  call->PeerGone();
  call->WriteDone(false);
  EXPECT_EQ(call->WaitForStatus().code(), absl::StatusCode::kCancelled);
  call->TransportDone();
  EXPECT_THAT(LogText(), HasSubstr("code=CANCELLED reason=cancelled"));
}

// Neither what waited then, nor what the engine makes until it hears of it, nor a good end.
TEST_F(CallTest, NothingIsWrittenAfterACancellation) {
  engine_.IgnoreCancels();
  std::vector<std::shared_ptr<TestCall>> calls;
  for (const bool streams : {true, false}) {
    const auto call = calls.emplace_back(NewCall(streams));
    const Engine::SampleId id = calls.size();
    call->Admit(TextRequest());
    engine_.Emit(id, MakeTokens({"a"}));
    if (streams) call->WaitForDelta();
    engine_.Emit(id, MakeTokens({"waits"}));
    call->PeerGone();
    engine_.Emit(id, MakeTokens({"comes too late"}));
    if (streams) call->WriteDone(true);
    engine_.End(id, {});
    EXPECT_EQ(call->WaitForStatus().code(), absl::StatusCode::kCancelled);
    call->TransportDone();
  }
  egress_.reset();  // has pumped whatever there was
  EXPECT_EQ(calls[0]->num_deltas(), 1);
  EXPECT_EQ(calls[1]->num_deltas(), 0);
}

TEST_F(CallTest, AnswerThatIsNeverTakenIsASlowReader) {
  const auto call = NewCall(/*streams=*/false);
  call->Admit(TextRequest());
  engine_.Emit(1, MakeTokens({"a"}));
  engine_.End(1, {});
  EXPECT_TRUE(call->WaitForStatus().ok());
  CheckStallLater(call.get());
  call->WaitForAbort();
  EXPECT_EQ(LogText(), "");
  call->PeerGone();
  call->TransportDone();
  EXPECT_THAT(LogText(), HasSubstr("method=Complete code=CANCELLED reason=slow_reader"));
}

TEST_F(CallTest, CompleteThatArrivedIsRecordedSo) {
  const auto call = NewCall(/*streams=*/false);
  call->Admit(TextRequest());
  engine_.Emit(1, MakeTokens({"a"}));
  engine_.End(1, {});
  EXPECT_TRUE(call->WaitForStatus().ok());
  call->TransportDone();
  EXPECT_THAT(LogText(), HasSubstr("method=Complete code=OK reason=length"));
}

TEST_F(CallTest, IsNotDestroyedInItsOwnMethod) {
  std::promise<std::thread::id> destroyer;
  CallOrigin origin;
  origin.arrival = std::chrono::steady_clock::now();
  std::shared_ptr<TestCall> call(new TestCall(&context_, origin), [&destroyer](TestCall* last) {
    delete last;
    destroyer.set_value(std::this_thread::get_id());
  });
  egress_->Open(call);
  call->Refuse(absl::InternalError("no"), Rejection::kInvalid);
  EXPECT_EQ(call->WaitForStatus().code(), absl::StatusCode::kInternal);
  TestCall* const alone = call.get();
  call.reset();
  alone->TransportDone();
  EXPECT_NE(destroyer.get_future().get(), std::this_thread::get_id());
}

}  // namespace
}  // namespace recurve
