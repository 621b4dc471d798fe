// SPDX-License-Identifier: Apache-2.0
// What a sample gets does not depend on what else runs: batch, policy, chunk size, threads, depth
// of the step queue, instruction set, preemption. Tokens, depths, log probabilities and raw logits
// are compared bit for bit.
#include <array>
#include <bit>
#include <cstdint>
#include <cstdio>
#include <map>
#include <memory>
#include <optional>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include "engine/backend/factory/make_backend.h"
#include "engine/backend/model_shape.h"
#include "engine/schedule/schedule.h"
#include "engine/schedule/step_loop.h"
#include "gtest/gtest.h"
#include "tests/engine/backend/make_test_backend.h"
#include "tests/engine/backend/test_backends.h"
#include "tests/engine/small_models.h"

namespace recurve {
namespace {

// Everything that one sample was told.
struct Transcript final : public SampleObserver {
  void OnPrompt(const PromptOutput& prompt) override {
    depths.insert(depths.end(), prompt.depths.begin(), prompt.depths.end());
    Keep(prompt.logprobs);
  }
  bool OnToken(const TokenOutput& token) override {
    tokens.push_back(token.token);
    depths.push_back(token.depth);
    Keep(token.logprobs);
    return false;
  }
  void OnLogits(uint32_t position, std::span<const float> logits) override {
    std::vector<uint32_t> bits;
    for (const float logit : logits) bits.push_back(std::bit_cast<uint32_t>(logit));
    const auto [known, is_new] = logits_bits.try_emplace(position, bits);
    same_when_recomputed = same_when_recomputed && (is_new || known->second == bits);
  }
  void OnEnded(Ending how) override {
    ending = std::move(how);
    ++ended;
  }

  void Keep(std::span<const TokenLogprob> logprobs) {
    for (const TokenLogprob& entry : logprobs) {
      logprob_bits.push_back({entry.position, entry.id, std::bit_cast<uint32_t>(entry.value)});
    }
  }

  std::vector<uint32_t> tokens;
  std::vector<uint32_t> depths;  // of the prompt's tokens, then of the generated ones
  std::vector<std::array<uint32_t, 3>> logprob_bits;
  std::map<uint32_t, std::vector<uint32_t>> logits_bits;  // by position
  bool same_when_recomputed = true;
  int ended = 0;
  Ending ending;
};

// How the same samples are run.
struct Way {
  std::string name;
  std::string policy = "depthwise";
  Precision precision = Precision::kF32;
  std::optional<Precision> kv_precision = std::nullopt;
  uint32_t chunk = 256, threads = 1, queue_depth = 0, slots = 8, areas = 4, ends = 8,
           block_rows = 8;
  uint32_t pages = 0;  // 0: enough for all slots
  uint32_t plan_changes = BackendLimits().plan_changes;
  bool alone = false;  // one sample after another
  bool prefix_cache = true;
  TestBackend backend = FastBackend();
};

// Of a machine on which steps of few rows cost little less than those of ten.
CostCurve Costs(double fixed, double row) {
  CostCurve curve;
  curve.See(1, fixed + row);
  curve.See(8, fixed + 8 * row);
  return curve;
}

class World {
 public:
  World(std::shared_ptr<const Model> model, const Way& way) : way_(way) {
    const ModelConfig& config = model->config;
    const StepShape shape = ShapeOf(config);
    options_.limits.slots = way.slots;
    options_.limits.areas = way.areas;
    options_.limits.chunk = way.chunk;
    options_.limits.ends = way.ends;
    options_.limits.block_rows = way.block_rows;
    options_.limits.prompt_rows = 256;
    options_.limits.max_positions = config.max_positions;
    options_.limits.pages = way.pages != 0 ? way.pages : 2048;
    options_.limits.plan_changes = way.plan_changes;
    options_.entries_per_page = PageEntries(config);
    options_.vocab_size = config.vocab_size;
    options_.eos_ids = config.eos_token_ids;
    options_.policy = *Policy::FromName(way.policy);
    if (way.policy == "staged") {
      options_.costs.ends = Costs(80, 1);
      options_.costs.block = Costs(100, 10);
      options_.costs.prompt_ends = Costs(10, 1);
    }
    options_.headroom = 0;  // so that tight memory preempts
    options_.prefix_cache = way.prefix_cache;
    options_.prefix_node_tokens = 8;
    schedule_ = *Schedule::Create(options_, shape, Clock::Steady());
    BackendOptions backend;
    backend.precision = way.precision;
    backend.kv_precision = way.kv_precision;
    backend.threads = way.threads;
    backend_ = *MakeTestBackend(way.backend, std::move(model), backend, options_.limits);
  }

