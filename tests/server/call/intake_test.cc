// SPDX-License-Identifier: Apache-2.0
#include "server/call/intake.h"

#include <future>
#include <memory>
#include <mutex>
#include <string>
#include <utility>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace recurve {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;
using testing::UnorderedElementsAre;

constexpr size_t kShort = 100;
constexpr size_t kLong = Intake::kShortBytes + 1;

// Jobs with names that note when they run, and jobs that keep a thread busy until told.
class IntakeTest : public testing::Test {
 protected:
  struct Gate {
    std::promise<void> started, released;
  };

  bool Post(TextKind kind, size_t bytes, const std::string& name) {
    return intake_->Post(kind, bytes, [this, name] {
      const std::lock_guard lock(mutex_);
      ran_.push_back(name);
    });
  }

  // A thread that takes texts of so many bytes has begun with this job. The thread of long texts
  // must be the first to be kept busy, or it could take a short one.
  void Occupy(size_t bytes, Gate* gate) {
    ASSERT_TRUE(intake_->Post(TextKind::kPrompt, bytes, [gate] {
      gate->started.set_value();
      gate->released.get_future().wait();
    }));
    gate->started.get_future().wait();
  }

  // Lets the intake run what waits, and ends it.
  std::vector<std::string> Ran() {
    intake_.reset();
    return ran_;
  }

  std::unique_ptr<Intake> intake_ =
      std::make_unique<Intake>(/*max_waiting=*/4, /*max_waiting_bytes=*/10 * kLong);
  std::mutex mutex_;
  std::vector<std::string> ran_;
};

TEST_F(IntakeTest, RefusesMoreOfAKindAndLengthThanMayWaitAndRunsTheRest) {
  Gate short_gate, long_gate;
  Occupy(kLong, &long_gate);
  Occupy(kShort, &short_gate);
  for (const TextKind kind : {TextKind::kPrompt, TextKind::kTool}) {
    for (const size_t bytes : {kShort, kLong}) {
      for (int i = 0; i < 4; ++i) EXPECT_TRUE(Post(kind, bytes, "accepted"));
      EXPECT_FALSE(Post(kind, bytes, "refused"));
    }
  }
  short_gate.released.set_value();
  long_gate.released.set_value();
  EXPECT_EQ(Ran(), std::vector<std::string>(16, "accepted"));
}

TEST_F(IntakeTest, IsIdleWhenNothingWaitsOrRuns) {
  const auto now = [] { return std::chrono::steady_clock::now(); };
  intake_->WaitUntilIdle(now() + std::chrono::hours(1));
  Gate gate;
  Occupy(kLong, &gate);
  const SteadyTime until = now() + std::chrono::milliseconds(10);
  intake_->WaitUntilIdle(until);
  EXPECT_GE(now(), until);
  gate.released.set_value();
  EXPECT_TRUE(Post(TextKind::kTool, kLong, "waits"));
  intake_->WaitUntilIdle(now() + std::chrono::hours(1));
  EXPECT_THAT(ran_, ElementsAre("waits"));
}

TEST_F(IntakeTest, RefusesMoreBytesOfAKindAndLengthThanMayWait) {
  Gate long_gate;
  Occupy(kLong, &long_gate);
  EXPECT_TRUE(Post(TextKind::kPrompt, 20 * kLong, "more than ever may wait, alone"));
  EXPECT_FALSE(Post(TextKind::kPrompt, kLong, "refused"));
  EXPECT_TRUE(Post(TextKind::kTool, 4 * kLong, "tool"));
  EXPECT_TRUE(Post(TextKind::kTool, 6 * kLong, "tool"));
  EXPECT_FALSE(Post(TextKind::kTool, kLong, "refused"));
  long_gate.released.set_value();
  EXPECT_THAT(Ran(), UnorderedElementsAre("more than ever may wait, alone", "tool", "tool"));
}

TEST_F(IntakeTest, ShortTextsDoNotWaitForLongOnes) {
  Gate long_gate;
  Occupy(kLong, &long_gate);
  for (int i = 0; i < 4; ++i) EXPECT_TRUE(Post(TextKind::kPrompt, kLong, "long"));
  std::promise<void> ran;
  ASSERT_TRUE(intake_->Post(TextKind::kPrompt, Intake::kShortBytes, [&ran] { ran.set_value(); }));
  ran.get_future().wait();
  EXPECT_THAT(ran_, IsEmpty());
  long_gate.released.set_value();
  EXPECT_EQ(Ran(), std::vector<std::string>(4, "long"));
}

// The thread of long texts alone runs all of this, so its order is certain.
TEST_F(IntakeTest, TakesTheShortestAndTheFirstInTurns) {
  Gate short_gate, long_gate;
  Occupy(kLong, &long_gate);
  Occupy(kShort, &short_gate);
  const std::pair<const char*, size_t> jobs[] = {
      {"first", 4 * kLong}, {"second", 3 * kLong}, {"third", 2 * kLong}, {"fourth", kLong}};
  for (const auto& [name, bytes] : jobs) EXPECT_TRUE(Post(TextKind::kPrompt, bytes, name));
  EXPECT_TRUE(Post(TextKind::kPrompt, kShort, "short"));
  std::promise<void> last;
  ASSERT_TRUE(intake_->Post(TextKind::kPrompt, kShort, [&last] { last.set_value(); }));
  long_gate.released.set_value();
  last.get_future().wait();
  short_gate.released.set_value();
  // `long_gate` was the first taken of its line, as the shortest.
  EXPECT_THAT(Ran(), ElementsAre("first", "fourth", "second", "third", "short"));
}

TEST_F(IntakeTest, PromptsAndToolsTakeTurns) {
  Gate short_gate, long_gate;
  Occupy(kLong, &long_gate);
  Occupy(kShort, &short_gate);
  for (int i = 0; i < 3; ++i) EXPECT_TRUE(Post(TextKind::kTool, kLong, "tool"));
  for (int i = 0; i < 3; ++i) EXPECT_TRUE(Post(TextKind::kPrompt, kLong, "prompt"));
  std::promise<void> last;
  ASSERT_TRUE(intake_->Post(TextKind::kPrompt, kShort, [&last] { last.set_value(); }));
  long_gate.released.set_value();
  last.get_future().wait();
  short_gate.released.set_value();
  EXPECT_THAT(Ran(), ElementsAre("tool", "prompt", "tool", "prompt", "tool", "prompt"));
}

}  // namespace
}  // namespace recurve
