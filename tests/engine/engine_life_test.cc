// SPDX-License-Identifier: Apache-2.0
// The engine among threads: who calls its sinks, who waits for what, how it ends, and how it fails.
#include <atomic>
#include <chrono>
#include <latch>
#include <memory>
#include <mutex>
#include <random>
#include <set>
#include <thread>
#include <utility>
#include <vector>

#include "engine/engine.h"
#include "gtest/gtest.h"
#include "tests/engine/small_engine.h"

namespace recurve {
namespace {

TEST(EngineLifeTest, DrainEndsWhatIsLeftAndRefusesMore) {
  const auto engine = MakeSmallEngine();
  const auto sink = std::make_shared<Sink>();
  ASSERT_TRUE(engine->Start(IdsRequest({1, 2}, 250), {sink}).ok());
  sink->WaitForTokens(1);
  engine->Drain(std::chrono::steady_clock::now());
  const Finish finish = sink->Wait();
  EXPECT_TRUE(finish.status.ok());
  EXPECT_TRUE(finish.reason == EndReason::kDrained || finish.generated_tokens == 250);
  EXPECT_TRUE(engine->Snapshot().draining);
  EXPECT_EQ(engine->Start(IdsRequest({1}, 1), {sink}).status().code(),
            absl::StatusCode::kUnavailable);
}

TEST(EngineLifeTest, WaitingForAFailureEndsWhenToldAlsoIfItBeginsLater) {
  const auto engine = MakeSmallEngine();
  std::thread before([&] { EXPECT_TRUE(engine->WaitForFailure().ok()); });
  engine->StopWaiting();
  before.join();
  EXPECT_TRUE(engine->WaitForFailure().ok());
}

TEST(EngineLifeTest, AFailedStepEndsEverything) {
  const auto engine = MakeSmallEngine([](uint32_t epoch) {
    return epoch < 10 ? absl::OkStatus() : absl::InternalError("the card fell off the bus");
  });
  std::vector<std::shared_ptr<Sink>> sinks;
  for (int i = 0; i < 6; ++i) {
    sinks.push_back(std::make_shared<Sink>());
    const auto id = engine->Start(IdsRequest({1, 2, 3}, 200), {sinks.back()});
    if (!id.ok()) {  // it had already failed
      EXPECT_EQ(id.status().code(), absl::StatusCode::kUnavailable);
      sinks.pop_back();
    }
  }
  for (const auto& sink : sinks) {
    EXPECT_EQ(sink->Wait().status.code(), absl::StatusCode::kUnavailable);
  }
  EXPECT_EQ(engine->WaitForFailure().code(), absl::StatusCode::kInternal);
  engine->StopWaiting();
  EXPECT_EQ(engine->WaitForFailure().code(), absl::StatusCode::kInternal);
  EXPECT_TRUE(engine->Snapshot().failed);
  const auto sink = std::make_shared<Sink>();
  EXPECT_EQ(engine->Start(IdsRequest({1}, 1), {sink}).status().code(),
            absl::StatusCode::kUnavailable);
}

TEST(EngineLifeTest, DestructionCancelsWhatRuns) {
  std::latch go_on(1);
  const auto sink = std::make_shared<Sink>();
  auto engine = MakeSmallEngine(HaltUntil(go_on));
  ASSERT_TRUE(engine->Start(IdsRequest({1, 2, 3}, 250), {sink}).ok());
  sink->WaitForTokens(1);
  std::thread destroyer([&engine] { engine.reset(); });
  go_on.count_down();
  destroyer.join();
  EXPECT_EQ(sink->Wait().status.code(), absl::StatusCode::kCancelled);
}

TEST(EngineLifeTest, ManyThreadsStartAndCancel) {
  const auto engine = MakeSmallEngine();
  std::atomic<int> started = 0;
  std::vector<std::thread> threads;
  for (uint32_t t = 0; t < 4; ++t) {
    threads.emplace_back([&, t] {
      std::mt19937 random(t);
      for (int i = 0; i < 40; ++i) {
        const auto sink = std::make_shared<Sink>();
        const auto id = engine->Start(IdsRequest({t, 2, 3}, 1 + random() % 30), {sink});
        if (!id.ok()) {
          EXPECT_EQ(id.status().code(), absl::StatusCode::kResourceExhausted);
          continue;
        }
        ++started;
        if (random() % 2 == 0) engine->Cancel(id->id);
        const Finish finish = sink->Wait();
        EXPECT_TRUE(finish.status.ok() || absl::IsCancelled(finish.status));
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_GT(started, 40);
  const EngineSnapshot snapshot = engine->Snapshot();
  EXPECT_EQ(snapshot.schedule.pages_free, 256U);
  EXPECT_EQ(snapshot.schedule.running + snapshot.schedule.waiting, 0U);
}

// Notes who calls it.
class ThreadNotes final : public RequestSink {
 public:
  void OnPromptLogprobs(uint32_t, std::vector<PositionLogprobs>) override { Note(); }
  void OnTokens(uint32_t, std::span<const TokenEvent>, uint32_t) override { Note(); }
  void OnFinished(uint32_t, Finish) override { Note(); }

  std::set<std::thread::id> threads() {
    const std::lock_guard<std::mutex> lock(mutex_);
    return threads_;
  }

 private:
  void Note() {
    const std::lock_guard<std::mutex> lock(mutex_);
    threads_.insert(std::this_thread::get_id());
  }
  std::mutex mutex_;
  std::set<std::thread::id> threads_;
};

// Whatever ends a sample: its length, Cancel, Drain, the engine's destruction or a failed step.
TEST(EngineLifeTest, OneThreadCallsAllSinks) {
  for (const bool fails : {false, true}) {
    const auto notes = std::make_shared<ThreadNotes>();
    auto engine = MakeSmallEngine([fails](uint32_t epoch) {
      return fails && epoch == 40 ? absl::InternalError("broken") : absl::OkStatus();
    });
    std::vector<std::thread> callers;
    for (uint32_t t = 0; t < 3; ++t) {
      callers.emplace_back([&engine, &notes, t] {
        for (uint32_t i = 0; i < 20; ++i) {
          Request request = IdsRequest({t, i, 3}, 1 + i * 4);
          request.samples = 1 + i % 2;
          request.prompt_logprobs = i % 3 == 0;
          if (i % 5 == 0) request.time_limit = std::chrono::steady_clock::now();
          const auto started = engine->Start(request, notes);
          if (started.ok() && i % 4 == 0) engine->Cancel(started->id);
        }
      });
    }
    for (std::thread& caller : callers) caller.join();
    if (!fails) engine->Drain(std::chrono::steady_clock::now());
    engine.reset();
    const std::set<std::thread::id> threads = notes->threads();
    EXPECT_EQ(threads.size(), 1U);
    EXPECT_FALSE(threads.contains(std::this_thread::get_id()));
  }
}

// What is accepted while a step runs waits for the loop, and is counted where it waits.
TEST(EngineLifeTest, NoCallWaitsForAStep) {
  std::latch in_step(1), go_on(1);
  const auto engine = MakeSmallEngine([&](uint32_t epoch) {
    if (epoch == 1) in_step.count_down();
    go_on.wait();
    return absl::OkStatus();
  });
  const auto running = std::make_shared<Sink>();
  ASSERT_TRUE(engine->Start(IdsRequest({1, 2}, 3), running).ok());
  in_step.wait();
  const auto kept = std::make_shared<Sink>(), cancelled = std::make_shared<Sink>();
  ASSERT_TRUE(engine->Start(IdsRequest({1, 2, 3}, 3), kept).ok());
  const auto started = engine->Start(IdsRequest({4, 5, 6, 7}, 3), cancelled);
  ASSERT_TRUE(started.ok());
  engine->Cancel(started->id);
  engine->Cancel(started->id);
  EngineSnapshot snapshot = engine->Snapshot();
  EXPECT_EQ(snapshot.schedule.running, 1U);
  EXPECT_EQ(snapshot.schedule.waiting, 2U);
  EXPECT_EQ(snapshot.schedule.waiting_tokens, 7U);
  EXPECT_EQ(snapshot.prompt_tokens, 9U);
  go_on.count_down();
  EXPECT_EQ(cancelled->Wait().status.code(), absl::StatusCode::kCancelled);
  EXPECT_EQ(kept->Wait().generated_tokens, 3U);
  EXPECT_TRUE(running->Wait().status.ok());
  snapshot = engine->Snapshot();
  EXPECT_EQ(snapshot.schedule.running + snapshot.schedule.waiting, 0U);
  EXPECT_EQ(snapshot.schedule.waiting_tokens, 0U);
}

class SettableClock final : public Clock {
 public:
  SteadyTime Now() const override { return SteadyTime(std::chrono::seconds(seconds)); }
  std::atomic<int> seconds = 1000;
};

// The step comes back after all, to nobody.
TEST(EngineLifeTest, AStepThatDoesNotComeBackTakesNobodyWithIt) {
  for (const uint32_t queue_depth : {0U, 1U}) {
    SettableClock clock;
    std::latch in_step(1), go_on(1);
    Assembly assembly = SmallAssembly(
        [&](uint32_t epoch) {
          if (epoch != 5) return absl::OkStatus();
          in_step.count_down();
          go_on.wait();
          return absl::OkStatus();
        },
        queue_depth);
    assembly.clock = &clock;
    assembly.step_timeout = std::chrono::seconds(30);
    auto engine = MakeEngine(std::move(assembly));
    const auto sink = std::make_shared<Sink>();
    const auto started = engine->Start(IdsRequest({1, 2}, 100), sink);
    ASSERT_TRUE(started.ok());
    in_step.wait();
    const size_t tokens = sink->tokens().size();
    clock.seconds += 30;  // not longer
    EXPECT_EQ(engine->Snapshot().step_age, std::chrono::seconds(30));
    EXPECT_FALSE(engine->Snapshot().failed);
    clock.seconds += 1;
    const absl::Status failure = engine->WaitForFailure();
    EXPECT_EQ(failure.code(), absl::StatusCode::kDeadlineExceeded);
    EXPECT_EQ(failure.message(), "a step has not come back within --step_timeout=30000ms");
    EXPECT_TRUE(engine->Snapshot().stuck);
    EXPECT_TRUE(engine->Snapshot().failed);
    EXPECT_EQ(engine->Start(IdsRequest({1}, 1), sink).status().code(),
              absl::StatusCode::kUnavailable);
    engine->Cancel(started->id);
    engine->Drain(SteadyTime::max());
    go_on.count_down();
    engine.reset();
    EXPECT_EQ(sink->tokens().size(), tokens);
    EXPECT_FALSE(sink->finished());
  }
}

// A step that has failed has no age any more, by which it would be taken for one that hangs.
TEST(EngineLifeTest, AFailedStepIsNotOneThatDoesNotComeBack) {
  SettableClock clock;
  Assembly assembly = SmallAssembly(
      [](uint32_t epoch) {
        return epoch < 5 ? absl::OkStatus() : absl::InternalError("the card fell off the bus");
      },
      /*queue_depth=*/1);
  assembly.clock = &clock;
  const auto engine = MakeEngine(std::move(assembly));
  const auto sink = std::make_shared<Sink>();
  ASSERT_TRUE(engine->Start(IdsRequest({1, 2}, 100), sink).ok());
  EXPECT_EQ(sink->Wait().status.code(), absl::StatusCode::kUnavailable);
  clock.seconds += 100;
  EXPECT_EQ(engine->Snapshot().step_age, std::chrono::seconds(0));
  EXPECT_EQ(engine->WaitForFailure().code(), absl::StatusCode::kInternal);
}

}  // namespace
}  // namespace recurve
