// SPDX-License-Identifier: Apache-2.0
#include "engine/backend/cuda/row_bound.h"

#include <algorithm>
#include <cstdint>
#include <deque>
#include <memory>
#include <random>
#include <utility>
#include <vector>

#include "engine/backend/cuda/step_replay.h"
#include "engine/backend/factory/make_backend.h"
#include "engine/backend/model_shape.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/engine/backend/step_driver.h"
#include "tests/engine/backend/test_backends.h"

namespace recurve::cuda {
namespace {

BackendLimits Limits(const ModelConfig& config) {
  BackendLimits limits = {
      {.slots = 5, .areas = 3, .chunk = 8, .ends = 6, .block_rows = 4, .prompt_rows = 13},
      /*pages=*/0,
      /*max_positions=*/64};
  limits.pages = PagesNeeded(config, limits);
  return limits;
}

// The CPU's backend, with the bound of each step as the CUDA backend has it.
class BoundedBackend final : public Backend {
 public:
  BoundedBackend(std::shared_ptr<const Model> model, const BackendLimits& limits)
      : replay_(ShapeOf(model->config), limits, model->config.vocab_size,
                PageEntries(model->config)),
        bound_(limits.slots) {
    BackendOptions options;
    options.threads = 1;
    backend_ = std::move(*MakeBackend(std::move(model), options, limits));
  }

  absl::Status Submit(const StepPlan& plan) override {
    EXPECT_EQ(replay_.Submit(plan), absl::OkStatus());
    waiting_.push_back(bound_.Submit(plan));
    return backend_->Submit(plan);
  }

  absl::Status Collect(StepResult& result) override {
    const absl::Status status = backend_->Collect(result);
    EXPECT_EQ(replay_.Replay(result), absl::OkStatus());
    bound_.Collect(result, replay_.table());
    bounds_.push_back(waiting_.front());
    waiting_.pop_front();
    rows_.push_back(*std::max_element(std::begin(result.part_rows), std::end(result.part_rows)));
    return status;
  }

  uint32_t Outstanding() const override { return backend_->Outstanding(); }

  // Of each step: the bound, and the rows of the part that had the most.
  const std::vector<uint32_t>& bounds() const { return bounds_; }
  const std::vector<uint32_t>& rows() const { return rows_; }

 private:
  std::unique_ptr<Backend> backend_;
  StepReplay replay_;
  RowBound bound_;
  std::deque<uint32_t> waiting_;
  std::vector<uint32_t> bounds_;
  std::vector<uint32_t> rows_;
};

DriverRequest RequestOf(uint32_t prompt, uint32_t new_tokens) {
  DriverRequest request;
  request.prompt.assign(prompt, 7);
  request.new_tokens = new_tokens;
  return request;
}

void ExpectBounds(RouterType router, const DriverOptions& driver) {
  const auto model =
      std::make_shared<const Model>(RandomModel(TestConfig(router), DataType::kF32, 3));
  const BackendLimits limits = Limits(model->config);
  std::mt19937 random(11);
  std::vector<DriverRequest> requests;
  for (uint32_t i = 0; i < 25; ++i) {
    requests.push_back(RequestOf(1 + random() % 30, random() % 8));
    requests.back().chunk = 1 + random() % limits.chunk;
    if (i % 4 == 0) requests.back().stop_ids = {1, 2, 3, 4, 5, 6, 7, 8, 9, 10};
  }
  BoundedBackend backend(model, limits);
  const auto outputs = RunRequests(backend, model->config, limits, requests, driver);
  ASSERT_TRUE(outputs.ok()) << outputs.status();
  for (size_t i = 0; i < backend.rows().size(); ++i) {
    ASSERT_LE(backend.rows()[i], backend.bounds()[i]) << "step " << i + 1;
    ASSERT_LE(backend.bounds()[i], limits.ends + limits.prompt_rows);
  }
  // It is no looser than it must be: now and then a step has as many.
  size_t full = 0;
  for (size_t i = 0; i < backend.rows().size(); ++i) {
    full += backend.rows()[i] == backend.bounds()[i] ? 1 : 0;
  }
  EXPECT_GT(full, 0U);
}

TEST(RowBound, NoStepHasMoreRows) {
  for (const RouterType router : {RouterType::kNone, RouterType::kExpertChoice}) {
    ExpectBounds(router, {.depth = 0});
    ExpectBounds(router, {.depth = 1});
    ExpectBounds(router, {.ends_min = kEndsWhenBlockEmpty, .depth = 1, .room_step = 5});
    ExpectBounds(router, {.depth = 1, .room_step = 3, .spread_admissions = true});
  }
}

TEST(RowBound, ComesDownToARowASlot) {
  const auto model = std::make_shared<const Model>(RandomModel(TestConfig(), DataType::kF32, 3));
  const BackendLimits limits = Limits(model->config);
  for (const uint32_t depth : {0, 1}) {
    BoundedBackend backend(model, limits);
    const auto outputs = RunRequests(backend, model->config, limits,
                                     {RequestOf(20, 12), RequestOf(9, 30)}, {.depth = depth});
    ASSERT_TRUE(outputs.ok()) << outputs.status();
    const std::vector<uint32_t>& bounds = backend.bounds();
    EXPECT_EQ(bounds.front(), limits.prompt_rows);
    EXPECT_TRUE(std::is_sorted(bounds.rbegin(), bounds.rend())) << "nobody is admitted later";
    EXPECT_THAT(bounds, testing::Contains(2U)) << "both prompts are done";
    // Once the first one has finished its slot counts no more.
    EXPECT_EQ(bounds[bounds.size() - 3], 1U);
  }
}

// ---- One slot, step by step ----

constexpr uint32_t kSlot = 1;

// A table of slots and the bound beside it, without a backend.
class OneSlot : public testing::Test {
 protected:
  OneSlot() : table_(ShapeOf(config_), limits_, config_.vocab_size, PageEntries(config_)) {}

