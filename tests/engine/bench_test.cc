// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <cmath>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "engine/base/status_macros.h"
#include "engine/bench/measurement.h"
#include "engine/bench/shapes.h"
#include "engine/bench/size.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/engine/backend/make_test_backend.h"
#include "tests/engine/backend/test_backends.h"
#include "tests/engine/small_models.h"

namespace recurve {
namespace {

using ::testing::HasSubstr;

// Breaks in the step with this number, counted from 0, at Submit or at Collect.
class BreakingBackend final : public Backend {
 public:
  BreakingBackend(std::unique_ptr<Backend> backend, uint32_t step, bool at_submit)
      : backend_(std::move(backend)), step_(step), at_submit_(at_submit) {}
  absl::Status Submit(const StepPlan& plan) override {
    if (at_submit_ && steps_ == step_) return absl::UnavailableError("broken at Submit");
    return backend_->Submit(plan);
  }
  absl::Status Collect(StepResult& result) override {
    if (steps_ == step_) return absl::UnavailableError("broken at Collect");
    ++steps_;
    return backend_->Collect(result);
  }
  uint32_t Outstanding() const override { return backend_->Outstanding(); }

 private:
  const std::unique_ptr<Backend> backend_;
  const uint32_t step_;
  const bool at_submit_;
  uint32_t steps_ = 0;
};

// What a load was run with.
struct Seen {
  uint32_t outstanding = 0;  // most
  uint32_t ends_min = 0;
};

class WatchedBackend final : public Backend {
 public:
  WatchedBackend(std::unique_ptr<Backend> backend, Seen& seen)
      : backend_(std::move(backend)), seen_(seen) {}
  absl::Status Submit(const StepPlan& plan) override {
    RETURN_IF_ERROR(backend_->Submit(plan));
    seen_.outstanding = std::max(seen_.outstanding, Outstanding());
    seen_.ends_min = plan.ends_min;
    return absl::OkStatus();
  }
  absl::Status Collect(StepResult& result) override { return backend_->Collect(result); }
  uint32_t Outstanding() const override { return backend_->Outstanding(); }

 private:
  const std::unique_ptr<Backend> backend_;
  Seen& seen_;
};

// Has one kernel for the block's rows, and one for all that a sampled row reads.
class CountedBackend final : public Backend {
 public:
  explicit CountedBackend(std::unique_ptr<Backend> backend) : backend_(std::move(backend)) {}
  absl::Status Submit(const StepPlan& plan) override { return backend_->Submit(plan); }
  absl::Status Collect(StepResult& result) override { return backend_->Collect(result); }
  uint32_t Outstanding() const override { return backend_->Outstanding(); }
  std::vector<KernelWork> CountedKernels() const override {
    return {{"product", 3, {.part = kPartBlock, .weight_bytes = 1000, .row_flops = 7}},
            {"attention", 2, {.part = kPartExit, .entry_bytes = 5}}};
  }

 private:
  const std::unique_ptr<Backend> backend_;
};

BenchOptions SmallLoad(uint32_t streams, uint32_t prompt_tokens, uint32_t new_tokens) {
  BenchOptions options;
  options.streams = streams;
  options.prompt_tokens = prompt_tokens;
  options.new_tokens = new_tokens;
  return options;
}

// What a maker of tests makes, described as the CPU backend.
class MakerBuilder final : public BackendBuilder {
 public:
  explicit MakerBuilder(const BackendMaker& make_backend) : make_backend_(make_backend) {
    options_.precision = Precision::kF32;
    options_.threads = 1;
  }
  BackendFacts Describe(const Model& model) const override {
    return (*OpenBackend(options_))->Describe(model);
  }
  absl::StatusOr<uint64_t> Prepare(std::shared_ptr<const Model> model,
                                   const BackendLimits& limits) override {
    model_ = std::move(model);
    limits_ = limits;
    return 0;
  }
  absl::StatusOr<std::unique_ptr<Backend>> Make(uint32_t pages) override {
    EXPECT_EQ(pages, limits_.pages);
    return make_backend_(model_, options_, limits_);
  }

