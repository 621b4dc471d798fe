// SPDX-License-Identifier: Apache-2.0
// What every backend does, as far as it makes sense for one that computes nothing.
#include "engine/backend/null/null_backend.h"

#include <cmath>
#include <limits>
#include <memory>
#include <vector>

#include "engine/backend/factory/make_backend.h"
#include "engine/backend/model_shape.h"
#include "engine/schedule/schedule.h"
#include "engine/schedule/step_loop.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/engine/backend/step_driver.h"
#include "tests/engine/small_models.h"

namespace recurve {
namespace {

using ::testing::Each;
using ::testing::Ge;
using ::testing::HasSubstr;
using ::testing::Le;

BackendLimits Limits(const ModelConfig& config) {
  BackendLimits limits = {
      {.slots = 5, .areas = 2, .chunk = 8, .ends = 8, .block_rows = 3, .prompt_rows = 9},
      /*pages=*/0,
      /*max_positions=*/64,
      /*max_logprobs=*/5,
      /*max_biases=*/4,
      /*max_stop_ids=*/4};
  limits.pages = PagesNeeded(config, limits);
  return limits;
}

std::unique_ptr<Backend> Make(const std::shared_ptr<const Model>& model,
                              const BackendLimits& limits) {
  auto backend = MakeBackend(model, {.name = "null"}, limits);
  EXPECT_TRUE(backend.ok()) << backend.status();
  return std::move(backend).value();
}

std::vector<DriverRequest> MixedRequests() {
  std::vector<DriverRequest> requests;
  for (uint32_t i = 0; i < 9; ++i) {
    DriverRequest request;
    for (uint32_t token = 0; token < 1 + (i * 7) % 23; ++token) request.prompt.push_back(token);
    request.new_tokens = 3 + i * 2;
    request.sampling.set_seed(i);
    if (i % 3 == 1) request.logprobs = 2;
    if (i % 4 == 2) request.cap = 2;
    requests.push_back(request);
  }
  return requests;
}

class NullBackendTest : public testing::TestWithParam<SmallModel> {
 protected:
  std::vector<DriverOutput> Run(const std::vector<DriverRequest>& requests,
                                const DriverOptions& options = {}) const {
    const BackendLimits limits = Limits(model_->config);
    const auto backend = Make(model_, limits);
    auto outputs = RunRequests(*backend, model_->config, limits, requests, options);
    EXPECT_TRUE(outputs.ok()) << outputs.status();
    return *std::move(outputs);
  }

