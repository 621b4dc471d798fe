// SPDX-License-Identifier: Apache-2.0
// What every backend does, whatever it computes with.
#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <memory>
#include <random>
#include <set>
#include <string>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "engine/backend/backend.h"
#include "engine/backend/model_shape.h"
#include "engine/model/weights.h"
#include "tests/engine/backend/make_test_backend.h"
#include "tests/engine/backend/step_driver.h"
#include "tests/engine/backend/test_backends.h"

namespace recurve {
namespace {

using ::testing::HasSubstr;
using ::testing::IsEmpty;

std::shared_ptr<const Model> MakeModel(const ModelConfig& config) {
  return std::make_shared<Model>(RandomModel(config, DataType::kF32, 5));
}

// Few slots, areas and rows, so that rows have to wait at every stage.
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

class BackendTest : public testing::TestWithParam<TestBackend> {
 protected:
  void SetUp() override {
    const std::string why = WhySkipped(GetParam());
    if (!why.empty()) GTEST_SKIP() << why;
  }

  static std::unique_ptr<Backend> Make(std::shared_ptr<const Model> model,
                                       Precision precision = Precision::kBf16,
                                       uint32_t threads = 1) {
    BackendOptions options = OptionsOf(GetParam(), precision);
    options.threads = threads;
    const BackendLimits limits = Limits(model->config);
    auto backend = MakeTestBackend(GetParam(), std::move(model), options, limits);
    EXPECT_TRUE(backend.ok()) << backend.status();
    return backend.ok() ? std::move(backend).value() : nullptr;
  }

