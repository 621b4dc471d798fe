// SPDX-License-Identifier: Apache-2.0
#include "engine/bench/measurement.h"

#include <algorithm>
#include <chrono>
#include <limits>

#include "absl/strings/str_cat.h"
#include "engine/backend/model_shape.h"
#include "engine/base/mix_bits.h"
#include "engine/base/shortest.h"
#include "engine/base/status_macros.h"
#include "engine/bench/shapes.h"
#include "engine/bench/size.h"
#include "engine/schedule/measure_costs.h"
#include "engine/schedule/step_loop.h"

namespace recurve {
namespace {

// A number for each (seed, stream, position), uniform in [0, 1).
double Uniform(uint64_t seed, uint64_t stream, uint64_t position) {
  const uint64_t word = seed * kGoldenGamma + stream * 0xD1B54A32D192ED03 + position;
  return static_cast<double>(MixBits(word) >> 11) * 0x1.0p-53;
}

// Pages for all tokens of all streams.
uint64_t PagesFor(const ModelConfig& config, const BenchOptions& options) {
  const uint32_t tokens = options.prompt_tokens + options.new_tokens;
  return PagesForTokens(tokens, KvBudget(), PageEntries(config)) * options.streams;
}

BackendLimits LimitsFor(const ModelConfig& config, const BenchOptions& options) {
  BackendLimits limits;
  limits.slots = options.streams;
  limits.block_rows = options.block_rows;
  limits.FillIn();
  limits.chunk = std::min(options.prompt_tokens, limits.chunk);
  limits.areas = std::min(options.streams, 8U);  // more than by default: all prompts come at once
  limits.max_positions = options.prompt_tokens + options.new_tokens;
  limits.pages = static_cast<uint32_t>(PagesFor(config, options));  // CheckBench saw that it fits
  return limits;
}

absl::Status CheckShares(const ModelConfig& config, const std::vector<double>& shares) {
  if (config.router.type == RouterType::kTokenChoice) {
    // A cap bounds the depth that such a router chooses; it cannot raise it.
    return absl::InvalidArgumentError(
        "--depths gives shares; the model's router is token-choice and allows 'router' alone");
  }
  if (shares.size() != config.recursions()) {
    return absl::InvalidArgumentError(absl::StrCat("--depths has ", shares.size(),
                                                   " shares; the model has ", config.recursions(),
                                                   " recursions"));
  }
  for (size_t i = 0; i < shares.size(); ++i) {
    const double before = i == 0 ? 1.0 : shares[i - 1];
    const bool first_is_one = i > 0 || shares[0] == 1.0;
    if (!(shares[i] >= 0 && shares[i] <= before) || !first_is_one) {
      return absl::InvalidArgumentError(
          absl::StrCat("--depths: share ", i + 1, " is ", Shortest(shares[i]),
                       "; shares begin with 1 and never rise or fall below 0"));
    }
  }
  return absl::OkStatus();
}

ScheduledSample MakeSample(const ModelConfig& config, const BenchOptions& options,
                           uint32_t stream) {
  ScheduledSample sample;
  sample.id = stream + 1;
  for (uint32_t i = 0; i < options.prompt_tokens; ++i) {
    const uint32_t source = i < options.shared_prompt_tokens ? 0 : stream;
    sample.prompt.push_back(
        static_cast<uint32_t>(Uniform(~options.seed, source, i) * config.vocab_size));
  }
  sample.max_tokens = options.new_tokens;
  sample.ignore_eos = true;
  if (options.shares.empty()) return sample;
  sample.threshold_logit = -std::numeric_limits<float>::infinity();
  for (uint32_t position = 0; position < options.prompt_tokens + options.new_tokens; ++position) {
    const double u = Uniform(options.seed, stream, position);
    uint32_t cap = 1;
    while (cap < options.shares.size() && u < options.shares[cap]) ++cap;
    sample.caps.push_back({position, cap});
  }
  return sample;
}

// Shares of the tokens that took each recursion.
std::vector<double> SharesOf(const ScheduleCounters& counters, uint32_t recursions) {
  std::vector<double> shares(recursions, 0.0);
  double rows = 0;
  for (uint32_t depth = 1; depth <= recursions; ++depth) {
    const double count = static_cast<double>(counters.prompt_depth.rows_by_depth[depth - 1] +
                                             counters.generated_depth.rows_by_depth[depth - 1]);
    rows += count;
    for (uint32_t r = 0; r < depth; ++r) shares[r] += count;
  }
  for (double& share : shares) share /= std::max(rows, 1.0);
  return shares;
}

}  // namespace

absl::Status CheckBench(const ModelConfig& config, const BenchOptions& options) {
  const uint64_t tokens = uint64_t{options.prompt_tokens} + options.new_tokens;
  if (tokens > config.max_positions) {
    return absl::InvalidArgumentError(absl::StrCat("--prompt_tokens + --new_tokens is ", tokens,
                                                   "; the model's context is ",
                                                   config.max_positions));
  }
  if (options.shared_prompt_tokens > options.prompt_tokens) {
    return absl::InvalidArgumentError(absl::StrCat("--shared_prompt_tokens is ",
                                                   options.shared_prompt_tokens,
                                                   "; --prompt_tokens is ", options.prompt_tokens));
  }
  constexpr uint32_t kMostPages = std::numeric_limits<uint32_t>::max();
  if (const uint64_t pages = PagesFor(config, options); pages > kMostPages) {
    return absl::InvalidArgumentError(absl::StrCat("--streams is ", options.streams,
                                                   "; its tokens take ", pages, " pages, at most ",
                                                   kMostPages, " are counted"));
  }
  return options.shares.empty() ? absl::OkStatus() : CheckShares(config, options.shares);
}

// Counts the tokens of all streams, and notes when each has had its first one.
class Bench::Counter final : public SampleObserver {
 public:
  explicit Counter(uint32_t streams) : streams_(streams), without_first_(streams) {}