 private:
  const BackendMaker make_backend_;
  BackendOptions options_;
  std::shared_ptr<const Model> model_;
  BackendLimits limits_;
};

absl::StatusOr<std::unique_ptr<Bench>> MakeBench(std::shared_ptr<const Model> model,
                                                 const BenchOptions& options,
                                                 const BackendMaker& make_backend = &MakeBackend) {
  MakerBuilder builder(make_backend);
  return Bench::Create(std::move(model), options, builder);
}

TEST(BenchTest, CountsWhatKernelsMoveAtTheRunsRows) {
  const auto make = [](std::shared_ptr<const Model> model, const BackendOptions& options,
                       const BackendLimits& limits) -> absl::StatusOr<std::unique_ptr<Backend>> {
    ASSIGN_OR_RETURN(auto backend, MakeBackend(std::move(model), options, limits));
    return std::make_unique<CountedBackend>(std::move(backend));
  };
  const auto bench = MakeBench(SmallModels()[3].model, SmallLoad(2, 6, 8), make);
  ASSERT_TRUE(bench.ok()) << bench.status();
  const auto m = (*bench)->Run();
  ASSERT_TRUE(m.ok()) << m.status();
  EXPECT_EQ(m->part_rows[kPartBlock], m->rows_per_step);
  const std::vector<KernelFigures> kernels = (*bench)->CountKernels(*m);
  ASSERT_EQ(kernels.size(), 2U);
  EXPECT_EQ(kernels[0].name, "product");
  EXPECT_EQ(kernels[0].launches, 3);
  EXPECT_EQ(kernels[0].bytes, 1000);
  EXPECT_DOUBLE_EQ(kernels[0].flops, 7 * m->rows_per_step);
  // In the middle of generating a row sees the prompt and half of the new tokens.
  EXPECT_DOUBLE_EQ(kernels[1].bytes, 5 * (6 + 8 / 2.0) * m->part_rows[kPartExit]);
}

class BenchOverBackendsTest : public testing::TestWithParam<TestBackend> {
 protected:
  void SetUp() override {
    const std::string why = WhySkipped(GetParam());
    if (!why.empty()) GTEST_SKIP() << why;
  }
};

INSTANTIATE_TEST_SUITE_P(Backends, BenchOverBackendsTest, testing::ValuesIn(TestTwins()),
                         NameOfParam);

TEST_P(BenchOverBackendsTest, DepthsAreThoseAskedFor) {
  BenchOptions options = SmallLoad(6, 20, 150);
  options.shares = {1.0, 0.5, 0.25};
  const std::shared_ptr<const Model> model = SmallModels()[3].model;
  const auto bench = MakeBench(model, options, TestBackendMaker(GetParam()));
  ASSERT_TRUE(bench.ok()) << bench.status();
  const auto first = (*bench)->Run();
  ASSERT_TRUE(first.ok()) << first.status();
  EXPECT_NEAR(first->mean_depth, 1.75, 0.15);
  const auto second = (*bench)->Run();  // the same work again
  ASSERT_TRUE(second.ok()) << second.status();
  EXPECT_EQ(second->mean_depth, first->mean_depth);
  EXPECT_EQ(second->kv_bytes_peak, first->kv_bytes_peak);
  ASSERT_EQ(first->kv_bytes_peak_by_group.size(), 5U);
  EXPECT_GT(first->kv_bytes_peak_by_group[1].second, first->kv_bytes_peak_by_group[3].second);
  EXPECT_GE(first->kv_bytes_reserved_peak, first->kv_bytes_peak);
  EXPECT_GT(first->flop_ratio, 1.0);
}

TEST_P(BenchOverBackendsTest, WhatPromptsShareIsComputedOnce) {
  BenchOptions options = SmallLoad(4, 150, 4);
  options.shared_prompt_tokens = 140;
  const std::shared_ptr<const Model> model = SmallModels()[3].model;
  for (const bool cache : {true, false}) {
    options.prefix_cache = cache;
    const auto bench = MakeBench(model, options, TestBackendMaker(GetParam()));
    ASSERT_TRUE(bench.ok()) << bench.status();
    const auto run = (*bench)->Run();
    ASSERT_TRUE(run.ok()) << run.status();
    EXPECT_EQ(run->cached_prompt_share, cache ? 3 * 128 / (4 * 150.0) : 0.0);
    EXPECT_GT(run->first_token_seconds, 0.0);
  }
}

// Just before the first stream ends, all hold what one alone holds in the end.
TEST_P(BenchOverBackendsTest, AllStreamsAreInFlightTogether) {
  BenchOptions options = SmallLoad(1, 160, 16);
  options.shares = {1.0, 1.0, 1.0};
  const std::shared_ptr<const Model> model = SmallModels()[3].model;
  uint64_t alone = 0;
  for (const uint32_t streams : {1U, 8U}) {
    options.streams = streams;
    const auto bench = MakeBench(model, options, TestBackendMaker(GetParam()));
    ASSERT_TRUE(bench.ok()) << bench.status();
    const auto run = (*bench)->Run();
    ASSERT_TRUE(run.ok()) << run.status();
    if (streams == 1) alone = run->kv_bytes_peak;
    EXPECT_EQ(run->kv_bytes_peak, streams * alone);
    EXPECT_EQ(run->ended_early, 0U);
  }
}

TEST(BenchTest, CountsStreamsThatEndBeforeAllHaveStarted) {
  const BenchOptions options = SmallLoad(8, 200, 1);  // a prompt takes a step of its own
  const auto bench = MakeBench(SmallModels()[3].model, options);
  ASSERT_TRUE(bench.ok()) << bench.status();
  const auto run = (*bench)->Run();
  ASSERT_TRUE(run.ok()) << run.status();
  EXPECT_GE(run->ended_early, 6U);
  EXPECT_LT(run->ended_early, 8U);
}

TEST_P(BenchOverBackendsTest, QueuesStepsAndLetsEndsWait) {
  BenchOptions options = SmallLoad(6, 20, 30);
  Seen seen;
  const BackendMaker make_watched =
      [&seen, make_backend = TestBackendMaker(GetParam())](
          std::shared_ptr<const Model> model, const BackendOptions& backend_options,
          const BackendLimits& limits) -> absl::StatusOr<std::unique_ptr<Backend>> {
    ASSIGN_OR_RETURN(auto backend, make_backend(std::move(model), backend_options, limits));
    return std::make_unique<WatchedBackend>(std::move(backend), seen);
  };
  const auto run = [&] {
    seen = {};
    const auto bench = MakeBench(SmallModels()[3].model, options, make_watched);
    EXPECT_TRUE(bench.ok()) << bench.status();
    return *(*bench)->Run();
  };
  const Measurement plain = run();
  EXPECT_EQ(seen.outstanding, 1U);  // as the CPU backend likes it
  EXPECT_EQ(seen.ends_min, 1U);
  options.queue_depth = 1;
  const Measurement queued = run();
  EXPECT_EQ(seen.outstanding, 2U);
  EXPECT_EQ(queued.mean_depth, plain.mean_depth);
  options.policy = Policy::WithEndsMin(5);
  const Measurement waiting = run();
  EXPECT_EQ(seen.ends_min, 5U);
  EXPECT_EQ(waiting.mean_depth, plain.mean_depth);
}

TEST(BenchTest, TellsWhyTheBackendBroke) {
  const BenchOptions options = SmallLoad(4, 20, 20);
  for (const uint32_t step : {0U, 10U}) {
    for (const bool at_submit : {true, false}) {
      const auto make_backend =
          [&](std::shared_ptr<const Model> model, const BackendOptions& backend_options,
              const BackendLimits& limits) -> absl::StatusOr<std::unique_ptr<Backend>> {
        ASSIGN_OR_RETURN(auto backend, MakeBackend(std::move(model), backend_options, limits));
        return std::make_unique<BreakingBackend>(std::move(backend), step, at_submit);
      };
      const auto bench = MakeBench(SmallModels()[3].model, options, make_backend);
      ASSERT_TRUE(bench.ok()) << bench.status();
      EXPECT_EQ((*bench)->Run().status(),
                absl::UnavailableError(at_submit ? "broken at Submit" : "broken at Collect"));
    }
  }
}

TEST(BenchTest, RefusesSharesThatAreNotNested) {
  const ModelConfig config = SmallModels()[3].model->config;
  const auto refusal = [&config](std::vector<double> shares) {
    BenchOptions options;
    options.shares = std::move(shares);
    return std::string(CheckBench(config, options).message());
  };
  EXPECT_EQ(refusal({1.0, 0.5, 0.5}), "");
  EXPECT_EQ(refusal({1.0, 0.5}), "--depths has 2 shares; the model has 3 recursions");
  EXPECT_EQ(refusal({1.0, 0.5, 0.6}),
            "--depths: share 3 is 0.6; shares begin with 1 and never rise or fall below 0");
  EXPECT_THAT(refusal({0.9, 0.5, 0.4}), HasSubstr("share 1 is 0.9"));
  EXPECT_THAT(refusal({1.0, 0.5, -0.1}), HasSubstr("share 3 is -0.1"));
  EXPECT_THAT(refusal({1.0, std::nan(""), 0.0}), HasSubstr("share 2 is nan"));
}

TEST(BenchTest, RefusesSharesWhereTheRouterChoosesADepth) {
  for (const SmallModel& small : SmallModels()) {
    if (small.model->config.router.type != RouterType::kTokenChoice) continue;
    BenchOptions options;
    EXPECT_TRUE(CheckBench(small.model->config, options).ok());
    options.shares = {1.0, 1.0, 1.0};
    EXPECT_EQ(CheckBench(small.model->config, options).message(),
              "--depths gives shares; the model's router is token-choice and allows 'router' alone")
        << small.name;
    EXPECT_FALSE(MakeBench(small.model, options).ok());
  }
}

TEST(BenchTest, RefusesTokensThatDoNotFit) {
  ModelConfig config = SmallModels()[3].model->config;
  BenchOptions options;
  options.new_tokens = 10000;
  EXPECT_EQ(CheckBench(config, options).message(),
            "--prompt_tokens + --new_tokens is 10128; the model's context is 256");
  options = BenchOptions();
  options.shared_prompt_tokens = 129;
  EXPECT_EQ(CheckBench(config, options).message(),
            "--shared_prompt_tokens is 129; --prompt_tokens is 128");
  config.max_positions = 1 << 24;
  options = BenchOptions();
  options.streams = 65536;
  options.prompt_tokens = (1 << 24) - 128;
  EXPECT_EQ(
      CheckBench(config, options).message(),
      "--streams is 65536; its tokens take 343597383680 pages, at most 4294967295 are counted");
}

}  // namespace
}  // namespace recurve