  // Runs all samples; transcripts in their order.
  std::vector<Transcript> Run(const std::vector<ScheduledSample>& samples) {
    std::vector<Transcript> transcripts(samples.size());
    for (size_t i = 0; i < samples.size(); ++i) {
      ScheduledSample sample = samples[i];
      sample.observer = &transcripts[i];
      const absl::Status status = schedule_->Add(std::move(sample));
      EXPECT_TRUE(status.ok()) << status;
      if (way_.alone) RunToEnd();
    }
    RunToEnd();
    EXPECT_EQ(schedule_->counters().pages_reserved, 0U) << way_.name;
    preemptions_ = schedule_->counters().preemptions_for_memory;
    cached_tokens_ = schedule_->counters().prefix_tokens_found;
    return transcripts;
  }

  uint64_t preemptions() const { return preemptions_; }
  uint64_t cached_tokens() const { return cached_tokens_; }

 private:
  void RunToEnd() {
    const auto next_plan = [this] { return schedule_->HasWork() ? &schedule_->Plan() : nullptr; };
    const auto commit = [this](const StepResult& result) { schedule_->Commit(result); };
    const absl::Status status = RunSteps(*backend_, way_.queue_depth, next_plan, commit);
    ASSERT_TRUE(status.ok()) << way_.name << ": " << status;
  }