  const std::shared_ptr<const Model> model_ = GetParam().model;
};

TEST_P(NullBackendTest, ASequenceDependsOnItselfAlone) {
  std::vector<DriverRequest> requests = MixedRequests();
  std::vector<DriverOutput> alone;
  for (const DriverRequest& request : requests) alone.push_back(Run({request}).front());
  for (DriverRequest& request : requests) request.chunk = 3;
  for (const uint32_t depth : {0U, 1U}) {
    for (const uint32_t ends_min : {1U, kEndsWhenBlockEmpty}) {
      const auto together = Run(requests, {.ends_min = ends_min, .depth = depth, .room_step = 4});
      for (size_t i = 0; i < requests.size(); ++i) {
        EXPECT_EQ(together[i].tokens, alone[i].tokens);
        EXPECT_EQ(together[i].depths, alone[i].depths);
        EXPECT_EQ(together[i].logprobs.size(), alone[i].logprobs.size());
        EXPECT_EQ(together[i].tokens.size(), requests[i].new_tokens);
      }
    }
  }
}

TEST_P(NullBackendTest, AResumedSequenceGoesOnAsBefore) {
  DriverRequest request = MixedRequests()[3];
  const DriverOutput whole = Run({request}).front();
  const uint32_t given = 4;
  request.prompt.insert(request.prompt.end(), whole.tokens.begin(), whole.tokens.begin() + given);
  request.new_tokens -= given;
  const std::vector<uint32_t> rest(whole.tokens.begin() + given, whole.tokens.end());
  EXPECT_EQ(Run({request}).front().tokens, rest);
}

TEST_P(NullBackendTest, ThresholdsAndCapsHaveTheirMeaning) {
  const uint32_t recursions = ShapeOf(model_->config).recursions;
  DriverRequest request = MixedRequests()[8];
  request.threshold_logit = -std::numeric_limits<float>::infinity();
  EXPECT_THAT(Run({request}).front().depths, Each(recursions));
  request.cap = 1;
  EXPECT_THAT(Run({request}).front().depths, Each(1U));
  request.cap = recursions;
  request.threshold_logit = std::numeric_limits<float>::infinity();
  EXPECT_THAT(Run({request}).front().depths, Each(1U));
}

TEST_P(NullBackendTest, AStopIdEndsTheSequenceFromMinEndOn) {
  DriverRequest request = MixedRequests()[8];
  const std::vector<uint32_t> tokens = Run({request}).front().tokens;
  request.stop_ids = {tokens[5]};
  const DriverOutput stopped = Run({request}).front();
  EXPECT_EQ(stopped.flags, kStopId);
  EXPECT_EQ(stopped.tokens.back(), tokens[5]);
  EXPECT_THAT(stopped.tokens.size(), Le(6U));
  request.sampling.min_end = static_cast<uint32_t>(request.prompt.size()) + 6;
  EXPECT_THAT(Run({request}).front().tokens.size(), Ge(6U));
}

TEST_P(NullBackendTest, LogprobsAreThoseOfEqualLogits) {
  DriverRequest request = MixedRequests()[8];
  request.logprobs = 2;
  request.wants = kWantsPromptLogprobs | kWantsRawLogits;
  const DriverOutput output = Run({request}).front();
  const auto positions = static_cast<uint32_t>(request.prompt.size()) - 1 + request.new_tokens;
  ASSERT_EQ(output.logprobs.size(), positions * 3);
  for (uint32_t i = 0; i < positions; ++i) {
    const TokenLogprob& own = output.logprobs[i * size_t{3}];
    EXPECT_EQ(own.position, i + 1);
    EXPECT_NEAR(own.value, -std::log(97.0F), 1e-5F);
    if (own.position < request.prompt.size()) {
      EXPECT_EQ(own.id, request.prompt[own.position]);
    }
  }
  EXPECT_THAT(output.logits.front(), Each(0.0F));
}

TEST_P(NullBackendTest, BadPlansAreFinalErrorsThatSayWhatIsWrong) {
  const auto backend = Make(model_, Limits(model_->config));
  StepPlan plan;
  plan.epoch = 1;
  plan.ends = plan.prompt_rows = 8;
  plan.block_rows = 3;
  Admission a = {};
  a.slot = 1;
  a.area = kNoArea;
  a.state.stage = Stage::kEntry;
  a.limits = {.prompt = 1, .end = 5, .room = 5, .chunk = 1};
  plan.admits = {a};
  const absl::Status status = backend->Submit(plan);  // without pages and tokens
  EXPECT_EQ(status.code(), absl::StatusCode::kInternal);
  EXPECT_THAT(std::string(status.message()), HasSubstr("slot 1 has no"));
  EXPECT_EQ(backend->Submit(StepPlan()), status);
}

// Tokens of a sample, by the schedule.
class Heard final : public SampleObserver {
 public:
  bool OnToken(const TokenOutput& token) override {
    tokens.push_back(token.token);
    return false;
  }
  void OnEnded(Ending ending) override { end = std::move(ending); }
  std::vector<TokenId> tokens;
  Ending end;
};

// More sequences than pages, so that some are preempted; and what each generates by itself.
TEST_P(NullBackendTest, TheScheduleRunsOnIt) {
  ScheduleOptions options;
  options.limits = Limits(model_->config);
  options.limits.pages = options.limits.pages * 3 / 10;
  options.entries_per_page = PageEntries(model_->config);
  options.vocab_size = model_->config.vocab_size;
  options.default_max_tokens = 40;
  options.headroom = 0;
  const auto run = [&](uint32_t first, uint32_t last, std::vector<Heard>& heard) {
    const auto backend = Make(model_, options.limits);
    const auto schedule = *Schedule::Create(options, ShapeOf(model_->config), Clock::Steady());
    for (uint32_t i = first; i < last; ++i) {
      ScheduledSample sample;
      sample.id = i + 1;
      for (uint32_t token = 0; token < 3 + i; ++token) sample.prompt.push_back((token * i) % 97);
      sample.max_tokens = 40;
      sample.ignore_eos = true;
      sample.sampling.set_seed(i);
      sample.observer = &heard[i];
      ASSERT_TRUE(schedule->Add(std::move(sample)).ok());
    }
    const absl::Status status = RunSteps(
        *backend, 0, [&] { return schedule->HasWork() ? &schedule->Plan() : nullptr; },
        [&](const StepResult& result) { schedule->Commit(result); });
    ASSERT_TRUE(status.ok()) << status;
  };
  std::vector<Heard> together(12), alone(12);
  run(0, 12, together);
  uint32_t preemptions = 0;
  for (uint32_t i = 0; i < 12; ++i) {
    run(i, i + 1, alone);
    EXPECT_EQ(together[i].end.reason, EndReason::kLength);
    EXPECT_EQ(together[i].tokens.size(), 40U);
    EXPECT_EQ(together[i].tokens, alone[i].tokens);
    EXPECT_EQ(together[i].end.generated_depth.rows_by_depth,
              alone[i].end.generated_depth.rows_by_depth);
    preemptions += together[i].end.preemptions;
  }
  EXPECT_GT(preemptions, 0U);
}

INSTANTIATE_TEST_SUITE_P(Models, NullBackendTest, testing::ValuesIn(SmallModels()),
                         [](const auto& model) { return model.param.name; });

}  // namespace
}  // namespace recurve
