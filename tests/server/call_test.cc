// SPDX-License-Identifier: Apache-2.0
// A call between a fake engine and a transport that does what the test says, step by step.
#include "server/call.h"

#include <unistd.h>

#include <condition_variable>
#include <cstdio>
#include <utility>

#include "gmock/gmock.h"
#include "recurve/v1/generation.pb.h"
#include "tests/server/server_fixture.h"

namespace recurve {
namespace {

using testing::HasSubstr;

// Its operations return at once; the test makes the reactions.
class TestCall final : public Call {
 public:
  using Call::Call, Call::PeerGone, Call::TransportDone, Call::WriteDone;

  Delta WaitForDelta() {
    Wait([this] { return delta_.has_value(); });
    return *std::exchange(delta_, std::nullopt);
  }
  absl::Status WaitForStatus() {
    Wait([this] { return status_.has_value(); });
    return *status_;
  }
  void WaitForAbort() {
    Wait([this] { return aborted_; });
  }

 private:
  void SendDelta(const Delta& delta, const Echo& /*echo*/) override {
    Set([&] { delta_ = delta; });
  }
  void SendStatus(const absl::Status& status) override {
    Set([&] { status_ = status; });
  }
  void Abort() override {
    Set([&] { aborted_ = true; });
  }

  template <typename Function>
  void Set(const Function& function) {
    const std::lock_guard lock(mutex_);
    function();
    changed_.notify_all();
  }
  template <typename Function>
  void Wait(const Function& function) {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, function);
  }

  std::mutex mutex_;
  std::condition_variable changed_;
  std::optional<Delta> delta_;
  std::optional<absl::Status> status_;
  bool aborted_ = false;
};

class CallTest : public testing::Test {
 protected:
  void SetUp() override {
    log_ = std::make_unique<Log>(LogFormat::kText, fileno(log_file_.get()));
    egress_ = std::make_unique<Egress>(options_.stream);
    context_.options = &options_;
    context_.metrics = &metrics_;
    context_.log = log_.get();
    context_.egress = egress_.get();
    context_.engine = &engine_;
  }

  void StallAfter(Milliseconds time) {
    options_.stream.stall_timeout = time;
    egress_ = std::make_unique<Egress>(options_.stream);
    context_.egress = egress_.get();
  }

  std::shared_ptr<TestCall> NewCall(bool streams = true,
                                    std::optional<SteadyTime> deadline = std::nullopt) {
    Call::Origin origin;
    origin.method = streams ? "Generate" : "Complete";
    origin.streams = streams;
    origin.deadline = deadline;
    origin.arrival = std::chrono::steady_clock::now();
    auto call = std::make_shared<TestCall>(&context_, origin);
    egress_->Open(call);
    return call;
  }

  // The log so far; calls that end later are not in it.
  std::string LogText() {
    log_->Flush();
    std::string text(1 << 16, '\0');
    text.resize(static_cast<size_t>(pread(fileno(log_file_.get()), text.data(), text.size(), 0)));
    return text;
  }

  ServerOptions options_ = TestOptions();
  const std::unique_ptr<std::FILE, int (*)(std::FILE*)> log_file_{std::tmpfile(), &std::fclose};
  std::unique_ptr<Log> log_;
  Metrics metrics_;
  CallContext context_;
  FakeEngine engine_;
  std::unique_ptr<Egress> egress_;
};

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
  StallAfter(Milliseconds(20));
  const auto call = NewCall();
  call->Admit(TextRequest());
  engine_.Emit(1, MakeTokens({"a"}));
  call->WaitForDelta();  // and its write never ends
  engine_.End(1, {});
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

TEST_F(CallTest, AnswerThatIsNeverTakenIsASlowReader) {
  StallAfter(Milliseconds(20));
  const auto call = NewCall(/*streams=*/false);
  call->Admit(TextRequest());
  engine_.Emit(1, MakeTokens({"a"}));
  engine_.End(1, {});
  EXPECT_TRUE(call->WaitForStatus().ok());
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

}  // namespace
}  // namespace recurve
