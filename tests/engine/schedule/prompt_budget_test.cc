// SPDX-License-Identifier: Apache-2.0
#include "engine/schedule/prompt_budget.h"

#include <algorithm>
#include <chrono>
#include <iostream>
#include <limits>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "engine/backend/model_shape.h"
#include "engine/base/mix_bits.h"
#include "engine/kv/page_tables.h"
#include "engine/schedule/measure_costs.h"
#include "engine/schedule/schedule.h"
#include "engine/schedule/step_loop.h"
#include "gtest/gtest.h"
#include "tests/engine/schedule/costed_backend.h"
#include "tests/engine/schedule/recorder.h"
#include "tests/engine/small_models.h"

namespace recurve {
namespace {

CostCurve Line(double fixed, double row) {
  CostCurve curve;
  curve.See(1, fixed + row);
  curve.See(64, fixed + 64 * row);
  return curve;
}

Stay PromptWith(uint32_t position, uint32_t rows, uint32_t room) {
  Stay stay;
  stay.state.position = position;
  stay.state.rows = rows;
  stay.limits.room = room;
  return stay;
}

class PromptBudgetTest : public testing::Test {
 protected:
  PromptBudgetTest() { limits_.FillIn(); }
  BackendLimits limits_;
  // A step of 10 rows takes 200: with 72 prompt rows 344, and 14.4 for their ends.
  StageCosts costs_ = {{}, Line(180, 2), Line(0, 0.2)};
};

TEST_F(PromptBudgetTest, WhoeverIsAloneHasAllRows) {
  PromptBudget budget(costs_, limits_);
  budget.Begin(0);
  budget.Count(PromptWith(0, 0, 0));
  EXPECT_EQ(budget.RowsFor(PromptWith(0, 0, 0)), PromptBudget::kNoBound);
  PromptBudget free({}, limits_);
  free.Begin(10);
  free.Count(PromptWith(0, 0, 0));
  EXPECT_EQ(free.RowsFor(PromptWith(0, 0, 0)), PromptBudget::kNoBound);
}

TEST_F(PromptBudgetTest, AStepTakesLessThanTwiceTheTime) {
  PromptBudget budget(costs_, limits_);
  budget.Begin(10);
  EXPECT_EQ(budget.rows(), 72U);
  budget.Begin(20);
  EXPECT_EQ(budget.rows(), 80U);
  limits_.block_rows = 10;
  limits_.prompt_rows = 50;
  PromptBudget narrow(costs_, limits_);
  narrow.Begin(20);
  EXPECT_EQ(narrow.rows(), 50U);
  PromptBudget dear({{}, Line(1, 99), Line(500, 0)}, limits_);
  dear.Begin(1);
  EXPECT_EQ(dear.rows(), 4U);  // a prompt goes on whatever it costs
}

TEST_F(PromptBudgetTest, PromptsHaveEqualPartsOfWhatIsNotInFlight) {
  PromptBudget budget(costs_, limits_);
  budget.Begin(10);
  const Stay first = PromptWith(16, 60, 76);  // in flight since it was alone
  Stay second = PromptWith(0, 0, 0);
  const Stay third = PromptWith(0, 0, 0);
  budget.Count(first);
  budget.Count(second);
  budget.Count(third);
  EXPECT_EQ(budget.RowsFor(first), 24U);
  EXPECT_EQ(budget.RowsFor(second), 12U);
  second.limits.room = 12;
  budget.Took(second, 0);
  EXPECT_EQ(budget.RowsFor(second), 12U);
  EXPECT_EQ(budget.RowsFor(third), 0U);
}

TEST_F(PromptBudgetTest, ASpanAndTheNextAreNeverInFlightTogether) {
  EXPECT_EQ(PromptBudget::RowsInFlight(PromptWith(10, 8, 18)), 8U);
  EXPECT_EQ(PromptBudget::RowsInFlight(PromptWith(10, 8, 30)), 12U);
  EXPECT_EQ(PromptBudget::RowsInFlight(PromptWith(10, 0, 15)), 5U);
}

// ---- The promise, on machines of formulas. ----

constexpr uint32_t kPrompt = 2'000;
constexpr uint32_t kBefore = 40;  // tokens of each stream before the prompt comes

// Notes when tokens come.
class Listener final : public SampleObserver {
 public:
  explicit Listener(const Clock* clock) : clock_(clock) {}
  bool OnToken(const TokenOutput& /*token*/) override {
    times.push_back(clock_->Now());
    return false;
  }
  void OnEnded(Ending /*ending*/) override {}

  // Between two tokens of which the later one came after `from` and no later than `to`.
  void AddGaps(SteadyTime from, SteadyTime to, std::vector<double>& gaps) const {
    for (size_t i = 1; i < times.size(); ++i) {
      if (times[i] <= from || times[i] > to) continue;
      gaps.push_back(std::chrono::duration<double>(times[i] - times[i - 1]).count());
    }
  }

  std::vector<SteadyTime> times;

