// SPDX-License-Identifier: Apache-2.0
// A steady step of the CPU backend allocates nothing, whatever the model.
#include <array>
#include <memory>
#include <tuple>

#include "engine/backend/cpu/cpu_backend.h"
#include "engine/backend/model_shape.h"
#include "gtest/gtest.h"
#include "tests/engine/allocations.h"
#include "tests/engine/backend/step_driver.h"
#include "tests/engine/small_models.h"

namespace recurve {
namespace {

class CpuBackendAllocationTest : public testing::TestWithParam<std::tuple<SmallModel, Precision>> {
};

TEST_P(CpuBackendAllocationTest, SteadyStepsAllocateNothing) {
  const std::shared_ptr<const Model> model = std::get<SmallModel>(GetParam()).model;
  const ModelConfig& config = model->config;
  CpuBackendOptions options;
  options.precision = std::get<Precision>(GetParam());
  options.threads = 2;
  options.limits = {
      {.slots = 4, .areas = 1, .chunk = 8, .ends = 8, .block_rows = 3, .prompt_rows = 8},
      /*pages=*/0,
      /*max_positions=*/256,
      /*max_logprobs=*/4,
      /*max_biases=*/4,
      /*max_stop_ids=*/4};
  options.limits.pages = PagesNeeded(config, options.limits);
  auto backend = CpuBackend::Create(model, options);
  ASSERT_TRUE(backend.ok()) << backend.status();
  StepPlan plan;
  const std::array<uint32_t, kMaxGroups> entries = PageEntries(config);
  uint32_t page = 0;
  for (uint32_t slot = 0; slot < 4; ++slot) {
    Admission a = {};
    a.slot = slot;
    a.area = kNoArea;
    a.state.stage = Stage::kEntry;
    a.limits = {.prompt = 1, .end = 250, .room = 250, .chunk = 1};
    a.sampling.temperature = 1.0F;
    a.sampling.frequency_penalty = 0.5F;
    a.sampling.top_p = 0.9F;
    a.logprobs = 4;
    plan.admits.push_back(a);
    plan.tokens.push_back({slot, 0, slot});
    for (uint32_t group = 0; group < ShapeOf(config).groups(); ++group) {
      if (entries[group] == 0) continue;  // without layers
      for (uint32_t i = 0; i * entries[group] < 256; ++i)
        plan.pages.push_back({slot, group, i, page++});
    }
  }
  StepResult result;
  uint64_t before = 0;
  uint32_t tokens = 0;
  for (uint32_t step = 1; step <= 120; ++step) {
    if (step == 20) before = AllocationsOfAllThreads();
    plan.epoch = step;
    plan.ends = plan.prompt_rows = 8;
    plan.block_rows = 3;
    ASSERT_TRUE((*backend)->Submit(plan).ok());
    ASSERT_TRUE((*backend)->Collect(result).ok());
    for (const Outcome& outcome : result.outcomes) tokens += outcome.token != kNoToken ? 1 : 0;
    plan.Clear();
  }
  EXPECT_EQ(AllocationsOfAllThreads() - before, 0U);
  EXPECT_GT(tokens, 50U);
}

INSTANTIATE_TEST_SUITE_P(Models, CpuBackendAllocationTest,
                         testing::Combine(testing::ValuesIn(SmallModels()),
                                          testing::Values(Precision::kBf16, Precision::kInt8)),
                         [](const auto& param) {
                           return std::get<SmallModel>(param.param).name + "_" +
                                  PrecisionName(std::get<Precision>(param.param));
                         });

}  // namespace
}  // namespace recurve
