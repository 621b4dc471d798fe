// SPDX-License-Identifier: Apache-2.0
#include "tests/engine/backend/cuda/model_load.h"

#include <algorithm>
#include <cstring>
#include <limits>
#include <memory>
#include <random>
#include <utility>
#include <vector>

#include "engine/backend/model_shape.h"
#include "engine/model/weights.h"
#include "engine/schedule/schedule.h"
#include "engine/schedule/step_loop.h"

namespace recurve::cuda {
namespace {

constexpr uint32_t kVocab = 50;
constexpr uint32_t kContext = 44;
constexpr TokenId kPoisoned = 49;  // its embedding holds a NaN
constexpr uint32_t kModels = 8;

// Odd sizes: slices and lanes that are not full, halves of heads of three.
ModelConfig ConfigOf(uint64_t kind) {
  ModelConfig config;
  config.vocab_size = kVocab;
  config.hidden_size = 36;
  config.intermediate_size = 41;
  config.num_layers = 8;
  config.num_heads = 4;
  config.num_kv_heads = 2;
  config.head_dim = 6;
  config.max_positions = kContext;
  config.sharing = Sharing::kMiddleCycle;
  config.num_recursions = 3;
  RouterConfig& router = config.router;
  router.type = kind < 4 ? RouterType::kExpertChoice : RouterType::kTokenChoice;
  switch (kind) {
    case 0:
      router.alpha = 0.6F;
      break;
    case 1:
      config.kv_mode = KvMode::kShared;
      config.per_recursion_attention = true;
      router.function = RouterFunction::kTanh;
      router.network = RouterNetwork::kMlp;
      router.sampling = RouterSampling::kAuxRouter;
      router.temperature = 0.7F;
      break;
    case 2:
      config.kv_mode = KvMode::kSharedUpdate;
      router.function = RouterFunction::kNone;
      break;
    case 3:
      config.sharing = Sharing::kCycle;
      config.num_layers = 6;
      router.weighted = false;
      break;
    case 4:
      router.function = RouterFunction::kSoftmax;
      router.has_bias = true;
      break;
    case 5:
      router.network = RouterNetwork::kMlp;
      router.temperature = 1.5F;
      config.kv_mode = KvMode::kSharedUpdate;
      break;
    case 6:
      router.function = RouterFunction::kSoftmax;
      router.weighted = false;
      config.num_layers = 5;
      break;
    default:
      router = RouterConfig();
      break;
  }
  return config;
}

// The model and what its poisoned embedding lies in.
struct TinyModel {
  std::shared_ptr<const Model> model;
  std::vector<float> embedding;
};
TinyModel MakeModel(uint64_t kind) {
  TinyModel tiny;
  Model model = RandomModel(ConfigOf(kind), DataType::kF32, 11 + kind);
  const size_t hidden = model.config.hidden_size;
  tiny.embedding.resize(kVocab * hidden);
  std::memcpy(tiny.embedding.data(), model.weights.embedding.data,
              tiny.embedding.size() * sizeof(float));
  tiny.embedding[kPoisoned * hidden + 5] = std::numeric_limits<float>::quiet_NaN();
  model.weights.embedding.data = reinterpret_cast<const std::byte*>(tiny.embedding.data());
  tiny.model = std::make_shared<const Model>(std::move(model));
  return tiny;
}

struct Ended final : public SampleObserver {
  bool OnToken(const TokenOutput& token) override {
    ++tokens;
    if (token.position >= kContext) ++beyond;
    return false;
  }
  void OnEnded(Ending ending) override { reason = ending.reason; }
  uint64_t tokens = 0;
  uint64_t beyond = 0;  // the context
  EndReason reason = EndReason::kLength;
};

class ModelLoad {
 public:
  ModelLoad(uint64_t seed, ModelFigures& figures)
      : random_(seed),
        seed_(seed),
        tiny_(MakeModel(seed % kModels)),
        config_(tiny_.model->config),
        figures_(figures) {}

