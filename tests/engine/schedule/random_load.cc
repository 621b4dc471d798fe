// SPDX-License-Identifier: Apache-2.0
#include "tests/engine/schedule/random_load.h"

#include <algorithm>
#include <array>
#include <chrono>
#include <map>
#include <memory>
#include <optional>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "engine/schedule/schedule.h"
#include "tests/engine/schedule/cap_witness.h"
#include "tests/engine/schedule/fake_model.h"
#include "tests/engine/schedule/recorder.h"

namespace recurve {
namespace {

using std::chrono::milliseconds;

// A load and its run. Errors are texts; the first one wins.
class RandomLoad {
 public:
  RandomLoad(uint64_t seed, FakeFault fault, LoadFigures& figures)
      : random_(seed), fault_(fault), figures_(figures) {}

  std::string Run();

 private:
  struct Load {
    ScheduledRequest request;
    bool stop_strings = false;
    uint64_t added_at = 0;  // iteration
    std::optional<uint64_t> cancelled_at;
    bool accepted = false;
    bool cancelled = false;  // Cancel found it
    std::unique_ptr<Recorder> recorder;
  };

  uint32_t Draw(uint32_t low, uint32_t high) {
    return low + static_cast<uint32_t>(random_() % (high - low + 1));
  }
  bool Chance(double p) { return static_cast<double>(random_() % 10'000) < p * 10'000; }

  void DrawModel();
  void DrawOptions();
  KvBudget DrawBudget();
  ScheduledRequest DrawRequest(uint64_t id);
  void AlignWith(const ScheduledRequest& first, ScheduledRequest& request);
  void DrawPages();
  std::string Loop();
  std::string Act(uint64_t iteration);
  std::string CheckPlan(const StepPlan& plan, uint64_t preemptions_before) const;
  std::string CheckOrder() const;
  std::string CheckAll();
  std::string CheckLoad(const Load& load);
  std::string CheckEnding(const Load& load, const Expected& expected) const;

  std::mt19937_64 random_;
  const FakeFault fault_;
  LoadFigures& figures_;
  FakeModel model_;
  ScheduleOptions options_;
  uint32_t depth_ = 0;  // of the step queue
  std::vector<Load> loads_;
  std::optional<uint64_t> drained_at_;
  bool drained_ = false;
  FakeClock clock_;
  std::vector<uint64_t> started_order_;
  std::unique_ptr<Schedule> schedule_;
  std::unique_ptr<FakeBackend> backend_;
  CapWitness witness_{0};
};

void RandomLoad::DrawModel() {
  model_.seed = random_();
  model_.shape = {Draw(1, 4), Chance(0.25) ? 1U : 0U};
  model_.routing = static_cast<FakeModel::Routing>(Draw(0, 2));
  model_.vocab = 64;
  EntriesPerPage& per_page = options_.entries_per_page;
  const bool has_ends = Chance(0.75);
  const uint32_t block = Draw(1, 5);
  const uint32_t exit = model_.shape.exit_group();
  for (uint32_t group = 1; group < exit; ++group) per_page[group] = block;
  per_page[0] = per_page[exit] = has_ends ? block * Draw(1, 3) : 0;
}

void RandomLoad::DrawOptions() {
  BackendLimits& limits = options_.limits;
  limits.slots = Draw(1, 6);
  limits.areas = Draw(1, 3);
  limits.chunk = Draw(1, 8);
  limits.ends = Draw(1, 6);
  limits.block_rows = Draw(1, 8);
  limits.prompt_rows = limits.chunk + Draw(0, 8);
  limits.max_positions = Draw(16, 48);
  limits.max_logprobs = 2;
  options_.vocab_size = model_.vocab;
  options_.eos_ids = {1, 2};
  options_.policy = *Policy::FromName(Chance(0.5) ? "depthwise" : "lockstep");
  options_.default_max_tokens = Draw(1, 24);
  options_.max_queued_requests = Draw(2, 12);
  options_.max_queued_tokens = limits.max_positions + Draw(0, 200);
  depth_ = Draw(0, 2);
  options_.prefix_cache = Chance(0.7);
  options_.prefix_chunk = Draw(1, 6);
  const bool adapts = model_.shape.recursions > 1 && Chance(0.5);
  if (adapts) options_.queue_time_goal = milliseconds(Draw(1, 6));
}

KvBudget RandomLoad::DrawBudget() {
  KvBudget budget;
  budget.policy = static_cast<EvictionPolicy>(Draw(1, 3));
  budget.every = Draw(1, 9);
  budget.sinks = Draw(0, 2);
  budget.recent = Draw(0, 2);
  const uint32_t least = std::max(1U, budget.sinks + budget.recent);
  for (uint32_t group = 0; group < model_.shape.groups(); ++group) {
    if (Chance(0.3)) continue;
    GroupBudget& limit = budget.groups[group];
    (Chance(0.7) ? limit.entries : limit.percent) = Draw(least, 12);
  }
  return budget;
}

ScheduledRequest RandomLoad::DrawRequest(uint64_t id) {
  ScheduledRequest request;
  request.id = id;
  const uint32_t context = options_.limits.max_positions;
  const uint32_t prompt = Chance(0.1) ? 1 : Draw(1, context - 1);
  for (uint32_t i = 0; i < prompt; ++i) request.prompt.push_back(Draw(0, model_.vocab - 1));
  request.cache_prompt = Chance(0.9);
  request.cache_generated = Chance(0.3);
  request.generated_prefix = Chance(0.2) ? Draw(0, prompt) : 0;
  if (Chance(0.8)) request.max_tokens = Draw(1, context - prompt);
  request.sampling.seed_low = static_cast<uint32_t>(random_());
  if (Chance(0.3)) request.threshold_logit = static_cast<float>(Draw(1, 9));
  if (Chance(0.3)) {
    for (uint32_t position = 0; position < 60; position += Draw(1, 40)) {
      request.caps.push_back({position, Draw(1, model_.shape.recursions)});
    }
  }
  if (Chance(0.5)) request.adaptive_min = Draw(1, std::min(2U, model_.shape.recursions));
  if (Chance(0.4)) request.logprobs = Draw(0, 2);
  request.prompt_logprobs = request.logprobs.has_value() && Chance(0.6);
  request.store_prompt = request.id % 2 == 0;
  if (request.prompt_logprobs && Chance(0.2)) request.max_tokens = 0;
  request.ignore_eos = Chance(0.5);
  if (Chance(0.2)) request.biases = {{Draw(0, model_.vocab - 1), 1.0F}};
  if (Chance(0.3)) request.stop_ids = {Draw(0, model_.vocab - 1)};
  if (Chance(0.1)) request.deadline = clock_.now + milliseconds(Draw(0, 150));
  if (Chance(0.1)) request.time_limit = clock_.now + milliseconds(Draw(0, 150));
  if (Chance(0.1)) request.queue_deadline = clock_.now + milliseconds(Draw(0, 60));
  if (Chance(0.4)) request.budget = DrawBudget();
  if (IsEndless(request, options_)) {
    // Up to 12 entries and 9 more until they go.
    request.max_tokens = Draw(1, context >= 24 ? 3 * context : context - prompt);
  }
  if (Chance(0.4)) request.priority = static_cast<Priority>(Draw(0, 2));
  if (Chance(0.4)) request.tenant = Chance(0.5) ? "a" : "b";
  return request;
}

// Gives both prompts the same beginning, and its tokens as a rule the same entries.
void RandomLoad::AlignWith(const ScheduledRequest& first, ScheduledRequest& request) {
  const size_t shorter = std::min(first.prompt.size(), request.prompt.size());
  std::copy_n(first.prompt.begin(), random_() % (shorter + 1), request.prompt.begin());
  if (Chance(0.7)) request.prompt_logprobs = request.max_tokens == 0;
  request.tenant = first.tenant;
  if (Chance(0.9)) request.caps = first.caps;
  for (DepthCap& change : request.caps) {
    if (Chance(0.1)) change.cap = Draw(1, model_.shape.recursions);
  }
  if (Chance(0.8)) request.threshold_logit = first.threshold_logit;
  if (IsEndless(request, options_) == IsEndless(first, options_)) request.budget = first.budget;
}

// A pool that holds any single request, often little more.
void RandomLoad::DrawPages() {
  PagePool pool(1);
  const PageTables tables(&pool, 1, model_.shape, options_.entries_per_page);
  uint32_t least = model_.shape.groups();
  for (const Load& load : loads_) {
    const uint32_t tokens = NewTokens(load.request, options_);
    const uint32_t end = static_cast<uint32_t>(load.request.prompt.size()) - 1 + tokens;
    least = std::max(least, tables.PagesFor(end, load.request.budget));
  }
  const uint32_t extra[] = {0, Draw(0, least / 2), Draw(0, 2 * least), 8 * least};
  options_.limits.pages = least + extra[Draw(0, 3)];
  options_.headroom = Chance(0.5) ? 0 : Draw(1, 12);
  options_.max_preemptions = Draw(1, 4);
}

std::string RandomLoad::Run() {
  DrawModel();
  DrawOptions();
  loads_.resize(Draw(1, 10));
  const bool all_at_once = Chance(0.3);
  const bool alike = Chance(0.5);
  for (size_t i = 0; i < loads_.size(); ++i) {
    Load& load = loads_[i];
    load.request = DrawRequest(100 + i);
    if (i > 0 && alike && Chance(0.9)) AlignWith(loads_[0].request, load.request);
    const uint32_t most = load.request.generated_prefix + NewTokens(load.request, options_);
    if (Chance(0.3)) load.request.min_tokens = Draw(0, std::min(10U, most));
    load.stop_strings = Chance(0.2);
    load.added_at = all_at_once ? 0 : Draw(0, 60);
    if (Chance(0.15)) load.cancelled_at = load.added_at + Draw(0, 60);
    load.recorder = std::make_unique<Recorder>(load.request.id, load.stop_strings, &started_order_);
  }
  if (Chance(0.05)) drained_at_ = Draw(0, 100);
  DrawPages();
  auto schedule = Schedule::Create(options_, model_.shape, &clock_);
  if (!schedule.ok()) return schedule.status().ToString();
  schedule_ = *std::move(schedule);
  backend_ = std::make_unique<FakeBackend>(model_, options_.limits, options_.entries_per_page,
                                           random_(), fault_);
  witness_ = CapWitness(model_.shape.recursions);
  std::string error = Loop();
  if (error.empty()) error = CheckAll();
  if (!error.empty()) schedule_->EndAll(EndReason::kFailed, absl::InternalError("test failed"));
  return error;
}

// The engine's loop, as it stands in schedule.h.
std::string RandomLoad::Loop() {
  StepResult result;
  for (uint64_t iteration = 0; iteration < 20'000; ++iteration) {
    if (std::string error = Act(iteration); !error.empty()) return error;
    if (schedule_->HasWork()) {
      const uint64_t preemptions = schedule_->counters().preemptions_for_memory;
      const StepPlan& plan = schedule_->Plan();
      witness_.See(plan, schedule_->counters());
      if (std::string error = CheckPlan(plan, preemptions); !error.empty()) return error;
      const absl::Status status = backend_->Submit(plan);
      if (!status.ok()) return status.ToString();
      ++figures_.steps;
    } else if (backend_->Outstanding() == 0 && iteration > 200) {
      return "";
    }
    if (backend_->Outstanding() > (schedule_->HasWork() ? depth_ : 0)) {
      const absl::Status status = backend_->Collect(result);
      if (!status.ok()) return status.ToString();
      if (!backend_->violation().empty()) return backend_->violation();
      schedule_->Commit(result);
    }
    clock_.now += milliseconds(1);
  }
  return "some request never ends";
}

std::string RandomLoad::Act(uint64_t iteration) {
  if (drained_at_ == iteration) {
    drained_ = true;
    schedule_->EndAll(EndReason::kDrained, absl::OkStatus());
  }
  for (Load& load : loads_) {
    if (load.added_at == iteration && !drained_) {
      ScheduledRequest request = load.request;
      request.observer = load.recorder.get();
      const absl::Status status = schedule_->Add(std::move(request));
      load.accepted = status.ok();
      if (!status.ok() && !absl::IsResourceExhausted(status)) return status.ToString();
    }
    if (load.cancelled_at == iteration) load.cancelled = schedule_->Cancel(load.request.id);
  }
  return "";
}

std::string RandomLoad::CheckPlan(const StepPlan& plan, uint64_t preemptions_before) const {
  if (schedule_->counters().preemptions_for_memory > preemptions_before && !plan.admits.empty()) {
    return "a plan preempts and admits";
  }
  return "";
}

// A tenant's requests of one priority start in the order of their arrival, unless some wait for
// others' prefixes.
std::string RandomLoad::CheckOrder() const {
  if (options_.prefix_cache) return "";
  using Line = std::pair<Priority, std::string>;
  std::map<Line, std::vector<uint64_t>> arrived, started;
  std::map<uint64_t, Line> line_of;
  std::vector<const Load*> added;
  for (const Load& load : loads_) added.push_back(&load);
  std::stable_sort(added.begin(), added.end(),
                   [](const Load* a, const Load* b) { return a->added_at < b->added_at; });
  for (const Load* load : added) {
    const Line line = {load->request.priority, load->request.tenant};
    line_of[load->request.id] = line;
    if (load->recorder->started > 0) arrived[line].push_back(load->request.id);
  }
  for (const uint64_t id : started_order_) started[line_of[id]].push_back(id);
  return arrived == started ? ""
                            : "a tenant's requests did not start in the order of their arrival";
}

std::string RandomLoad::CheckAll() {
  for (const Load& load : loads_) {
    std::string error = CheckLoad(load);
    if (!error.empty()) {
      return absl::StrCat("request ", load.request.id, " (", load.request.prompt.size(),
                          " prompt tokens, depth ", depth_, ", ",
                          std::string(EndReasonName(load.recorder->ending.reason)), "): ", error);
    }
  }
  if (std::string error = CheckOrder(); !error.empty()) return error;
  const ScheduleCounters counters = schedule_->counters();
  if (counters.pages_reserved != 0 || counters.pages_filled != 0 || counters.running != 0 ||
      counters.waiting != 0 || counters.waiting_tokens != 0) {
    return "pages or requests are left";
  }
  if (!options_.prefix_cache && counters.pages_filled_peak > counters.pages_in_use_peak) {
    return "more pages were filled than reserved";
  }
  for (uint32_t group = 0; group < kMaxGroups; ++group) {
    if (counters.groups[group].reserved != 0) return "a group's pages are miscounted";
  }
  if (!witness_.Counts(counters)) return "miscounted the depth that was given up";
  witness_.AddTo(figures_);
  figures_.preemptions += counters.preemptions_for_memory;
  figures_.priority_preemptions += counters.preemptions_for_priority;
  for (const ScheduleCounters::Group& group : counters.groups) {
    for (const uint64_t evicted : group.evicted) figures_.evicted += evicted;
  }
  figures_.recomputed_rows += counters.recomputed_rows;
  figures_.cached_tokens += counters.prefix_tokens_found;
  return "";
}

std::string RandomLoad::CheckLoad(const Load& load) {
  const Recorder& told = *load.recorder;
  if (!load.accepted) {
    if (told.started + told.ended > 0) return "heard of though refused";
    ++figures_.refused;
    return "";
  }
  if (told.ended != 1) return absl::StrCat("ended ", told.ended, " times");
  if (told.started > 1) return "started more than once";
  if (!told.in_order) return "rows or tokens out of order";
  const Expected expected =
      ComputeAlone(model_, witness_.AsRun(load.request), options_, load.stop_strings);
  const size_t prompt = load.request.prompt.size();
  const size_t count = told.tokens.size();
  if (count > expected.tokens.size() ||
      !std::equal(told.tokens.begin(), told.tokens.end(), expected.tokens.begin())) {
    return absl::StrCat("other tokens than alone (", count, " told)");
  }
  if (count > 0 && told.first_position != prompt) return "odd position of the first token";
  if (told.prompt_depths.size() > expected.row_depths.size() ||
      !std::equal(told.prompt_depths.begin(), told.prompt_depths.end(),
                  expected.row_depths.begin())) {
    return "other depths of the prompt than alone";
  }
  if (!std::equal(told.token_depths.begin(), told.token_depths.end(),
                  expected.row_depths.begin() + static_cast<std::ptrdiff_t>(prompt) - 1)) {
    return "other depths of tokens than alone";
  }
  const size_t per_position = 1 + load.request.logprobs.value_or(0);
  if (!SameLogprobs(told.token_logprobs, expected.token_logprobs,
                    load.request.logprobs.has_value() ? count * per_position : 0)) {
    return "other log probabilities than alone";
  }
  // Row p speaks of position p + 1, so the last row of the prompt does not count.
  const size_t rows = std::min(told.prompt_depths.size(), prompt - 1);
  if (!SameLogprobs(told.prompt_logprobs, expected.prompt_logprobs,
                    load.request.prompt_logprobs ? rows * per_position : 0)) {
    return "other prompt log probabilities than alone";
  }
  figures_.tokens += count;
  ++figures_.requests;
  ++figures_.by_reason[static_cast<size_t>(told.ending.reason)];
  const std::string error = witness_.Check(load.request, told.ending, expected.row_depths);
  return error.empty() ? CheckEnding(load, expected) : error;
}

std::string RandomLoad::CheckEnding(const Load& load, const Expected& expected) const {
  const Recorder& told = *load.recorder;
  const Ending& ending = told.ending;
  const size_t prompt = load.request.prompt.size();
  if (ending.prompt_tokens != prompt || ending.generated_tokens != told.tokens.size()) {
    return "miscounted tokens";
  }
  std::array<uint32_t, kMaxGroups> by_depth{};
  for (const uint32_t depth : told.prompt_depths) ++by_depth[depth];
  if (by_depth != ending.prompt_rows_by_depth) return "odd histogram of the prompt's depths";
  if (ending.preemptions > options_.max_preemptions) return "preempted too often";
  if (ending.cached_tokens % options_.prefix_chunk != 0 ||
      ending.cached_tokens > (options_.prefix_cache ? prompt - 1 : 0)) {
    return "odd number of cached tokens";
  }
  const bool is_due =
      (ending.reason == EndReason::kQueueTimeout && load.request.queue_deadline.has_value() &&
       *load.request.queue_deadline <= ending.ended && told.started == 0) ||
      (ending.reason == EndReason::kDeadline && load.request.deadline.has_value() &&
       *load.request.deadline <= ending.ended) ||
      (ending.reason == EndReason::kTimeLimit && load.request.time_limit.has_value() &&
       *load.request.time_limit <= ending.ended);
  if (is_due || (ending.reason == EndReason::kCancelled && load.cancelled) ||
      (ending.reason == EndReason::kDrained && drained_)) {
    return "";
  }
  if (ending.reason != expected.reason) return "another reason than alone";
  if (told.tokens.size() != expected.tokens.size()) return "fewer tokens than alone";
  if (told.prompt_depths.size() != std::min(prompt, expected.row_depths.size())) {
    return "not all of the prompt was told";
  }
  by_depth = {};
  for (size_t i = prompt; i < expected.row_depths.size(); ++i) ++by_depth[expected.row_depths[i]];
  if (by_depth != ending.generated_rows_by_depth) return "odd histogram of depths";
  // A deadline holds from the first plan after it.
  const bool was_late = ending.admitted > load.request.queue_deadline;
  if (load.request.queue_deadline.has_value() && was_late) return "admitted after its time";
  for (const auto& due : {load.request.deadline, load.request.time_limit}) {
    if (due.has_value() && ending.ended > *due + milliseconds(1)) return "ended after its time";
  }
  return "";
}

}  // namespace

std::string RunRandomLoad(uint64_t seed, FakeFault fault, LoadFigures& figures) {
  return RandomLoad(seed, fault, figures).Run();
}

}  // namespace recurve
