// SPDX-License-Identifier: Apache-2.0
// The order in which the step loop asks, submits, collects and commits; load_test.cc runs it with a
// schedule.
#include "engine/schedule/step_loop.h"

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/engine/schedule/fake_backend.h"

namespace recurve {
namespace {

using testing::ElementsAre;

// Refuses the step of one epoch at Submit.
class RefusingBackend final : public FakeBackend {
 public:
  explicit RefusingBackend(uint32_t refused)
      : FakeBackend(FakeModel(), BackendLimits(), {}, /*seed=*/1, FakeFault::kNone),
        refused_(refused) {}
  absl::Status Submit(const StepPlan& plan) override {
    if (plan.epoch == refused_) return absl::UnavailableError("refused");
    return FakeBackend::Submit(plan);
  }

 private:
  const uint32_t refused_;
};

class StepLoopTest : public testing::Test {
 protected:
  // Runs empty plans. has_plan: whether there is one, each time that the loop asks; none behind
  // its end.
  absl::Status Run(uint32_t queue_depth, const std::vector<bool>& has_plan) {
    size_t asked = 0;
    StepPlan plan;
    const auto next_plan = [&]() -> const StepPlan* {
      const bool there_is_one = asked < has_plan.size() && has_plan[asked];
      ++asked;
      if (there_is_one) plan.epoch += epoch_step_;
      log_.push_back(there_is_one ? absl::StrCat("plan ", plan.epoch) : "none");
      return there_is_one ? &plan : nullptr;
    };
    const auto commit = [this](const StepResult& result) {
      log_.push_back(absl::StrCat("commit ", result.epoch));
    };
    return RunSteps(*backend_, queue_depth, next_plan, commit);
  }

  std::unique_ptr<FakeBackend> backend_ = std::make_unique<RefusingBackend>(0);
  uint32_t epoch_step_ = 1;  // the fake backend's Collect refuses any other
  std::vector<std::string> log_;
};

TEST_F(StepLoopTest, WithoutAQueueEachStepIsCommittedBeforeTheNextPlan) {
  ASSERT_TRUE(Run(0, {true, true}).ok());
  EXPECT_THAT(log_, ElementsAre("plan 1", "commit 1", "plan 2", "commit 2", "none"));
}

TEST_F(StepLoopTest, OneStepIsQueuedBehindTheRunningOne) {
  ASSERT_TRUE(Run(1, {true, true, true}).ok());
  EXPECT_THAT(log_, ElementsAre("plan 1", "plan 2", "commit 1", "plan 3", "commit 2", "none",
                                "commit 3", "none"));
  EXPECT_EQ(backend_->Outstanding(), 0U);
}

TEST_F(StepLoopTest, TwoStepsAreQueuedBehindTheRunningOne) {
  ASSERT_TRUE(Run(2, {true, true, true, true}).ok());
  EXPECT_THAT(log_, ElementsAre("plan 1", "plan 2", "plan 3", "commit 1", "plan 4", "commit 2",
                                "none", "commit 3", "none", "commit 4", "none"));
}

TEST_F(StepLoopTest, AResultThatBringsWorkGoesOn) {
  ASSERT_TRUE(Run(2, {true, true, false, true}).ok());
  EXPECT_THAT(log_, ElementsAre("plan 1", "plan 2", "none", "commit 1", "plan 3", "none",
                                "commit 2", "none", "commit 3", "none"));
}

TEST_F(StepLoopTest, WithoutAPlanNothingRuns) {
  ASSERT_TRUE(Run(1, {}).ok());
  EXPECT_THAT(log_, ElementsAre("none"));
}

TEST_F(StepLoopTest, AnErrorOfSubmitEndsItWithoutAnotherCommit) {
  backend_ = std::make_unique<RefusingBackend>(2);
  EXPECT_EQ(Run(1, {true, true, true}).code(), absl::StatusCode::kUnavailable);
  EXPECT_THAT(log_, ElementsAre("plan 1", "plan 2"));
}

TEST_F(StepLoopTest, AnErrorOfCollectEndsItWithoutAnotherCommit) {
  epoch_step_ = 2;
  EXPECT_EQ(Run(0, {true, true}).code(), absl::StatusCode::kInternal);
  EXPECT_THAT(log_, ElementsAre("plan 2"));
}

}  // namespace
}  // namespace recurve