 private:
  const Clock* const clock_;
};

struct Machine {
  const char* name;
  CostFormula costs;
};

const Machine kMachines[] = {{"few cores", {1e6, 1e6, 0.1, false}},
                             {"matrix units", {1e6, 8e5, 0.03, true}},
                             {"card", {1e5, 5e4, 0.006, true}}};

// Streams that generate, and a prompt that comes when each has had some tokens.
class Crowd {
 public:
  Crowd(const Machine& machine, uint32_t streams, const char* policy, bool uniform)
      : uniform_(uniform), streams_(streams) {
    Model model = *SmallModels()[3].model;
    model.config.max_positions = 4'096;
    model_ = std::make_shared<const Model>(std::move(model));
    BackendLimits& limits = options_.limits;
    limits.slots = streams + 1;
    limits.FillIn();
    limits.max_positions = 4'096;
    options_.entries_per_page = PageEntries(model_->config);
    limits.pages = (streams + 1) * static_cast<uint32_t>(PagesForTokens(4'096, KvBudget(),
                                                                        options_.entries_per_page));
    options_.vocab_size = model_->config.vocab_size;
    options_.policy = *Policy::FromName(policy);
    backend_ = std::make_unique<CostedBackend>(model_, limits, machine.costs, &clock_);
    shape_ = ShapeOf(model_->config);
    options_.costs = MeasureCosts(*backend_, options_, shape_).value();
  }

  // Runs until the prompt has its first token.
  void Run() {
    schedule_ = Schedule::Create(options_, shape_, &clock_).value();
    for (uint32_t i = 0; i < streams_; ++i) Add(1, 4'000);
    while (streams_ > 0 && listeners_.back()->times.size() < kBefore) Step();
    begin_ = clock_.now;
    backend_->steps = 0;
    Add(kPrompt, 1);
    while (listeners_.back()->times.empty() && backend_->steps < 100'000) Step();
    schedule_->EndAll(EndReason::kDrained, absl::OkStatus());
  }

  // Gaps of all streams, in ascending order, before the prompt came and while it entered.
  std::vector<double> Gaps(bool before) const {
    std::vector<double> gaps;
    const SteadyTime warm = listeners_.front()->times[kBefore / 2];
    for (const auto& stream : listeners_) {
      if (before) stream->AddGaps(warm, begin_, gaps);
      if (!before) stream->AddGaps(begin_, clock_.now, gaps);
    }
    std::sort(gaps.begin(), gaps.end());
    return gaps;
  }
  uint64_t prompt_steps() const { return backend_->steps; }
  double prompt_seconds() const {
    return std::chrono::duration<double>(clock_.now - begin_).count();
  }
  bool prompt_entered() const { return !listeners_.back()->times.empty(); }
  ScheduleOptions& options() { return options_; }

 private:
  void Step() {
    ASSERT_TRUE(backend_->Submit(schedule_->Plan()).ok());
    ASSERT_TRUE(backend_->Collect(result_).ok());
    schedule_->Commit(result_);
  }

  void Add(uint32_t prompt, uint32_t tokens) {
    ScheduledSample sample;
    sample.id = listeners_.size() + 1;
    sample.prompt.assign(prompt, 1);
    sample.max_tokens = tokens;
    sample.ignore_eos = true;
    sample.threshold_logit = -std::numeric_limits<float>::infinity();
    for (uint32_t position = 0; uniform_ && position < prompt + tokens; ++position) {
      const uint64_t draw = MixBits(sample.id * 10'000 + position);
      sample.caps.push_back({position, static_cast<uint32_t>(draw % shape_.recursions) + 1});
    }
    listeners_.push_back(std::make_unique<Listener>(&clock_));
    sample.observer = listeners_.back().get();
    ASSERT_TRUE(schedule_->Add(std::move(sample)).ok());
  }

  const bool uniform_;
  const uint32_t streams_;
  FakeClock clock_;
  std::shared_ptr<const Model> model_;
  StepShape shape_;
  ScheduleOptions options_;
  std::unique_ptr<CostedBackend> backend_;
  std::unique_ptr<Schedule> schedule_;
  std::vector<std::unique_ptr<Listener>> listeners_;
  StepResult result_;
  SteadyTime begin_;  // when the prompt came
};

double Median(const std::vector<double>& sorted) { return sorted[sorted.size() / 2]; }

TEST(PromptBesideStreamsTest, GapsAtMostDouble) {
  for (const Machine& machine : kMachines) {
    for (const char* const policy : {"staged", "depthwise", "lockstep"}) {
      for (const uint32_t streams : {1U, 4U, 16U, 64U}) {
        for (const bool uniform : {false, true}) {
          Crowd crowd(machine, streams, policy, uniform);
          crowd.Run();
          const std::vector<double> before = crowd.Gaps(true);
          const std::vector<double> during = crowd.Gaps(false);
          const std::string name = absl::StrCat(machine.name, ", ", policy, ", ", streams,
                                                " streams", uniform ? ", uniform" : "");
          ASSERT_TRUE(crowd.prompt_entered()) << name;
          ASSERT_FALSE(during.empty()) << name;
          EXPECT_LE(Median(during), 2 * Median(before)) << name;
          // Where tokens take one depth there is no more to a gap than that; else the longest ones
          // double at most.
          EXPECT_LE(during.back(), 2 * (uniform ? before.back() : Median(before))) << name;
          if (!uniform) {  // The prompt gets what it may.
            EXPECT_GE(Median(during), 1.25 * Median(before)) << name;
          }
          std::cout << name << ": gap " << Median(during) / Median(before) << " times, longest "
                    << during.back() / before.back() << ", prompt "
                    << kPrompt / crowd.prompt_seconds() << " tokens/s in " << crowd.prompt_steps()
                    << " steps\n";
        }
      }
    }
  }
}

TEST(PromptBesideStreamsTest, APromptAloneIsAsFastAsWithoutABudget) {
  for (const Machine& machine : kMachines) {
    Crowd bound(machine, 0, "staged", true);
    bound.Run();
    Crowd free(machine, 0, "staged", true);
    free.options().costs = StageCosts();
    free.Run();
    EXPECT_EQ(bound.prompt_steps(), free.prompt_steps());
    EXPECT_EQ(bound.prompt_seconds(), free.prompt_seconds());
  }
}

}  // namespace
}  // namespace recurve
