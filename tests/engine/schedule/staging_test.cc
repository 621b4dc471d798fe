// SPDX-License-Identifier: Apache-2.0
// The policy `staged`: its choices, and what it makes of machines of all kinds beside the other
// two.
#include "engine/schedule/staging.h"

#include <algorithm>
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
#include "tests/engine/small_models.h"

namespace recurve {
namespace {

constexpr uint32_t kRecursions = 3;

CostCurve Line(double fixed, double row) {
  CostCurve curve;
  curve.See(1, fixed + row);
  curve.See(64, fixed + 64 * row);
  return curve;
}

Staging MakeStaging(double ends, uint32_t slots, uint32_t block_rows) {
  BackendLimits limits;
  limits.slots = limits.ends = slots;
  limits.block_rows = block_rows;
  return Staging({Line(ends, 0), Line(100, 1), Line(ends, 0)}, {kRecursions, 0}, limits);
}

TEST(StagingTest, NobodyWaitsAloneOrForFreeStagesOrWithoutRecursions) {
  EXPECT_EQ(MakeStaging(100, 8, 8).EndsMin(1), 1U);
  EXPECT_GT(MakeStaging(100, 8, 8).EndsMin(8), 1U);
  EXPECT_EQ(MakeStaging(1, 8, 8).EndsMin(8), 1U);
  BackendLimits limits;
  limits.FillIn();
  EXPECT_EQ(Staging({}, {kRecursions, 0}, limits).EndsMin(8), 1U);
  EXPECT_EQ(Staging({Line(100, 0), Line(100, 1), {}}, {1, 0}, limits).EndsMin(8), 1U);
}

TEST(StagingTest, DearerEndsWaitForMoreRows) {
  uint32_t last = 1;
  for (const double ends : {30.0, 100.0, 200.0, 1000.0}) {
    const uint32_t rows = MakeStaging(ends, 32, 32).EndsMin(32);
    EXPECT_GE(rows, last) << ends;
    last = rows;
  }
  EXPECT_GT(last, 24U);
}

TEST(StagingTest, RowsThatNeverPartWaitForEachOther) {
  Staging staging = MakeStaging(20, 8, 8);
  EXPECT_EQ(staging.EndsMin(8), 1U);
  for (int i = 0; i < 600; ++i) staging.CountDepth(kRecursions);
  EXPECT_GT(staging.EndsMin(8), 2U);
  for (int i = 0; i < 3'000; ++i) staging.CountDepth(i % kRecursions + 1);
  EXPECT_EQ(staging.EndsMin(8), 1U);
}

// Rows that wait beside a block which is full cost nothing.
TEST(StagingTest, MoreSequencesThanTheBlockTakesLetMoreRowsWait) {
  EXPECT_GE(MakeStaging(40, 48, 32).EndsMin(48), 10U);
  EXPECT_LT(MakeStaging(40, 48, 48).EndsMin(48), 10U);
}

TEST(StagingTest, NoMoreRowsWaitThanExitTakes) {
  BackendLimits limits;
  limits.ends = 4;
  limits.FillIn();
  EXPECT_EQ(Staging({Line(1000, 0), Line(100, 1), {}}, {kRecursions, 0}, limits).EndsMin(32), 4U);
}

TEST(StagingTest, AWaitIsAsLongAsAllSequencesNeedForAllRecursions) {
  EXPECT_EQ(MakeStaging(1, 8, 8).longest_wait(), 3U);
  EXPECT_EQ(MakeStaging(1, 9, 8).longest_wait(), 6U);
}

// ---- The three policies on a machine of a formula. ----

struct Case {
  uint32_t streams;
  uint32_t block_rows;
  std::string depths;  // "uniform", "deep" or "shallow"
  CostFormula costs;
};

std::string Name(const Case& c) {
  return absl::StrCat(c.streams, " streams, ", c.block_rows, " block rows, ", c.depths, ", ends ",
                      c.costs.ends / c.costs.block, " of a pass, a row ", c.costs.row,
                      c.costs.at_once ? " at once" : "");
}

class Simulation final : public SampleObserver {
 public:
  explicit Simulation(const Case& c) : case_(c), model_(SmallModels()[3].model) {
    BackendLimits& limits = options_.limits;
    limits.slots = c.streams;
    limits.block_rows = c.block_rows;
    limits.FillIn();
    limits.max_positions = kPrompt + kNewTokens;
    options_.entries_per_page = PageEntries(model_->config);
    limits.pages = static_cast<uint32_t>(
        PagesForTokens(kPrompt + kNewTokens, KvBudget(), options_.entries_per_page) * c.streams);
    options_.vocab_size = model_->config.vocab_size;
    options_.headroom = 0;
    backend_ = std::make_unique<CostedBackend>(model_, limits, c.costs, nullptr);
    options_.costs = MeasureCosts(*backend_, options_, ShapeOf(model_->config)).value();
  }

  // Tokens a second while all streams run.
  double Run(const char* policy) {
    options_.policy = *Policy::FromName(policy);
    const auto schedule =
        Schedule::Create(options_, ShapeOf(model_->config), Clock::Steady()).value();
    for (uint32_t i = 0; i < case_.streams; ++i) AddStream(i, *schedule);
    backend_->steps = backend_->rows = 0;
    backend_->time = tokens_ = 0;
    time_ = 0;
    const auto next_plan = [&] { return schedule->HasWork() ? &schedule->Plan() : nullptr; };
    const auto commit = [&](const StepResult& result) { schedule->Commit(result); };
    const absl::Status status = RunSteps(*backend_, 0, next_plan, commit);
    EXPECT_TRUE(status.ok()) << status;
    return static_cast<double>(tokens_) / time_ * 1e9;
  }

  bool OnToken(const TokenOutput& /*token*/) override {
    tokens_ += time_ == 0 ? 1 : 0;
    return false;
  }
  void OnEnded(Ending /*ending*/) override {
    if (time_ == 0) time_ = backend_->time;
  }

  const CostedBackend& backend() const { return *backend_; }

 private:
  static constexpr uint32_t kPrompt = 1;
  static constexpr uint32_t kNewTokens = 120;

  void AddStream(uint32_t stream, Schedule& schedule) {
    ScheduledSample sample;
    sample.id = stream + 1;
    sample.prompt.assign(kPrompt, 1);
    sample.max_tokens = kNewTokens;
    sample.ignore_eos = true;
    sample.threshold_logit = -std::numeric_limits<float>::infinity();
    for (uint32_t position = 0; position < kPrompt + kNewTokens; ++position) {
      sample.caps.push_back({position, DepthOf(stream, position)});
    }
    // They come one after the other, so that their rows do not pass the block together.
    sample.caps[0].cap = stream % kRecursions + 1;
    sample.observer = this;
    EXPECT_TRUE(schedule.Add(std::move(sample)).ok());
  }

  uint32_t DepthOf(uint32_t stream, uint32_t position) const {
    if (case_.depths == "deep") return kRecursions;
    if (case_.depths == "shallow") return 1;
    return MixBits(stream * 1'000 + position) % kRecursions + 1;
  }

  const Case case_;
  const std::shared_ptr<const Model> model_;
  uint64_t tokens_ = 0;
  double time_ = 0;  // until the first stream ended; 0: none has
  ScheduleOptions options_;
  std::unique_ptr<CostedBackend> backend_;
};

std::vector<Case> Grid() {
  std::vector<Case> cases;
  for (const uint32_t streams : {1U, 2U, 4U, 8U, 16U, 32U, 64U}) {
    for (const uint32_t block_rows : {streams, streams * 2 / 3}) {
      if (block_rows < streams && streams != 8 && streams != 16) continue;
      for (const char* const depths : {"uniform", "deep", "shallow"}) {
        for (const double ends : {0.1, 0.4, 1.0, 2.5}) {
          for (const auto& [row, at_once] : {std::pair(0.01, false), {0.1, true}}) {
            cases.push_back({streams, block_rows, depths, {1e6, ends * 1e6, row, at_once}});
          }
        }
      }
    }
  }
  return cases;
}

TEST(StagedPolicyTest, LosesNowhereAgainstTheBetterOfTheOthers) {
  double worst = 1e9;
  double best = 0;
  std::string worst_name, best_name;
  const std::vector<Case> grid = Grid();
  for (size_t i = 0; i < grid.size(); i += RECURVE_GRID_STRIDE) {
    const Case& c = grid[i];
    Simulation simulation(c);
    const double others = std::max(simulation.Run("depthwise"), simulation.Run("lockstep"));
    const double ratio = simulation.Run("staged") / others;
    const double rows = static_cast<double>(simulation.backend().rows) /
                        static_cast<double>(simulation.backend().steps);
    EXPECT_GE(ratio, 0.98) << Name(c) << ": " << simulation.backend().steps << " steps of " << rows
                           << " rows";
    if (ratio < worst) worst_name = Name(c);
    if (ratio > best) best_name = Name(c);
    worst = std::min(worst, ratio);
    best = std::max(best, ratio);
  }
  std::cout << "staged over the better of the others: " << worst << " (" << worst_name << ") to "
            << best << " (" << best_name << ")\n";
  EXPECT_GT(best, 1.05);
}

}  // namespace
}  // namespace recurve