  void ExpectAloneEqualsTogether(const ModelConfig& config);
};

std::vector<uint32_t> Prompt(uint32_t seed, uint32_t length) {
  std::mt19937 random(seed);
  std::vector<uint32_t> prompt(length);
  for (uint32_t& token : prompt) token = static_cast<uint32_t>(random() % 150);
  return prompt;
}

// Requests that differ in everything that a request can say.
std::vector<DriverRequest> MixedRequests() {
  std::vector<DriverRequest> requests;
  for (uint32_t i = 0; i < 9; ++i) {
    DriverRequest request;
    request.prompt = Prompt(i, 1 + (i * 7) % 23);
    request.new_tokens = 3 + i * 2;
    request.chunk = 1 + i % 8;
    request.threshold_logit = 0.4F * (static_cast<float>(i % 5) - 2.0F);
    if (i % 3 == 1) request.cap = 2;
    if (i % 2 == 1) request.sampling.temperature = 0.8F;
    request.sampling.seed_low = i;
    if (i % 4 == 3) request.sampling.frequency_penalty = 0.5F;
    request.sampling.generated = static_cast<uint32_t>(request.prompt.size());
    request.wants = kWantsRawLogits | (i % 4 == 2 ? kWantsPromptLogprobs : 0);
    request.logprobs = i % 5 == 4 ? 3 : kNoLogprobs;
    requests.push_back(request);
  }
  return requests;
}

std::vector<DriverOutput> RunAll(Backend& backend, const ModelConfig& config,
                                 const BackendLimits& limits,
                                 const std::vector<DriverRequest>& requests,
                                 const DriverOptions& options = {}) {
  auto outputs = RunRequests(backend, config, limits, requests, options);
  EXPECT_TRUE(outputs.ok()) << outputs.status();
  return outputs.ok() ? std::move(outputs).value() : std::vector<DriverOutput>();
}

void ExpectSame(const DriverOutput& a, const DriverOutput& b) {
  EXPECT_EQ(a.tokens, b.tokens);
  EXPECT_EQ(a.depths, b.depths);
  EXPECT_TRUE(a.logits == b.logits) << "bits of logits differ";
  ASSERT_EQ(a.logprobs.size(), b.logprobs.size());
  for (size_t i = 0; i < a.logprobs.size(); ++i) {
    EXPECT_EQ(a.logprobs[i].position, b.logprobs[i].position);
    EXPECT_EQ(a.logprobs[i].id, b.logprobs[i].id);
    EXPECT_EQ(a.logprobs[i].value, b.logprobs[i].value);
  }
}

void BackendTest::ExpectAloneEqualsTogether(const ModelConfig& config) {
  const std::shared_ptr<const Model> model = MakeModel(config);
  const BackendLimits limits = Limits(config);
  const std::unique_ptr<Backend> backend = Make(model);
  std::vector<Backend*> others = {backend.get()};
  const std::unique_ptr<Backend> two = Make(model, Precision::kBf16, 2);
  if (!GetParam().is_cuda) others.push_back(two.get());  // a device has no such threads
  const std::vector<DriverRequest> requests = MixedRequests();
  std::vector<DriverOutput> alone;
  alone.reserve(requests.size());
  for (const DriverRequest& request : requests) {
    alone.push_back(RunAll(*backend, config, limits, {request})[0]);
  }
  const DriverOptions ways[] = {
      {},
      {.ends_min = kEndsWhenBlockEmpty},
      {.ends_min = 4, .depth = 1, .spread_admissions = true},
      {.depth = 1, .room_step = 3},
  };
  for (const DriverOptions& way : ways) {
    for (Backend* other : others) {
      const auto together = RunAll(*other, config, limits, requests, way);
      ASSERT_EQ(together.size(), requests.size());
      for (size_t i = 0; i < requests.size(); ++i) {
        SCOPED_TRACE("request " + std::to_string(i) + ", ends_min " + std::to_string(way.ends_min));
        ExpectSame(alone[i], together[i]);
      }
    }
  }
  std::set<uint32_t> depths;
  for (const DriverOutput& output : alone)
    depths.insert(output.depths.begin(), output.depths.end());
  EXPECT_GT(depths.size(), 1U) << "every token took the same depth: the test proves little";
}

TEST_P(BackendTest, ExpertChoiceAloneEqualsTogether) { ExpectAloneEqualsTogether(TestConfig()); }

TEST_P(BackendTest, SharedKvAloneEqualsTogether) {
  ExpectAloneEqualsTogether(TestConfig(RouterType::kExpertChoice, KvMode::kShared));
}

TEST_P(BackendTest, OverlayAloneEqualsTogether) {
  ExpectAloneEqualsTogether(TestConfig(RouterType::kExpertChoice, KvMode::kSharedUpdate));
}

TEST_P(BackendTest, TokenChoiceAloneEqualsTogether) {
  ExpectAloneEqualsTogether(TestConfig(RouterType::kTokenChoice));
}

TEST_P(BackendTest, FixedDepthAloneEqualsTogether) {
  ModelConfig config = TestConfig(RouterType::kNone);
  config.sharing = Sharing::kCycle;
  config.num_layers = 6;
  ExpectAloneEqualsTogether(config);
}

// A sequence that is dropped and comes back with its own tokens as a prompt goes on as if nothing
// had happened.
TEST_P(BackendTest, ResumedSequencesContinueIdentically) {
  const ModelConfig config = TestConfig();
  const BackendLimits limits = Limits(config);
  const auto backend = Make(MakeModel(config));
  DriverRequest request;
  request.prompt = Prompt(3, 9);
  request.new_tokens = 12;
  request.chunk = 4;
  request.sampling = {.temperature = 1.0F, .repetition_penalty = 1.2F, .frequency_penalty = 0.7F};
  request.sampling.seed_low = 77;
  request.sampling.generated = 9;
  const DriverOutput whole = RunAll(*backend, config, limits, {request})[0];
  ASSERT_EQ(whole.tokens.size(), 12U);
  DriverRequest resumed = request;
  resumed.prompt.insert(resumed.prompt.end(), whole.tokens.begin(), whole.tokens.begin() + 5);
  resumed.new_tokens = 7;
  const DriverOutput rest = RunAll(*backend, config, limits, {resumed})[0];
  EXPECT_EQ(rest.tokens, std::vector<uint32_t>(whole.tokens.begin() + 5, whole.tokens.end()));
  EXPECT_EQ(rest.depths, whole.depths);
}

TEST_P(BackendTest, StopIdEndsTheSequence) {
  const ModelConfig config = TestConfig();
  const BackendLimits limits = Limits(config);
  const auto backend = Make(MakeModel(config));
  DriverRequest request;
  request.prompt = Prompt(3, 5);
  request.new_tokens = 20;
  request.sampling.temperature = 1.0F;
  request.sampling.seed_low = 4;
  const DriverOutput free = RunAll(*backend, config, limits, {request})[0];
  ASSERT_EQ(free.tokens.size(), 20U);
  EXPECT_EQ(free.flags, 0U);
  request.stop_ids = {free.tokens[6]};
  for (const uint32_t depth : {0U, 1U}) {
    const DriverOutput stopped = RunAll(*backend, config, limits, {request}, {.depth = depth})[0];
    const auto first = std::find(free.tokens.begin(), free.tokens.end(), free.tokens[6]);
    EXPECT_EQ(stopped.tokens, std::vector<uint32_t>(free.tokens.begin(), first + 1));
    EXPECT_EQ(stopped.flags, kStopId);
    EXPECT_EQ(stopped.state.stage, Stage::kNone);
  }
}

TEST_P(BackendTest, BiasesAndPenaltiesReachTheSampler) {
  const ModelConfig config = TestConfig();
  const BackendLimits limits = Limits(config);
  const auto backend = Make(MakeModel(config));
  DriverRequest biased;
  biased.prompt = Prompt(3, 5);
  biased.new_tokens = 4;
  biased.biases = {{42, 1000.0F}};
  DriverRequest distinct = biased;
  distinct.biases.clear();
  distinct.new_tokens = 30;
  distinct.sampling.generated = 5;
  distinct.sampling.presence_penalty = 1000.0F;
  const auto outputs = RunAll(*backend, config, limits, {biased, distinct});
  EXPECT_EQ(outputs[0].tokens, std::vector<uint32_t>(4, 42));
  const std::set<uint32_t> unique(outputs[1].tokens.begin(), outputs[1].tokens.end());
  EXPECT_EQ(unique.size(), 30U);
}

// ln of the probability of `id` in double, from raw logits.
double ReferenceLogprob(const std::vector<float>& logits, uint32_t id) {
  const double largest = *std::max_element(logits.begin(), logits.end());
  double sum = 0;
  for (const float logit : logits) sum += std::exp(double{logit} - largest);
  return double{logits[id]} - largest - std::log(sum);
}

TEST_P(BackendTest, LogprobsAreThoseOfTheRawLogits) {
  const ModelConfig config = TestConfig();
  const BackendLimits limits = Limits(config);
  const auto backend = Make(MakeModel(config));
  DriverRequest request;
  request.prompt = Prompt(8, 11);
  request.chunk = 4;
  request.new_tokens = 5;
  request.sampling.temperature = 1.0F;
  request.logprobs = 3;
  request.wants = kWantsPromptLogprobs | kWantsRawLogits;
  const DriverOutput output = RunAll(*backend, config, limits, {request})[0];
  std::vector<uint32_t> tokens = request.prompt;
  tokens.insert(tokens.end(), output.tokens.begin(), output.tokens.end());
  ASSERT_EQ(output.logprobs.size(), 4U * 15U);
  for (size_t i = 0; i < output.logprobs.size(); ++i) {
    const TokenLogprob& logprob = output.logprobs[i];
    const size_t position = 1 + i / 4;
    EXPECT_EQ(logprob.position, position);
    const std::vector<float>& logits = output.logits[position - 1];
    EXPECT_NEAR(logprob.value, ReferenceLogprob(logits, logprob.id), 1e-4);
    if (i % 4 == 0) {
      EXPECT_EQ(logprob.id, tokens[position]);
    } else if (i % 4 == 1) {
      const auto best = std::max_element(logits.begin(), logits.end()) - logits.begin();
      EXPECT_EQ(logprob.id, static_cast<uint32_t>(best));
    } else {
      EXPECT_LE(logprob.value, output.logprobs[i - 1].value);
    }
  }
}

TEST_P(BackendTest, OnlyPromptLogprobsWithoutNewTokens) {
  const ModelConfig config = TestConfig();
  const BackendLimits limits = Limits(config);
  const auto backend = Make(MakeModel(config));
  DriverRequest request;
  request.prompt = Prompt(8, 11);
  request.chunk = 4;
  request.wants = kWantsPromptLogprobs;
  const DriverOutput output = RunAll(*backend, config, limits, {request})[0];
  ASSERT_EQ(output.logprobs.size(), 10U);
  EXPECT_EQ(output.logprobs[9].position, 10U);
  EXPECT_EQ(output.logprobs[9].id, request.prompt[10]);
}

TEST_P(BackendTest, LogitsThatAreNotFiniteEndTheSequenceAlone) {
  const ModelConfig config = TestConfig();
  const BackendLimits limits = Limits(config);
  Model model = RandomModel(config, DataType::kF32, 5);
  // Token 7 alone is poisoned.
  std::vector<float> embedding(size_t{config.vocab_size} * config.hidden_size);
  std::memcpy(embedding.data(), model.weights.embedding.data, embedding.size() * sizeof(float));
  embedding[size_t{7} * config.hidden_size] = std::numeric_limits<float>::quiet_NaN();
  model.weights.embedding.data = reinterpret_cast<const std::byte*>(embedding.data());
  const auto poisoned = std::make_shared<const Model>(std::move(model));
  for (const Precision precision : {Precision::kF32, Precision::kBf16, Precision::kInt8}) {
    SCOPED_TRACE(PrecisionName(precision));
    if (GetParam().is_cuda && precision == Precision::kInt8) continue;  // which cuda lacks
    const auto backend = Make(poisoned, precision);
    DriverRequest good;
    good.prompt = {1, 2, 3};
    good.new_tokens = 6;
    good.biases = {{7, -1000.0F}};
    DriverRequest bad = good;
    bad.prompt = {1, 7, 3};
    const auto outputs = RunAll(*backend, config, limits, {bad, good});
    EXPECT_EQ(outputs[0].flags, kNotFinite);
    EXPECT_THAT(outputs[0].tokens, IsEmpty());
    EXPECT_EQ(outputs[0].state.stage, Stage::kNone);
    EXPECT_EQ(outputs[1].flags, 0U);
    EXPECT_EQ(outputs[1].tokens.size(), 6U);
    const auto alone = RunAll(*Make(poisoned, precision), config, limits, {good});
    EXPECT_EQ(outputs[1].tokens, alone[0].tokens);
  }
}

TEST_P(BackendTest, ResultsComeInTheOrderOfTheirPlans) {
  const ModelConfig config = TestConfig();
  const auto backend = Make(MakeModel(config));
  StepPlan plan;
  StepResult result;
  for (uint32_t epoch = 1; epoch < 7; epoch += 2) {
    plan.epoch = epoch;
    ASSERT_TRUE(backend->Submit(plan).ok());
    plan.epoch = epoch + 1;
    ASSERT_TRUE(backend->Submit(plan).ok());
    EXPECT_EQ(backend->Outstanding(), 2U);
    ASSERT_TRUE(backend->Collect(result).ok());
    EXPECT_EQ(result.epoch, epoch);
    ASSERT_TRUE(backend->Collect(result).ok());
    EXPECT_EQ(result.epoch, epoch + 1);
    EXPECT_EQ(backend->Outstanding(), 0U);
  }
}

Admission OneToken(uint32_t slot) {
  Admission a = {};
  a.slot = slot;
  a.area = kNoArea;
  a.state.stage = Stage::kEntry;
  a.limits = {.prompt = 1, .end = 3, .room = 3, .chunk = 1};
  a.logprobs = kNoLogprobs;
  return a;
}

// Admits a slot that begins at the last token of `history`, and tells it all tokens at once or one
// a plan, the room with the last of them. Returns the token that it samples.
uint32_t TokenAfter(Backend& backend, const ModelConfig& config,
                    const std::vector<uint32_t>& history, float repetition_penalty, bool at_once) {
  const auto tokens = static_cast<uint32_t>(history.size());
  Admission admission = OneToken(0);
  admission.state.position = tokens - 1;
  admission.limits = {.prompt = tokens, .end = tokens, .room = tokens - 1, .chunk = 1};
  admission.sampling.repetition_penalty = repetition_penalty;
  StepPlan plan;
  plan.ends = plan.block_rows = plan.prompt_rows = 1;
  plan.admits = {admission};
  for (uint32_t group = 0; group < ShapeOf(config).groups(); ++group) {
    if (PageEntries(config)[group] > 0) plan.pages.push_back({0, group, 0, group});
  }
  StepResult result;
  for (uint32_t position = 0; position < tokens + 10; ++position) {
    if (position < tokens) plan.tokens.push_back({0, position, history[position]});
    if (position + 1 == tokens) plan.rooms = {{0, tokens}};
    if (at_once && position + 1 < tokens) continue;
    ++plan.epoch;
    EXPECT_EQ(backend.Submit(plan), absl::OkStatus());
    EXPECT_EQ(backend.Collect(result), absl::OkStatus());
    for (const Outcome& outcome : result.outcomes) {
      if (outcome.token != kNoToken) return outcome.token;
    }
    plan.admits.clear();
    plan.pages.clear();
    plan.tokens.clear();
    plan.rooms.clear();
  }
  return kNoToken;
}

TEST_P(BackendTest, PenaltiesCountAHistoryThatComesInSeveralPlans) {
  const ModelConfig config = TestConfig();
  const auto model = MakeModel(config);
  const std::vector<uint32_t> plain = {1, 2, 3, 4};
  const uint32_t favourite = TokenAfter(*Make(model), config, plain, 1.0F, /*at_once=*/true);
  ASSERT_NE(favourite, kNoToken);
  ASSERT_NE(favourite, 4U);
  const std::vector<uint32_t> history = {favourite, 2, 3, 4};
  const uint32_t other = TokenAfter(*Make(model), config, history, 50.0F, /*at_once=*/true);
  EXPECT_NE(other, favourite);
  EXPECT_EQ(TokenAfter(*Make(model), config, history, 50.0F, /*at_once=*/false), other);
}

TEST_P(BackendTest, PenaltiesMissATokenOfTheHistoryThatNoPlanHasTold) {
  const ModelConfig config = TestConfig();
  const auto backend = Make(MakeModel(config));
  StepPlan plan;
  plan.ends = plan.block_rows = plan.prompt_rows = 1;
  plan.admits.push_back(OneToken(2));
  plan.admits[0].state.position = 2;
  plan.admits[0].limits.prompt = 3;
  plan.admits[0].sampling.presence_penalty = 1.0F;
  plan.tokens = {{2, 0, 1}, {2, 2, 1}};
  for (uint32_t group = 0; group < ShapeOf(config).groups(); ++group) {
    if (PageEntries(config)[group] > 0) plan.pages.push_back({2, group, 0, group});
  }
  StepResult result;
  absl::Status status = absl::OkStatus();
  for (int step = 0; step < 10 && status.ok(); ++step) {
    ++plan.epoch;
    status = backend->Submit(plan);
    if (status.ok()) status = backend->Collect(result);
    plan.admits.clear();
    plan.tokens.clear();
    plan.pages.clear();
  }
  EXPECT_EQ(status.code(), absl::StatusCode::kInternal);
  EXPECT_THAT(std::string(status.message()), HasSubstr("slot 2 has no token at position 1"));
}

TEST_P(BackendTest, BadPlansAreFinalErrorsThatSayWhatIsWrong) {
  const ModelConfig config = TestConfig();
  StepPlan no_page;
  no_page.ends = no_page.block_rows = no_page.prompt_rows = 1;
  no_page.admits.push_back(OneToken(2));
  no_page.tokens.push_back({2, 0, 1});
  StepPlan no_token = no_page;
  no_token.tokens.clear();
  no_token.pages = {{2, 0, 0, 0}};
  StepPlan too_many;
  too_many.block_rows = 4;
  StepPlan too_large;
  too_large.rooms.resize(6);
  StepPlan no_slot;
  no_slot.drops.push_back({5});
  const std::pair<const StepPlan*, const char*> cases[] = {
      {&no_page, "slot 2 has no page 0 of group 0 for entries 0..0"},
      {&no_token, "slot 2 has no token at position 0"},
      {&too_many, "block_rows is 4, expected at most 3"},
      {&too_large, "rooms holds 6, expected at most 5"},
      {&no_slot, "drop names slot 5"}};
  for (const auto& [plan, message] : cases) {
    const auto backend = Make(MakeModel(config));
    absl::Status status = backend->Submit(*plan);
    StepResult result;
    if (status.ok()) status = backend->Collect(result);
    EXPECT_EQ(status.code(), absl::StatusCode::kInternal);
    EXPECT_THAT(std::string(status.message()), HasSubstr(message));
    EXPECT_EQ(backend->Submit(StepPlan()), status);
  }
}

INSTANTIATE_TEST_SUITE_P(Backends, BackendTest, testing::ValuesIn(TestBackends()), NameOfParam);

}  // namespace
}  // namespace recurve