  const Way way_;
  ScheduleOptions options_;
  std::unique_ptr<Schedule> schedule_;
  std::unique_ptr<Backend> backend_;
  uint64_t preemptions_ = 0;
  uint64_t cached_tokens_ = 0;
};

// Budgets so small that every longer sequence meets them.
KvBudget RandomBudget(const ModelConfig& config, std::mt19937_64& random) {
  const auto below = [&random](uint64_t bound) { return static_cast<uint32_t>(random() % bound); };
  KvBudget budget;
  if (config.kv_mode == KvMode::kSharedUpdate) return budget;
  const bool has_router = config.router.type != RouterType::kNone;
  budget.policy = static_cast<EvictionPolicy>(1 + below(has_router ? 3 : 2));
  budget.every = 3 + below(20);
  budget.sinks = below(3);
  budget.recent = below(4);
  for (uint32_t group = 0; group < ShapeOf(config).groups(); ++group) {
    if (below(4) == 0) continue;
    GroupBudget& limit = budget.groups[group];
    (below(3) == 0 ? limit.percent : limit.entries) = 6 + below(24);
  }
  return budget;
}

// Greedy, seeded, penalized, biased, capped, stopped, with log probabilities: the `index`-th of a
// seed's samples.
ScheduledSample RandomSample(const ModelConfig& config, uint64_t seed, uint32_t index) {
  std::mt19937_64 random(seed * 1000 + index);
  const auto below = [&random](uint64_t bound) { return static_cast<uint32_t>(random() % bound); };
  ScheduledSample sample;
  sample.id = index + 1;
  const uint32_t length = 1 + below(index % 3 == 0 ? 90 : 20);
  for (uint32_t i = 0; i < length; ++i) sample.prompt.push_back(below(config.vocab_size - 1));
  // Every other prompt begins as all of these do.
  for (uint32_t i = 0; index % 2 == 0 && i < length / 2; ++i) sample.prompt[i] = i % 7;
  sample.max_tokens = 1 + below(24);
  sample.raw_logits = true;
  sample.ignore_eos = below(4) == 0;
  sample.logprobs = below(4);
  sample.prompt_logprobs = below(4) == 0;
  if (below(3) != 0) {
    sample.sampling.temperature = 0.2F + static_cast<float>(below(100)) * 0.01F;
    sample.sampling.seed_low = below(1U << 31);
    sample.sampling.top_k = below(2) * below(40);
    sample.sampling.top_p = below(2) == 0 ? 1.0F : 0.9F;
    sample.sampling.min_p = below(2) == 0 ? 0.0F : 0.05F;
    sample.sampling.repetition_penalty = below(2) == 0 ? 1.0F : 1.2F;
    sample.sampling.presence_penalty = below(2) == 0 ? 0.0F : 0.5F;
    sample.sampling.frequency_penalty = below(2) == 0 ? 0.0F : 0.3F;
  }
  if (below(4) == 0) sample.generated_prefix = below(length + 1);
  const bool caps = config.sharing != Sharing::kMiddleSequence && config.recursions() > 1;
  if (caps && below(2) == 0) {
    // As after a turn of the dial, or two.
    sample.caps = {{0, 1 + below(config.recursions())}};
    sample.caps.push_back({1 + below(length + 10), 1 + below(config.recursions())});
    sample.caps.push_back({sample.caps[1].position + 4, config.recursions()});
  }
  if (config.router.type == RouterType::kExpertChoice && below(3) == 0) {
    sample.threshold_logit = static_cast<float>(below(3)) * 0.5F - 0.5F;
  }
  if (below(2) == 0) sample.budget = RandomBudget(config, random);
  const auto token = [&] { return below(config.vocab_size); };
  if (below(3) == 0) sample.min_tokens = below(*sample.max_tokens + 1);
  if (below(3) == 0) sample.stop_token_ids = {token(), token(), token()};
  if (below(3) == 0) sample.biases = {{token(), 4.0F}, {token(), -3.0F}};
  return sample;
}

// Those of TestTwins() that this machine and build have, and that have this precision of the cache.
std::vector<TestBackend> UsableTwins(std::optional<Precision> kv_precision) {
  std::vector<TestBackend> usable;
  for (const TestBackend& backend : TestTwins()) {
    if (backend.is_cuda && kv_precision.has_value()) continue;
    const std::string why = WhySkipped(backend);
    if (why.empty()) {
      usable.push_back(backend);
    } else {
      std::printf("without the backend %s: %s\n", NameOf(backend).c_str(), why.c_str());
    }
  }
  return usable;
}

std::vector<Way> Ways(std::optional<Precision> kv_precision) {
  std::vector<Way> ways = {
      {.name = "together"},
      {.name = "lockstep", .policy = "lockstep"},
      {.name = "staged", .policy = "staged"},
      {.name = "staged, few rows", .policy = "staged", .queue_depth = 1, .block_rows = 4},
      {.name = "chunks of 1", .chunk = 1},
      {.name = "chunks of 7", .chunk = 7, .areas = 2},
      {.name = "chunks of 16, lockstep", .policy = "lockstep", .chunk = 16},
      {.name = "two threads", .threads = 2},
      {.name = "three threads, chunks of 5", .chunk = 5, .threads = 3},
      {.name = "queue of 1", .queue_depth = 1},
      {.name = "queue of 1, two threads", .threads = 2, .queue_depth = 1},
      {.name = "queue of 1, chunks of 9", .policy = "lockstep", .chunk = 9, .queue_depth = 1},
      {.name = "few rows", .slots = 8, .ends = 2, .block_rows = 3},
      {.name = "few changes a plan", .chunk = 9, .queue_depth = 1, .plan_changes = 3},
  };
  for (const TestBackend& backend : UsableTwins(kv_precision)) {
    ways.push_back({.name = NameOf(backend),
                    .policy = "staged",
                    .chunk = 11,
                    .queue_depth = 1,
                    .backend = backend});
  }
  return ways;
}

void ExpectSame(const std::vector<Transcript>& expected, const std::vector<Transcript>& found,
                const std::string& where) {
  for (size_t i = 0; i < expected.size(); ++i) {
    SCOPED_TRACE(where + ", request " + std::to_string(i));
    ASSERT_EQ(found[i].ended, 1);
    EXPECT_EQ(found[i].ending.reason, expected[i].ending.reason);
    ASSERT_EQ(found[i].tokens, expected[i].tokens);
    EXPECT_EQ(found[i].depths, expected[i].depths);
    EXPECT_EQ(found[i].logprob_bits, expected[i].logprob_bits);
    EXPECT_EQ(found[i].logits_bits, expected[i].logits_bits);
    EXPECT_TRUE(found[i].same_when_recomputed);
  }
}

// Of weights, and of the cache if that is not what follows from them.
struct Precisions {
  Precision of_weights;
  std::optional<Precision> of_keys;
};
constexpr Precisions kPrecisions[] = {{Precision::kF32, std::nullopt},
                                      {Precision::kBf16, std::nullopt},
                                      {Precision::kBf16, Precision::kInt8},
                                      {Precision::kInt8, std::nullopt},
                                      {Precision::kInt8, Precision::kInt8}};

class InvarianceTest : public testing::TestWithParam<int> {
 protected:
  // One of three for each model, whichever of them are tried.
  static std::optional<Precision> KvPrecision() {
    constexpr std::optional<Precision> kKvPrecisions[] = {std::nullopt, Precision::kBf16,
                                                          Precision::kInt8};
    return kKvPrecisions[(GetParam() + GetParam() / 3) % 3];
  }
};

TEST_P(InvarianceTest, NothingElseMatters) {
  const SmallModel small = SmallModels()[static_cast<size_t>(GetParam())];
  constexpr uint32_t kSamples = 10;
  std::vector<ScheduledSample> samples;
  for (uint32_t i = 0; i < kSamples; ++i) {
    samples.push_back(RandomSample(small.model->config, 11, i));
  }
  for (const auto& [precision, kv_precision] : kPrecisions) {
    Way alone{.name = "alone",
              .precision = precision,
              .kv_precision = kv_precision,
              .slots = 1,
              .areas = 1,
              .alone = true,
              .prefix_cache = false};
    const std::vector<Transcript> expected = World(small.model, alone).Run(samples);
    size_t generated = 0;
    for (const Transcript& transcript : expected) generated += transcript.tokens.size();
    EXPECT_GT(generated, 50U);
    for (Way way : Ways(kv_precision)) {
      way.precision = precision;
      way.kv_precision = kv_precision;
      if (way.backend.is_cuda && precision == Precision::kInt8) continue;  // which cuda lacks
      const std::string where = small.name + ", " + way.name;
      // In bf16 the CUDA backend's bits are its own, and alone it must have the same.
      const bool has_own_bits = way.backend.is_cuda && precision == Precision::kBf16;
      Way own = alone;
      own.backend = way.backend;
      own.backend.twin = false;
      ExpectSame(has_own_bits ? World(small.model, own).Run(samples) : expected,
                 World(small.model, way).Run(samples), where);
    }
  }
}

// Whatever of a prompt was computed for another, at once or long ago.
TEST_P(InvarianceTest, CachedPrefixesChangeNothing) {
  const SmallModel small = SmallModels()[static_cast<size_t>(GetParam())];
  std::vector<ScheduledSample> samples;
  for (uint32_t i = 0; i < 16; ++i) {
    ScheduledSample sample = RandomSample(small.model->config, 37, i);
    const ScheduledSample& first = i < 2 ? sample : samples[i % 2];
    sample.prompt.resize(std::min<size_t>(sample.prompt.size() + 30, 90), 5);
    const size_t common = std::min(first.prompt.size(), sample.prompt.size()) - i;
    std::copy_n(first.prompt.begin(), common, sample.prompt.begin());
    sample.caps = first.caps;
    sample.threshold_logit = first.threshold_logit;
    sample.budget = first.budget;
    sample.cache_generated = i % 3 == 0;
    samples.push_back(std::move(sample));
  }
  const Way alone{.name = "alone",
                  .kv_precision = KvPrecision(),
                  .slots = 1,
                  .areas = 1,
                  .alone = true,
                  .prefix_cache = false};
  const std::vector<Transcript> expected = World(small.model, alone).Run(samples);
  std::vector<Way> ways = {{.name = "at once", .chunk = 13},
                           {.name = "at once, queue of 1", .chunk = 7, .queue_depth = 1},
                           {.name = "one after another", .alone = true},
                           {.name = "few changes a plan", .chunk = 7, .plan_changes = 5}};
  for (const TestBackend& backend : UsableTwins(KvPrecision())) {
    ways.push_back({.name = "tight memory, " + NameOf(backend),
                    .chunk = 9,
                    .queue_depth = 1,
                    .pages = 48,
                    .backend = backend});
  }
  for (Way& way : ways) {
    way.kv_precision = KvPrecision();
    World world(small.model, way);
    ExpectSame(expected, world.Run(samples), small.name + ", " + way.name);
    EXPECT_GT(world.cached_tokens(), way.pages == 0 ? 100U : 0U) << way.name;
  }
}

TEST_P(InvarianceTest, PreemptionChangesNothing) {
  const SmallModel small = SmallModels()[static_cast<size_t>(GetParam())];
  std::vector<ScheduledSample> samples;
  for (uint32_t i = 0; i < 12; ++i) {
    samples.push_back(RandomSample(small.model->config, 23, i));
    samples.back().max_tokens = 40;
    samples.back().ignore_eos = true;
  }
  const Way alone{.name = "alone",
                  .kv_precision = KvPrecision(),
                  .slots = 1,
                  .areas = 1,
                  .alone = true,
                  .prefix_cache = false};
  const std::vector<Transcript> expected = World(small.model, alone).Run(samples);
  const StepShape shape = ShapeOf(small.model->config);
  const auto entries = PageEntries(small.model->config);
  uint32_t pages = 0;  // room for about one and a half of the longest sequences
  for (uint32_t group = 0; group < shape.groups(); ++group) {
    if (entries[group] != 0) pages += 3 * ((130 + entries[group] - 1) / entries[group]) / 2;
  }
  for (const uint32_t queue_depth : {0U, 1U}) {
    const Way tight{.name = "tight",
                    .kv_precision = KvPrecision(),
                    .chunk = 13,
                    .queue_depth = queue_depth,
                    .pages = pages,
                    .plan_changes = queue_depth == 0 ? 4 : BackendLimits().plan_changes};
    World world(small.model, tight);
    const std::vector<Transcript> found = world.Run(samples);
    EXPECT_GT(world.preemptions(), 0U) << "memory was not tight";
    ExpectSame(expected, found, small.name + ", tight memory");
  }
}

// Of how many sizes of the pool one is tried.
constexpr uint32_t kPoolStride = RECURVE_POOL_STRIDE;

// One prompt for many, a budget for all and few pages: cached prefixes are forgotten while several
// sequences still share their pages, which come to their boundary together.
TEST_P(InvarianceTest, SharedPromptsWithABudgetChangeNothing) {
  const SmallModel small = SmallModels()[static_cast<size_t>(GetParam())];
  const ModelConfig& config = small.model->config;
  if (config.kv_mode == KvMode::kSharedUpdate) GTEST_SKIP() << "nothing is forgotten";
  const StepShape shape = ShapeOf(config);
  std::vector<ScheduledSample> samples;
  for (uint32_t i = 0; i < 6; ++i) {
    ScheduledSample& sample = samples.emplace_back();
    sample.id = i + 1;
    for (uint32_t position = 0; position < 70; ++position) sample.prompt.push_back(position % 7);
    sample.max_tokens = 60;
    sample.ignore_eos = true;
    sample.raw_logits = true;
    sample.logprobs = 1;
    // Two of each: they stay side by side.
    sample.sampling.temperature = 1.0F;
    sample.sampling.seed_low = i / 2;
    KvBudget& budget = sample.budget;
    budget.policy = EvictionPolicy::kWindow;
    budget.every = 96;
    budget.sinks = 4;
    budget.recent = 8;
    for (uint32_t group = 0; group < shape.groups(); ++group) budget.groups[group].entries = 16;
  }
  const Way alone{.name = "alone",
                  .kv_precision = KvPrecision(),
                  .slots = 1,
                  .areas = 1,
                  .alone = true,
                  .prefix_cache = false};
  const std::vector<Transcript> expected = World(small.model, alone).Run(samples);
  const auto entries = PageEntries(config);
  uint32_t most = 0;  // pages of one sequence
  for (uint32_t group = 0; group < shape.groups(); ++group) {
    if (entries[group] != 0) most += (129 + entries[group] - 1) / entries[group];
  }
  for (uint32_t pages = most; pages < 3 * most; pages += kPoolStride) {
    const Way tight{
        .name = "tight", .kv_precision = KvPrecision(), .queue_depth = pages % 2, .pages = pages};
    World world(small.model, tight);
    ExpectSame(expected, world.Run(samples), small.name + ", pages " + std::to_string(pages));
    if (HasFatalFailure()) return;
  }
  for (const TestBackend& backend : UsableTwins(KvPrecision())) {
    const Way tight{.name = NameOf(backend),
                    .kv_precision = KvPrecision(),
                    .queue_depth = 1,
                    .pages = most + most / 2,
                    .backend = backend};
    World world(small.model, tight);
    ExpectSame(expected, world.Run(samples), small.name + ", " + tight.name);
  }
}

// Of how many models one is tried.
constexpr int kModelStride = RECURVE_MODEL_STRIDE;

INSTANTIATE_TEST_SUITE_P(Models, InvarianceTest, testing::Range(0, 8, kModelStride),
                         [](const auto& param) {
                           return SmallModels()[static_cast<size_t>(param.param)].name;
                         });

}  // namespace
}  // namespace recurve