  std::string Run(const LoadBackend& make);

 private:
  uint32_t Draw(uint32_t low, uint32_t high) {
    return low + static_cast<uint32_t>(random_() % (high - low + 1));
  }
  bool Chance(uint32_t percent) { return random_() % 100 < percent; }

  void DrawOptions();
  ScheduledSample DrawSample(uint64_t id);
  void DrawSampling(ScheduledSample& sample);
  KvBudget DrawBudget();
  LoadDevice DrawDevice();
  absl::Status RunAll(Backend& backend);

  std::mt19937_64 random_;
  const uint64_t seed_;
  const TinyModel tiny_;
  const ModelConfig& config_;
  ModelFigures& figures_;
  ScheduleOptions options_;
  std::unique_ptr<Schedule> schedule_;
};

void ModelLoad::DrawOptions() {
  BackendLimits& limits = options_.limits;
  limits.slots = Draw(1, 4);
  limits.areas = Draw(1, 2);
  limits.chunk = Draw(1, 12);
  limits.ends = Draw(std::min(limits.chunk, 4U), 6);
  limits.block_rows = Draw(1, 4);
  limits.prompt_rows = limits.chunk + Draw(0, 6);
  limits.max_positions = kContext;
  limits.max_logprobs = 3;
  limits.max_biases = 6;
  limits.max_stop_ids = kVocab;
  limits.pages = Draw(18, 60);
  options_.entries_per_page = PageEntries(config_);
  options_.vocab_size = kVocab;
  options_.policy = *Policy::FromName(Chance(70) ? "depthwise" : "lockstep");
  options_.max_queued_tokens = 1000;
  options_.headroom = 0;
  options_.prefix_node_tokens = Draw(3, 9);
}

KvBudget ModelLoad::DrawBudget() {
  KvBudget budget;
  if (config_.kv_mode == KvMode::kSharedUpdate) return budget;
  const bool has_router = config_.router.type != RouterType::kNone;
  budget.policy = static_cast<EvictionPolicy>(Draw(1, has_router ? 3 : 2));
  budget.every = Draw(2, 9);
  budget.sinks = Draw(0, 2);
  budget.recent = Draw(0, 3);
  const bool all = Chance(60);
  for (uint32_t group = 0; group < ShapeOf(config_).groups(); ++group) {
    if (all || Chance(70)) budget.groups[group].entries = Draw(6, 20);
  }
  return budget;
}

void ModelLoad::DrawSampling(ScheduledSample& sample) {
  SamplingParams& sampling = sample.sampling;
  if (Chance(60)) {
    sampling.temperature = 0.3F + 0.1F * static_cast<float>(Draw(0, 12));
    sampling.seed_low = Draw(0, 1'000'000);
    sampling.seed_high = Draw(0, 3);
    if (Chance(50)) sampling.top_k = Draw(1, 12);
    if (Chance(40)) sampling.top_p = 0.1F * static_cast<float>(Draw(1, 9));
    if (Chance(30)) sampling.min_p = 0.1F * static_cast<float>(Draw(1, 5));
  }
  if (Chance(40)) sampling.repetition_penalty = 1.5F;
  if (Chance(30)) sampling.frequency_penalty = 0.4F;
  if (Chance(30)) sampling.presence_penalty = 0.8F;
  // Of a token twice now and then; so large that several tokens come to the same logit.
  for (uint32_t i = Chance(40) ? Draw(1, 6) : 0; i > 0; --i) {
    const float value = Chance(50) ? 1e30F : static_cast<float>(Draw(0, 8)) - 4.0F;
    sample.biases.push_back({Draw(0, 8), value});
  }
  if (Chance(30)) sample.min_tokens = Draw(1, sample.max_tokens.value_or(1));
  const bool stops_all = Chance(10);
  for (TokenId id = 0; id < kVocab; ++id) {
    if (stops_all || Chance(10)) sample.stop_token_ids.push_back(id);
  }
}

ScheduledSample ModelLoad::DrawSample(uint64_t id) {
  ScheduledSample sample;
  sample.id = id;
  const uint32_t prompt = Chance(20) ? 1 : Draw(2, 36);
  for (uint32_t i = 0; i < prompt; ++i) {
    // Half of the prompts begin alike.
    sample.prompt.push_back(id % 2 == 0 && i < 20 ? i : Draw(0, kPoisoned - 1));
  }
  if (Chance(8)) sample.prompt[Draw(0, prompt - 1)] = kPoisoned;
  if (Chance(50)) sample.budget = DrawBudget();
  const bool endless = IsEndless(sample, options_);
  sample.max_tokens =
      endless && Chance(50) ? kContext + 6 - prompt : Draw(1, std::min(8U, kContext - prompt));
  DrawSampling(sample);
  sample.ignore_eos = true;
  sample.raw_logits = Chance(70);
  sample.cache_generated = Chance(50);
  if (Chance(50)) sample.logprobs = Draw(0, 3);
  sample.prompt_logprobs = sample.logprobs.has_value() && Chance(50);
  sample.store_prompt = true;
  if (Chance(40)) {
    for (uint32_t position = 0; position < kContext; position += Draw(1, 12)) {
      sample.caps.push_back({position, Draw(1, 3)});
    }
  }
  const float thresholds[] = {0.0F, 0.4F, -0.4F, std::numeric_limits<float>::infinity(),
                              -std::numeric_limits<float>::infinity()};
  sample.threshold_logit = thresholds[Draw(0, 4)];
  return sample;
}

LoadDevice ModelLoad::DrawDevice() {
  LoadDevice device;
  device.multiprocessors = Draw(1, 2);
  device.seed = seed_;
  device.late = Chance(50);
  device.eager = Chance(50);
  return device;
}

absl::Status ModelLoad::RunAll(Backend& backend) {
  const auto next_plan = [this]() -> const StepPlan* {
    if (!schedule_->HasWork()) return nullptr;
    const StepPlan& plan = schedule_->Plan();
    ++figures_.steps;
    figures_.evictions += plan.evicts.size();
    figures_.copies += plan.copies.size();
    return &plan;
  };
  const auto commit = [this](const StepResult& result) { schedule_->Commit(result); };
  return RunSteps(backend, Draw(0, 1), next_plan, commit);
}

std::string ModelLoad::Run(const LoadBackend& make) {
  DrawOptions();
  auto schedule = Schedule::Create(options_, ShapeOf(config_), Clock::Steady());
  if (!schedule.ok()) return schedule.status().ToString();
  schedule_ = *std::move(schedule);
  const auto backend = make(tiny_.model, options_.limits, DrawDevice());
  if (!backend.ok()) return backend.status().ToString();
  std::vector<Ended> ended(Draw(2, 4));
  for (size_t i = 0; i < ended.size(); ++i) {
    ScheduledSample sample = DrawSample(i + 1);
    sample.observer = &ended[i];
    // Some need more pages than there are.
    const absl::Status added = schedule_->Add(std::move(sample));
    if (!added.ok() && !absl::IsInvalidArgument(added)) return added.ToString();
  }
  const absl::Status status = RunAll(**backend);
  if (!status.ok()) {
    schedule_->EndAll(EndReason::kFailed, status);
    return status.ToString();
  }
  for (const Ended& sample : ended) {
    figures_.tokens += sample.tokens;
    figures_.endless += sample.beyond;
    if (sample.reason == EndReason::kFailed) ++figures_.not_finite;
  }
  return "";
}

}  // namespace

std::string RunModelLoad(uint64_t seed, const LoadBackend& make, ModelFigures& figures) {
  return ModelLoad(seed, figures).Run(make);
}

}  // namespace recurve::cuda
