// SPDX-License-Identifier: Apache-2.0
#include "engine/schedule/measure_costs.h"

#include <memory>

#include "engine/backend/model_shape.h"
#include "gtest/gtest.h"
#include "tests/engine/schedule/costed_backend.h"
#include "tests/engine/small_models.h"

namespace recurve {
namespace {

class MeasureCostsTest : public testing::Test {
 protected:
  MeasureCostsTest() {
    BackendLimits& limits = options_.limits;
    limits.slots = 12;
    limits.block_rows = 7;
    limits.FillIn();
    limits.max_positions = model_->config.max_positions;
    options_.entries_per_page = PageEntries(model_->config);
    options_.vocab_size = model_->config.vocab_size;
  }

  StageCosts Measure() {
    backend_ = std::make_unique<CostedBackend>(model_, options_.limits, formula_, nullptr);
    const auto costs = MeasureCosts(*backend_, options_, ShapeOf(model_->config));
    EXPECT_TRUE(costs.ok()) << costs.status();
    return costs.value_or(StageCosts());
  }

  const std::shared_ptr<const Model> model_ = SmallModels()[3].model;
  const CostFormula formula_ = {.block = 1e6, .ends = 4e5, .row = 0.1};
  ScheduleOptions options_;
  std::unique_ptr<CostedBackend> backend_;
};

TEST_F(MeasureCostsTest, FindsWhatStepsCost) {
  const StageCosts costs = Measure();
  for (const double rows : {1.0, 2.0, 5.0, 7.0, 12.0}) {
    EXPECT_NEAR(costs.ends.At(rows), formula_.Of(4e5, rows), 10) << rows;
  }
  for (const double rows : {1.0, 7.0, 16.0, 64.0, 300.0}) {
    EXPECT_NEAR(costs.block.At(rows), formula_.Of(1e6, rows), 10) << rows;
  }
  // Without the head, which takes most of the ends here.
  for (const double rows : {4.0, 20.0, 64.0}) {
    EXPECT_NEAR(costs.prompt_ends.At(rows), formula_.Of(8e4, rows), 10) << rows;
  }
}

TEST_F(MeasureCostsTest, FewPagesLeaveOutWhatDoesNotFit) {
  options_.limits.pages = 6;  // one sequence of few tokens
  const StageCosts costs = Measure();
  EXPECT_NEAR(costs.ends.At(1), formula_.Of(4e5, 1), 10);
  EXPECT_NEAR(costs.ends.At(12), formula_.Of(4e5, 1), 10);
  EXPECT_GT(costs.block.At(1), 0);
}

TEST_F(MeasureCostsTest, TheBackendIsFreeAfterwards) {
  Measure();
  const auto again = MeasureCosts(*backend_, options_, ShapeOf(model_->config));
  ASSERT_TRUE(again.ok()) << again.status();
  EXPECT_NEAR(again->ends.At(12), formula_.Of(4e5, 12), 10);
}

class BrokenBackend final : public Backend {
 public:
  absl::Status Submit(const StepPlan& /*plan*/) override {
    return absl::UnavailableError("the card is gone");
  }
  absl::Status Collect(StepResult& /*result*/) override { return absl::OkStatus(); }
  uint32_t Outstanding() const override { return 0; }
};

TEST_F(MeasureCostsTest, TellsWhyTheBackendBroke) {
  BrokenBackend broken;
  EXPECT_EQ(MeasureCosts(broken, options_, ShapeOf(model_->config)).status().message(),
            "the card is gone");
}

}  // namespace
}  // namespace recurve