  bool OnToken(const TokenOutput& token) override {
    ++tokens_;
    if (token.position != first_position_) return false;
    all_started_ = std::chrono::steady_clock::now();
    waited_ += all_started_ - begin_;
    if (--without_first_ == 0) tokens_before_ = tokens_;
    return false;
  }
  void OnEnded(Ending ending) override {
    if (without_first_ > 0) ++ended_early_;
    if (tokens_at_first_end_ == 0) {
      tokens_at_first_end_ = tokens_;
      first_end_ = std::chrono::steady_clock::now();
    }
    failed_ = failed_ || ending.reason != EndReason::kLength;
  }

  void set_first_position(uint32_t position) { first_position_ = position; }
  uint64_t tokens_after_all_started() const { return tokens_ - tokens_before_; }
  // The same, and the time, until the first stream ended; 0 if that was before all had begun.
  uint64_t steady_tokens() const {
    return ended_early_ > 0 ? 0 : tokens_at_first_end_ - tokens_before_;
  }
  std::chrono::steady_clock::time_point first_end() const { return first_end_; }
  std::chrono::steady_clock::time_point begin() const { return begin_; }
  std::chrono::steady_clock::time_point all_started() const { return all_started_; }
  double mean_first_token_seconds() const {
    return std::chrono::duration<double>(waited_).count() / streams_;
  }
  uint32_t ended_early() const { return ended_early_; }
  bool failed() const { return failed_; }

 private:
  const std::chrono::steady_clock::time_point begin_ = std::chrono::steady_clock::now();
  const uint32_t streams_;
  uint32_t without_first_;
  std::chrono::steady_clock::duration waited_{0};  // of all streams
  uint32_t first_position_ = 0;
  uint64_t tokens_ = 0;
  uint64_t tokens_before_ = 0;
  uint64_t tokens_at_first_end_ = 0;  // 0: none has ended
  std::chrono::steady_clock::time_point first_end_;
  std::chrono::steady_clock::time_point all_started_;  // so far: the last one's start
  uint32_t ended_early_ = 0;
  bool failed_ = false;
};

struct Bench::Totals {
  void Add(const StepResult& result) {
    ++steps;
    for (uint32_t part = 0; part < kStepParts; ++part) {
      part_rows[part] += result.part_rows[part];
      part_ns[part] += result.part_ns[part];
      attention_ns[part] += result.attention_ns[part];
    }
  }

