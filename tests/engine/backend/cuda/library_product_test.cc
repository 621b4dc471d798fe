// SPDX-License-Identifier: Apache-2.0
// Products by the device's library, in whose place the emulated device has a plain one.
#include <algorithm>
#include <cmath>
#include <memory>
#include <utility>
#include <vector>

#include "engine/backend/cuda/cuda_backend.h"
#include "engine/backend/limits.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/engine/backend/cuda/model_load.h"
#include "tests/engine/backend/step_driver.h"
#include "tests/engine/backend/test_backends.h"
#include "tests/simt/runtime_emulated.h"

namespace recurve::cuda {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;

// Sizes that fill neither tiles nor steps.
ModelConfig OddConfig(RouterType router) {
  ModelConfig config = TestConfig(router);
  config.hidden_size = 40;
  config.intermediate_size = 72;
  config.num_heads = 6;
  config.num_kv_heads = 2;
  config.head_dim = 12;
  return config;
}

constexpr uint32_t kMaxPositions = 64;

uint32_t PromptOf(size_t request) { return static_cast<uint32_t>(5 + 7 * request); }

struct Ran {
  std::vector<DriverOutput> outputs;
  uint64_t products = 0;  // of the library
  std::vector<std::string> warnings;
};

Ran RunRequestsOf(const ModelConfig& config, uint32_t library_rows, bool has_library = true) {
  CudaBackendOptions options;
  options.limits = SmallLimits(config, kMaxPositions);
  options.library_rows = library_rows;
  options.least_rows = 1000;  // each step has all rows that there can be
  auto runtime = std::make_unique<EmulatedRuntime>(EmulatedOptions{.has_products = has_library});
  EmulatedRuntime* const device = runtime.get();
  auto backend =
      CudaBackend::Create(std::make_shared<const Model>(RandomModel(config, DataType::kF32, 3)),
                          options, std::move(runtime));
  EXPECT_TRUE(backend.ok()) << backend.status();
  std::vector<DriverRequest> requests(3);
  for (uint32_t i = 0; i < requests.size(); ++i) {
    for (uint32_t t = 0; t < PromptOf(i); ++t) requests[i].prompt.push_back((7 * t + i) % 150);
    requests[i].new_tokens = 4;
    requests[i].wants = kWantsRawLogits;
  }
  auto outputs = RunRequests(**backend, config, options.limits, requests, {.depth = 1});
  EXPECT_TRUE(outputs.ok()) << outputs.status();
  EXPECT_THAT(device->reports(), IsEmpty());
  return {outputs.ok() ? std::move(*outputs) : std::vector<DriverOutput>(),
          device->Calls(EmulatedRuntime::Call::kMultiply), (*backend)->Warnings()};
}

// The largest difference of logits at a prompt's positions over their root mean square.
double LargestError(const Ran& a, const Ran& b) {
  double largest = 0;
  double squares = 0;
  uint64_t count = 0;
  for (size_t i = 0; i < a.outputs.size(); ++i) {
    for (size_t position = 0; position < PromptOf(i); ++position) {
      const std::vector<float>& logits = a.outputs[i].logits[position];
      const std::vector<float>& others = b.outputs[i].logits[position];
      EXPECT_EQ(logits.size(), others.size());
      for (size_t token = 0; token < logits.size(); ++token, ++count) {
        largest = std::max<double>(largest, std::abs(logits[token] - others[token]));
        squares += double{logits[token]} * logits[token];
      }
    }
  }
  EXPECT_GT(count, 0U);
  return largest / std::sqrt(squares / static_cast<double>(count));
}

// Both round operands to bf16 at the same places and differ in the order of sums alone: some 2^-8
// where a rounding falls the other way.
TEST(LibraryProductTest, LogitsAreNearOurs) {
  for (const RouterType router : {RouterType::kNone, RouterType::kTokenChoice}) {
    const ModelConfig config = OddConfig(router);
    const Ran ours = RunRequestsOf(config, 0);
    const Ran librarys = RunRequestsOf(config, 1);
    EXPECT_EQ(ours.products, 0U);
    EXPECT_GT(librarys.products, 0U);
    ASSERT_EQ(ours.outputs.size(), librarys.outputs.size());
    const double error = LargestError(ours, librarys);
    EXPECT_GT(error, 0) << "another order of sums has other bits somewhere";
    EXPECT_LT(error, 0.02);
    EXPECT_THAT(librarys.warnings, IsEmpty());
  }
}

// Everything that a request can ask for, with evictions, copies of pages and NaN: nothing is read
// that has no value, and all requests end.
TEST(LibraryProductTest, RandomLoadsRun) {
  uint64_t products = 0;
  for (uint64_t seed = 1; seed <= 12; ++seed) {
    const LoadBackend make =
        [&products](std::shared_ptr<const Model> model, const BackendLimits& limits,
                    const LoadDevice& drawn) -> absl::StatusOr<std::unique_ptr<Backend>> {
      CudaBackendOptions options;
      options.limits = limits;
      options.eager = drawn.eager;
      options.library_rows = 1;
      options.least_rows = 1000;
      EmulatedOptions emulated;
      emulated.seed = drawn.seed;
      emulated.facts.multiprocessors = drawn.multiprocessors;
      auto runtime = std::make_unique<EmulatedRuntime>(emulated);
      const EmulatedRuntime* const device = runtime.get();
      auto backend = CudaBackend::Create(std::move(model), options, std::move(runtime));
      if (backend.ok()) products += device->Calls(EmulatedRuntime::Call::kMultiply);
      return backend;
    };
    ModelFigures figures;
    EXPECT_EQ(RunModelLoad(seed, make, figures), "") << "seed " << seed;
  }
  EXPECT_GT(products, 0U);
}

TEST(LibraryProductTest, StepsWithFewerRowsAreOurs) {
  const ModelConfig config = OddConfig(RouterType::kNone);
  const Ran ours = RunRequestsOf(config, 0);
  const Ran few = RunRequestsOf(config, MaxRows(SmallLimits(config, kMaxPositions)) + 1);
  EXPECT_EQ(few.products, 0U);
  EXPECT_EQ(LargestError(ours, few), 0);
}

TEST(LibraryProductTest, WithoutALibraryOursMakeThem) {
  const ModelConfig config = OddConfig(RouterType::kNone);
  const Ran ours = RunRequestsOf(config, 0);
  const Ran without = RunRequestsOf(config, 1, /*has_library=*/false);
  EXPECT_EQ(without.products, 0U);
  EXPECT_EQ(LargestError(ours, without), 0);
  EXPECT_THAT(without.warnings,
              ElementsAre("--deterministic=false has no effect: the emulated device has no library "
                          "of products"));
}

}  // namespace
}  // namespace recurve::cuda
