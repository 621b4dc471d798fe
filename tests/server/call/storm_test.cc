// SPDX-License-Identifier: Apache-2.0
// Many calls at once, whose transports react on threads of their own as gRPC's do, for
// ThreadSanitizer to look on. To a fake engine, which is quick, and to a real one.
#include <atomic>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <random>
#include <string>
#include <thread>
#include <vector>

#include "absl/strings/str_split.h"
#include "gtest/gtest.h"
#include "server/call/intake.h"
#include "tests/engine/small_engine.h"
#include "tests/server/call/call_fixture.h"

namespace recurve {
namespace {

constexpr uint32_t kTokens = 20;  // of each sample
constexpr int kThreads = 4;
constexpr int kCallsEach = 40;

// Keeps gRPC's promises: TransportDone comes once, after every other reaction, and writes fail once
// the call is cancelled.
class StormCall final : public Call {
 public:
  StormCall(CallContext* context, const CallOrigin& origin, Intake* reactions, uint32_t seed)
      : Call(context, origin), streams_(origin.streams), reactions_(reactions), random_(seed) {}

  // From any thread, at any time.
  void Cancel() {
    int pending = pending_;
    while (pending > 0 && !pending_.compare_exchange_weak(pending, pending + 1)) {
    }
    if (pending == 0) return;  // it is over
    cancelled_ = true;
    PeerGone();
    Release();
  }

  // Once it is closed: how it ended, and what had been written by then.
  const absl::Status& status() const { return status_; }
  uint32_t tokens() const { return tokens_; }

 private:
  void SendDelta(const Delta& delta, const Echo& /*echo*/) override {
    tokens_ += static_cast<uint32_t>(delta.tokens.size());
    if (!streams_) return;
    ++pending_;
    const bool slow = random_() % 16 == 0;
    React([this, slow] {
      if (slow) std::this_thread::sleep_for(Milliseconds(3));
      WriteDone(!cancelled_);
      Release();
    });
  }
  void SendStatus(const absl::Status& status) override {
    status_ = status;
    React([this] { Release(); });
  }
  void Abort() override {
    React([this] { Cancel(); });
  }

  void React(const std::function<void()>& reaction) {
    EXPECT_TRUE(reactions_->Post(TextKind::kPrompt, 0,
                                 [self = shared_from_this(), reaction] { reaction(); }));
  }
  void Release() {
    if (--pending_ == 0) TransportDone();
  }

  const bool streams_;
  Intake* const reactions_;
  std::atomic<int> pending_{1};  // what TransportDone waits for: reactions, and the status
  std::atomic<bool> cancelled_{false};
  // Of the egress thread.
  std::minstd_rand random_;
  absl::Status status_;
  uint32_t tokens_ = 0;
};

enum class Storm { kFakeEngine, kRealEngine, kRealEngineDrained };

class StormTest : public CallTest, public testing::WithParamInterface<Storm> {
 protected:
  void SetUp() override {
    CallTest::SetUp();
    if (GetParam() == Storm::kFakeEngine) {
      stormed_ = std::make_unique<FakeEngine>(
          FakeEngine::Script{MakeTokens(std::vector<std::string>(kTokens, "t"))});
    } else {
      // Too short a queue for all, so that some are refused.
      stormed_ = MakeEngine(SmallAssembly(GoOn, /*queue_depth=*/1, /*max_queued_requests=*/64));
    }
    context_.engine = stormed_.get();
  }

  // One client after the other: some leave at once, some later, some are there to the end.
  void BeClients(uint32_t seed) {
    std::minstd_rand random(seed);
    for (int i = 0; i < kCallsEach; ++i) {
      CallOrigin origin;
      origin.streams = random() % 4 != 0;
      origin.method = origin.streams ? "Generate" : "Complete";
      origin.arrival = std::chrono::steady_clock::now();
      const auto call = std::make_shared<StormCall>(&context_, origin, &*reactions_, random());
      Request request = IdsRequest({1, seed}, kTokens);
      request.samples = static_cast<uint32_t>(random() % 3 + 1);
      egress_->Open(call);
      EXPECT_TRUE(
          admissions_->Post(TextKind::kPrompt, 0, [call, request] { call->Admit(request); }));
      if (random() % 2 == 0) {
        std::this_thread::sleep_for(std::chrono::microseconds(random() % 400));
        call->Cancel();
      }
      const std::lock_guard lock(mutex_);
      calls_.push_back({call, kTokens * (origin.streams ? request.samples : 1)});
    }
  }

  struct Made {
    std::shared_ptr<StormCall> call;
    uint32_t tokens;  // that it must have got if it ended well
  };
  std::unique_ptr<Engine> stormed_;
  std::optional<Intake> reactions_{std::in_place, 1 << 20, 1};
  std::optional<Intake> admissions_{std::in_place, kThreads* kCallsEach, 1};
  std::mutex mutex_;  // guards what follows
  std::vector<Made> calls_;
};

TEST_P(StormTest, EveryCallEndsOnceAndWhole) {
  options_.stream.buffer_tokens = 8;
  StallAfter(Milliseconds(2));
  std::vector<std::thread> clients;
  for (uint32_t seed = 1; seed <= kThreads; ++seed) {
    clients.emplace_back([this, seed] { BeClients(seed); });
  }
  if (GetParam() == Storm::kRealEngineDrained) stormed_->Drain(std::chrono::steady_clock::now());
  for (std::thread& client : clients) client.join();
  const SteadyTime patience = std::chrono::steady_clock::now() + std::chrono::minutes(2);
  ASSERT_EQ(egress_->WaitUntilNoneOpen(patience), 0U);
  int whole = 0;
  for (const Made& made : calls_) {
    if (!made.call->status().ok()) continue;
    if (GetParam() == Storm::kRealEngineDrained) {
      EXPECT_LE(made.call->tokens(), made.tokens);
    } else {
      EXPECT_EQ(made.call->tokens(), made.tokens);
      ++whole;
    }
  }
  EXPECT_TRUE(whole > 0 || GetParam() == Storm::kRealEngineDrained);
  // The record of a cancelled call comes when the engine has ended its samples too.
  admissions_.reset();
  stormed_->Drain(SteadyTime::max());
  egress_.reset();
  const std::vector<std::string> lines = absl::StrSplit(LogText(), '\n', absl::SkipEmpty());
  EXPECT_EQ(lines.size(), size_t{kThreads * kCallsEach});
}

INSTANTIATE_TEST_SUITE_P(Engines, StormTest,
                         testing::Values(Storm::kFakeEngine, Storm::kRealEngine,
                                         Storm::kRealEngineDrained),
                         [](const auto& test) -> std::string {
                           switch (test.param) {
                             case Storm::kFakeEngine:
                               return "fake";
                             case Storm::kRealEngine:
                               return "real";
                             case Storm::kRealEngineDrained:
                               return "drained";
                           }
                           return "";
                         });

}  // namespace
}  // namespace recurve