  StepPlan PlanOf(uint32_t epoch) const {
    StepPlan plan;
    plan.epoch = epoch;
    plan.ends = limits_.ends;
    plan.block_rows = limits_.block_rows;
    plan.prompt_rows = limits_.prompt_rows;
    return plan;
  }

  static Admission AdmissionOf(uint32_t prompt) {
    Admission admission = {};
    admission.slot = kSlot;
    admission.area = prompt > 1 ? 0 : kNoArea;
    admission.state.stage = Stage::kEntry;
    admission.limits = {.prompt = prompt, .end = 40, .room = 40, .chunk = 6};
    return admission;
  }

  // The step of `plan` ran `ran` and its last part left no row active.
  void Run(const StepPlan& plan, uint32_t ran, uint32_t rows) {
    ASSERT_EQ(table_.Apply(plan, [](const Evict&) {}), absl::OkStatus());
    StepResult result;
    result.epoch = plan.epoch;
    result.outcomes.push_back({.slot = kSlot, .ran = ran, .rows = rows});
    table_.Take(result.outcomes[0]);
    bound_.Collect(result, table_);
  }

  const ModelConfig config_ = TestConfig();
  const BackendLimits limits_ = Limits(config_);
  SlotTable table_;
  RowBound bound_{limits_.slots};
};

TEST_F(OneSlot, HasAChunkUntilThePromptHasPassedExit) {
  StepPlan plan = PlanOf(1);
  plan.admits.push_back(AdmissionOf(8));
  EXPECT_EQ(bound_.Submit(plan), 6U);
  Run(plan, kRanEntry | kRanBlock, 6);
  EXPECT_EQ(bound_.Submit(PlanOf(2)), 6U);
  Run(PlanOf(2), kRanExit | kRanEntry | kRanBlock, 2);
  EXPECT_EQ(bound_.Submit(PlanOf(3)), 6U) << "the prompt's end has still to pass EXIT";
  Run(PlanOf(3), kRanExit | kRanEntry | kRanBlock, 1);
  EXPECT_EQ(bound_.Submit(PlanOf(4)), 1U);
}

TEST_F(OneSlot, HasNoRowsOnceItIsDropped) {
  StepPlan plan = PlanOf(1);
  plan.admits.push_back(AdmissionOf(1));
  EXPECT_EQ(bound_.Submit(plan), 6U);
  Run(plan, kRanEntry | kRanBlock, 1);
  bound_.Submit(PlanOf(2));
  StepPlan drop = PlanOf(3);
  drop.drops.push_back({kSlot});
  EXPECT_EQ(bound_.Submit(drop), 0U);
  Run(PlanOf(2), kRanExit | kRanEntry | kRanBlock, 1);
  EXPECT_EQ(bound_.Submit(PlanOf(4)), 0U) << "an old result does not bring it back";
}

TEST_F(OneSlot, ThatIsAdmittedAgainIsNotLoweredByAnOldResult) {
  StepPlan first = PlanOf(1);
  first.admits.push_back(AdmissionOf(1));
  bound_.Submit(first);
  Run(first, kRanEntry | kRanBlock, 1);
  bound_.Submit(PlanOf(2));
  StepPlan again = PlanOf(3);
  again.drops.push_back({kSlot});
  again.admits.push_back(AdmissionOf(20));
  EXPECT_EQ(bound_.Submit(again), 6U);
  // Its predecessor's prompt passes EXIT.
  Run(PlanOf(2), kRanExit | kRanEntry | kRanBlock, 1);
  EXPECT_EQ(bound_.Submit(PlanOf(4)), 6U);
}

TEST_F(OneSlot, ThatGoesOnBehindItsPromptHasOneRow) {
  StepPlan plan = PlanOf(1);
  Admission admission = AdmissionOf(8);
  admission.state.position = 8;
  plan.admits.push_back(admission);
  EXPECT_EQ(bound_.Submit(plan), 1U);
}

TEST(RowBound, IsNoMoreThanTheStepTakesOfEachKind) {
  RowBound bound(20);
  StepPlan plan;
  plan.epoch = 1;
  plan.ends = 3;
  plan.block_rows = 2;
  plan.prompt_rows = 10;
  for (uint32_t slot = 0; slot < 10; ++slot) {
    Admission admission = {};
    admission.slot = slot;
    admission.limits = {.prompt = 20, .end = 40, .room = 40, .chunk = 6};
    plan.admits.push_back(admission);
  }
  EXPECT_EQ(bound.Submit(plan), 10U) << "prompts alone";
  for (uint32_t slot = 10; slot < 20; ++slot) {
    Admission admission = {};
    admission.slot = slot;
    admission.state.position = 20;
    admission.limits = {.prompt = 20, .end = 40, .room = 40, .chunk = 6};
    plan.admits.push_back(admission);
  }
  EXPECT_EQ(bound.Submit(plan), 13U) << "and generated rows, as many as EXIT and ENTRY take";
}

}  // namespace
}  // namespace recurve::cuda
