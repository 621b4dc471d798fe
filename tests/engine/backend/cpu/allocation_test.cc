// SPDX-License-Identifier: Apache-2.0
// A steady step allocates nothing: every operator new of this binary is counted.
#include <atomic>
#include <cstdint>
#include <cstdlib>
#include <memory>
#include <new>

#include <gtest/gtest.h>

#include "engine/backend/cpu/cpu_backend.h"
#include "engine/backend/model_shape.h"
#include "engine/model/weights.h"
#include "tests/engine/backend/step_driver.h"

namespace {

std::atomic<uint64_t> allocations{0};

void* Allocate(std::size_t size) {
  allocations.fetch_add(1, std::memory_order_relaxed);
  void* memory = std::malloc(size > 0 ? size : 1);
  if (memory == nullptr) std::abort();
  return memory;
}

}  // namespace

void* operator new(std::size_t size) { return Allocate(size); }
void* operator new[](std::size_t size) { return Allocate(size); }
void* operator new(std::size_t size, const std::nothrow_t&) noexcept { return Allocate(size); }
void* operator new[](std::size_t size, const std::nothrow_t&) noexcept { return Allocate(size); }
void operator delete(void* memory) noexcept { std::free(memory); }
void operator delete[](void* memory) noexcept { std::free(memory); }
void operator delete(void* memory, std::size_t) noexcept { std::free(memory); }
void operator delete[](void* memory, std::size_t) noexcept { std::free(memory); }

namespace recurve {
namespace {

TEST(CpuBackendAllocation, SteadyStepsAllocateNothing) {
  ModelConfig config;
  config.vocab_size = 100;
  config.hidden_size = 32;
  config.intermediate_size = 64;
  config.num_layers = 5;
  config.num_heads = 2;
  config.num_kv_heads = 1;
  config.head_dim = 16;
  config.max_positions = 256;
  config.sharing = Sharing::kMiddleCycle;
  config.num_recursions = 3;
  config.router.type = RouterType::kExpertChoice;
  CpuBackendOptions options;
  options.threads = 2;
  options.limits = {
      {.slots = 4, .areas = 1, .chunk = 8, .ends = 8, .block_rows = 3, .prompt_rows = 8},
      /*pages=*/0,
      /*max_positions=*/256,
      /*max_logprobs=*/4,
      /*max_biases=*/4,
      /*max_stop_ids=*/4};
  options.limits.pages = PagesNeeded(config, options.limits);
  auto backend =
      CpuBackend::Create(std::make_shared<Model>(RandomModel(config, DataType::kF32, 1)), options);
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
      for (uint32_t i = 0; i * entries[group] < 256; ++i)
        plan.pages.push_back({slot, group, i, page++});
    }
  }
  StepResult result;
  uint64_t before = 0;
  uint32_t tokens = 0;
  for (uint32_t step = 1; step <= 120; ++step) {
    if (step == 20) before = allocations.load();
    plan.epoch = step;
    plan.ends = plan.prompt_rows = 8;
    plan.block_rows = 3;
    ASSERT_TRUE((*backend)->Submit(plan).ok());
    ASSERT_TRUE((*backend)->Collect(result).ok());
    for (const Outcome& outcome : result.outcomes) tokens += outcome.token != kNoToken ? 1 : 0;
    plan.Clear();
  }
  EXPECT_EQ(allocations.load() - before, 0U);
  EXPECT_GT(tokens, 50U);
}

}  // namespace
}  // namespace recurve