  uint64_t steps = 0;
  std::array<uint64_t, kStepParts> part_rows{}, part_ns{}, attention_ns{};
  std::chrono::steady_clock::time_point end;  // of the last step
};

absl::StatusOr<std::unique_ptr<Bench>> Bench::Create(std::shared_ptr<const Model> model,
                                                     const BenchOptions& options,
                                                     BackendBuilder& builder) {
  RETURN_IF_ERROR(CheckBench(model->config, options));
  const BackendLimits limits = LimitsFor(model->config, options);
  BackendFacts facts = builder.Describe(*model);
  ASSIGN_OR_RETURN(auto probe, builder.MakeProbe());
  RETURN_IF_ERROR(builder.Prepare(model, limits).status());
  ASSIGN_OR_RETURN(auto backend, builder.Make(limits.pages));
  return std::unique_ptr<Bench>(new Bench(std::move(model), options, std::move(facts), limits,
                                          std::move(probe), std::move(backend)));
}

Bench::Bench(std::shared_ptr<const Model> model, const BenchOptions& options, BackendFacts facts,
             const BackendLimits& limits, std::unique_ptr<MachineProbe> probe,
             std::unique_ptr<Backend> backend)
    : model_(std::move(model)),
      options_(options),
      facts_(std::move(facts)),
      limits_(limits),
      probe_(std::move(probe)),
      backend_(std::move(backend)) {}

absl::StatusOr<std::unique_ptr<Schedule>> Bench::MakeSchedule() {
  ScheduleOptions schedule_options;
  schedule_options.limits = limits_;
  schedule_options.entries_per_page = PageEntries(model_->config);
  schedule_options.vocab_size = model_->config.vocab_size;
  schedule_options.policy = options_.policy;
  schedule_options.headroom = 0;  // the pool has pages for every stream to its end
  schedule_options.prefix_cache = options_.prefix_cache;
  schedule_options.max_queued_requests = options_.streams;
  schedule_options.max_queued_tokens =
      uint64_t{options_.streams} * (options_.prompt_tokens + options_.new_tokens);
  const StepShape shape = ShapeOf(model_->config);
  if (options_.measures_costs && facts_.computes && !costs_.has_value()) {
    ASSIGN_OR_RETURN(costs_, MeasureCosts(*backend_, schedule_options, shape));
  }
  schedule_options.costs = costs_.value_or(StageCosts());
  return Schedule::Create(schedule_options, shape, Clock::Steady());
}

absl::Status Bench::RunStreams(Schedule& schedule, Counter& counter, Totals& totals) {
  counter.set_first_position(options_.prompt_tokens);
  for (uint32_t stream = 0; stream < options_.streams; ++stream) {
    ScheduledSample sample = MakeSample(model_->config, options_, stream);
    sample.observer = &counter;
    RETURN_IF_ERROR(schedule.Add(std::move(sample)));
  }
  const auto next_plan = [&schedule] { return schedule.HasWork() ? &schedule.Plan() : nullptr; };
  const auto commit = [&schedule, &totals](const StepResult& result) {
    schedule.Commit(result);
    totals.Add(result);
  };
  RETURN_IF_ERROR(
      RunSteps(*backend_, options_.queue_depth.value_or(facts_.queue_depth), next_plan, commit));
  totals.end = std::chrono::steady_clock::now();
  // The last streams' drops reach the backend, so that the next run finds its slots free.
  RETURN_IF_ERROR(backend_->Submit(schedule.Plan()));
  StepResult result;
  RETURN_IF_ERROR(backend_->Collect(result));
  if (counter.failed()) return absl::InternalError("a stream ended before its last token");
  return absl::OkStatus();
}

absl::StatusOr<Measurement> Bench::Run() {
  Measurement m;
  if (probe_ != nullptr) m.rates = probe_->Measure();
  ASSIGN_OR_RETURN(const auto schedule, MakeSchedule());
  Counter counter(options_.streams);
  Totals totals;
  if (absl::Status status = RunStreams(*schedule, counter, totals); !status.ok()) {
    schedule->EndAll(EndReason::kFailed, status);  // as a schedule demands before it goes
    return status;
  }
  TellTimes(counter, totals, m);
  TellMemory(schedule->counters(), m);
  TellBound(schedule->counters(), m);
  return m;
}

void Bench::TellTimes(const Counter& counter, const Totals& totals, Measurement& m) const {
  const auto seconds = [](auto from, auto to) {
    return std::max(1e-9, std::chrono::duration<double>(to - from).count());
  };
  const double total = seconds(counter.begin(), totals.end);
  m.tokens_per_second = static_cast<double>(counter.tokens_after_all_started()) /
                        seconds(counter.all_started(), totals.end);
  m.steady_tokens_per_second = static_cast<double>(counter.steady_tokens()) /
                               seconds(counter.all_started(), counter.first_end());
  m.prompt_tokens_per_second = static_cast<double>(options_.streams) * options_.prompt_tokens /
                               seconds(counter.begin(), counter.all_started());
  m.ended_early = counter.ended_early();
  m.first_token_seconds = counter.mean_first_token_seconds();
  m.steps = totals.steps;
  const double steps = static_cast<double>(totals.steps);
  m.step_seconds = total / steps;
  m.idle_share = 1;
  for (uint32_t part = 0; part < kStepParts; ++part) {
    m.part_rows[part] = static_cast<double>(totals.part_rows[part]) / steps;
    m.stage_seconds[part] = static_cast<double>(totals.part_ns[part]) * 1e-9 / steps;
    m.attention_seconds[part] = static_cast<double>(totals.attention_ns[part]) * 1e-9 / steps;
    m.idle_share -= m.stage_seconds[part] / m.step_seconds;
  }
  m.rows_per_step = m.part_rows[kPartBlock];
  m.mean_depth = static_cast<double>(totals.part_rows[kPartBlock]) /
                 std::max<double>(1, static_cast<double>(totals.part_rows[kPartEntry]));
}

void Bench::TellMemory(const ScheduleCounters& counters, Measurement& m) const {
  const ModelConfig& config = model_->config;
  const uint64_t page_bytes = facts_.page_bytes;
  m.kv_bytes_peak = page_bytes * counters.pages_filled_peak;
  m.kv_bytes_reserved_peak = page_bytes * counters.pages_in_use_peak;
  for (const ScheduleCounters::Group& group : counters.groups) {
    m.kv_bytes_peak_by_group.emplace_back(group.name, page_bytes * group.filled_peak);
  }
  m.cached_prompt_share = static_cast<double>(counters.prefix_tokens_found) /
                          (static_cast<double>(options_.streams) * options_.prompt_tokens);
  const double context = Context();
  const std::vector<double> shares = SharesOf(counters, config.recursions());
  m.flop_ratio =
      FlopsPerToken(VanillaTwin(config), {1.0}, context) / FlopsPerToken(config, shares, context);
  m.bytes_per_token = BytesPerToken(
      config, shares, context, static_cast<double>(options_.number_bytes), options_.kv_precision);
}

void Bench::TellBound(const ScheduleCounters& counters, Measurement& m) const {
  if (!m.rates.has_value()) return;
  const SizeAnswer bound =
      ComputeSize(model_->config, {.streams = options_.streams,
                                   .context = static_cast<uint32_t>(Context()),
                                   .number_bytes = options_.number_bytes,
                                   .page_bytes = facts_.page_bytes,
                                   .shares = SharesOf(counters, model_->config.recursions()),
                                   .bytes_per_second = m.rates->bytes_per_second,
                                   .flops_per_second = m.rates->flops_per_second});
  m.bound_share = m.tokens_per_second / bound.tokens_per_second;
  m.ideal_ratio =
      IdealRatio(model_->config, {.streams = options_.streams,
                                  .block_rows = limits_.block_rows,
                                  .shares = SharesOf(counters, model_->config.recursions()),
                                  .context = Context(),
                                  .number_bytes = options_.number_bytes,
                                  .kv_precision = options_.kv_precision,
                                  .bytes_per_second = m.rates->bytes_per_second,
                                  .flops_per_second = m.rates->flops_per_second});
}

double Bench::Context() const { return options_.prompt_tokens + options_.new_tokens / 2.0; }

std::vector<KernelFigures> Bench::CountKernels(const Measurement& m) const {
  const ModelConfig& config = model_->config;
  // Recursions that keep entries of their own see those of the tokens that came as far: if depths
  // are spread evenly, in the mean over recursions mean_depth / recursions of all.
  const bool own_entries = config.kv_mode == KvMode::kRecursionWise;
  const double seen = own_entries ? m.mean_depth / config.recursions() : 1;
  std::vector<KernelFigures> counted;
  for (const KernelWork& kernel : backend_->CountedKernels()) {
    const StepPart part = kernel.work.part;
    const double entries = Context() * (part == kPartBlock ? seen : 1);
    counted.push_back({kernel.name, part, kernel.launches,
                       kernel.work.Bytes(m.part_rows[part], entries),
                       kernel.work.Flops(m.part_rows[part], entries)});
  }
  return counted;
}

}  // namespace recurve
