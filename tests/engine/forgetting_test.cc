// SPDX-License-Identifier: Apache-2.0
// Caches that forget, against what an independent implementation expects (tools/reference writes
// it; RECURVE_GOLDEN_DIR names the folder): logits and depths under budgets on every cache group.
#include <cstdlib>
#include <filesystem>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "engine/backend/factory/make_backend.h"
#include "engine/backend/model_shape.h"
#include "engine/model/weights.h"
#include "engine/schedule/schedule.h"
#include "gtest/gtest.h"
#include "nlohmann/json.hpp"
#include "tests/engine/backend/make_test_backend.h"
#include "tests/engine/backend/test_backends.h"
#include "tests/engine/golden.h"

namespace recurve {
namespace {

constexpr double kTolerance = 1e-4;

// Logits of every row, and depths of the prompt.
struct Recorded final : public SampleObserver {
  void OnPrompt(const PromptOutput& prompt) override {
    depths.insert(depths.end(), prompt.depths.begin(), prompt.depths.end());
  }
  bool OnToken(const TokenOutput& /*token*/) override { return false; }
  void OnLogits(uint32_t position, std::span<const float> row) override {
    logits[position].assign(row.begin(), row.end());
  }
  void OnEnded(Ending ending) override { reason = ending.reason; }

  std::vector<uint32_t> depths;
  std::map<uint32_t, std::vector<float>> logits;
  EndReason reason = EndReason::kFailed;
};

ScheduledSample SampleOf(const nlohmann::json& entry, const ModelConfig& config) {
  ScheduledSample sample;
  sample.id = 1;
  sample.prompt = entry["ids"].get<std::vector<uint32_t>>();
  sample.max_tokens = 1;
  sample.ignore_eos = true;
  sample.logprobs = 0;
  sample.prompt_logprobs = true;  // so that every row has logits
  sample.raw_logits = true;
  sample.threshold_logit = ThresholdLogit(config.router.threshold);
  KvBudget& budget = sample.budget;
  budget.policy = *ParseEvictionPolicy(entry["policy"].get<std::string>());
  budget.every = entry["every"];
  budget.sinks = entry["sinks"];
  budget.recent = entry["recent"];
  uint32_t group = 0;
  for (const auto& entries : entry["entries"]) budget.groups[group++].entries = entries;
  return sample;
}

void RunAlone(const TestBackend& test, std::shared_ptr<const Model> model, ScheduledSample sample,
              uint32_t chunk) {
  ScheduleOptions options;
  BackendLimits& limits = options.limits;
  limits.slots = limits.areas = 1;
  limits.chunk = limits.ends = limits.prompt_rows = chunk;
  limits.block_rows = 1;
  limits.max_positions = 80;
  limits.pages = 200;
  options.entries_per_page = PageEntries(model->config);
  options.vocab_size = model->config.vocab_size;
  options.policy = *Policy::FromName("depthwise");
  options.default_max_tokens = 1;
  options.max_queued_tokens = 80;
  const BackendOptions backend_options = OptionsOf(test, Precision::kF32);
  const StepShape shape = ShapeOf(model->config);
  const auto schedule = Schedule::Create(options, shape, Clock::Steady());
  ASSERT_TRUE(schedule.ok()) << schedule.status();
  const auto backend = MakeTestBackend(test, std::move(model), backend_options, limits);
  ASSERT_TRUE(backend.ok()) << backend.status();
  const absl::Status added = (*schedule)->Add(std::move(sample));
  ASSERT_TRUE(added.ok()) << added;
  StepResult result;
  while ((*schedule)->HasWork()) {
    const absl::Status status = (*backend)->Submit((*schedule)->Plan());
    ASSERT_TRUE(status.ok()) << status;
    const absl::Status collected = (*backend)->Collect(result);
    ASSERT_TRUE(collected.ok()) << collected;
    (*schedule)->Commit(result);
  }
}

void ExpectAgrees(const Recorded& found, const nlohmann::json& entry,
                  const std::vector<float>& expected) {
  EXPECT_EQ(found.reason, EndReason::kLength);
  EXPECT_EQ(found.depths, entry["depths"].get<std::vector<uint32_t>>());
  ASSERT_EQ(found.logits.size(), entry["ids"].size());
  const size_t vocab = expected.size() / found.logits.size();
  for (const auto& [position, row] : found.logits) {
    ASSERT_EQ(row.size(), vocab);
    EXPECT_LE(RelativeError(row, &expected[position * vocab]), kTolerance) << "at " << position;
  }
}

class ForgettingTest : public testing::TestWithParam<TestBackend> {};

TEST_P(ForgettingTest, AgreesWithTheReference) {
  const char* const golden = std::getenv("RECURVE_GOLDEN_DIR");
  if (golden == nullptr) GTEST_SKIP() << "RECURVE_GOLDEN_DIR is not set";
  const std::string why = WhySkipped(GetParam());
  if (!why.empty()) GTEST_SKIP() << why;
  int cases = 0;
  for (const auto& directory : std::filesystem::directory_iterator(golden)) {
    const std::filesystem::path file = directory.path() / "forgetting.json";
    if (!std::filesystem::exists(file)) continue;
    auto model = LoadModel(directory.path().string());
    ASSERT_TRUE(model.ok()) << model.status();
    const auto shared = std::make_shared<const Model>(*std::move(model));
    for (const auto& entry : nlohmann::json::parse(ReadFile(file))) {
      const std::vector<float> logits = ReadLogits(directory.path() / entry["logits_file"]);
      for (const uint32_t chunk : {1U, 5U, 64U}) {
        SCOPED_TRACE(directory.path().filename().string() + ", " +
                     entry["policy"].get<std::string>() + ", chunks of " + std::to_string(chunk));
        Recorded recorded;
        ScheduledSample sample = SampleOf(entry, shared->config);
        sample.observer = &recorded;
        RunAlone(GetParam(), shared, std::move(sample), chunk);
        ExpectAgrees(recorded, entry, logits);
        ++cases;
      }
    }
  }
  EXPECT_GE(cases, 3 * 16);
}

INSTANTIATE_TEST_SUITE_P(Backends, ForgettingTest, testing::ValuesIn(TestTwins()), NameOfParam);

}  // namespace
}  // namespace recurve
