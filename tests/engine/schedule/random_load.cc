// SPDX-License-Identifier: Apache-2.0
#include "tests/engine/schedule/random_load.h"

#include <algorithm>
#include <array>
#include <chrono>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "engine/schedule/schedule.h"
#include "engine/schedule/step_loop.h"
#include "tests/engine/schedule/cap_witness.h"
#include "tests/engine/schedule/drawn_load.h"
#include "tests/engine/schedule/fake_model.h"
#include "tests/engine/schedule/recorder.h"

namespace recurve {
namespace {

using std::chrono::milliseconds;

// A load and its run. Errors are texts; the first one wins.
class RandomLoad {
 public:
  RandomLoad(uint64_t seed, const LoadBackendMaker& make_backend, LoadFigures& figures)
      : drawn_(DrawLoad(seed, clock_.now)), make_backend_(make_backend), figures_(figures) {}

  std::string Run();

 private:
  struct Load : DrawnSample {
    bool accepted = false;
    bool cancelled = false;  // Cancel found it
    std::unique_ptr<Recorder> recorder;
  };

  std::string Loop();
  const StepPlan* NextPlan();
  const StepPlan* MakePlan();
  std::string Act(uint64_t iteration);
  std::string Add(size_t i);
  std::string CheckPlan(const StepPlan& plan, uint64_t preemptions_before) const;
  std::string CheckOrder() const;
  std::string CheckAll();
  std::string CheckLoad(const Load& load);
  std::string CheckEnding(const Load& load, const Expected& expected) const;

  FakeClock clock_;
  const DrawnLoad drawn_;
  const LoadBackendMaker& make_backend_;
  LoadFigures& figures_;
  const FakeModel& model_ = drawn_.model;
  const ScheduleOptions& options_ = drawn_.options;
  std::vector<Load> loads_;
  uint64_t iteration_ = 0;  // the next one
  std::string error_;       // the first one
  bool drained_ = false;
  std::vector<uint64_t> started_order_;
  std::unique_ptr<Schedule> schedule_;
  std::unique_ptr<Backend> backend_;
  CapWitness witness_{0};
};

std::string RandomLoad::Run() {
  for (const DrawnSample& drawn : drawn_.samples) {
    Load& load = loads_.emplace_back(Load{drawn, false, false, nullptr});
    load.recorder = std::make_unique<Recorder>(load.sample.id, load.stop_strings, &started_order_);
  }
  auto schedule = Schedule::Create(options_, model_.shape, &clock_);
  if (!schedule.ok()) return schedule.status().ToString();
  schedule_ = *std::move(schedule);
  backend_ = make_backend_(drawn_);
  if (backend_ == nullptr) return "there is no backend";
  witness_ = CapWitness(model_.shape.recursions);
  std::string error = Loop();
  if (error.empty()) error = CheckAll();
  if (!error.empty()) schedule_->EndAll(EndReason::kFailed, absl::InternalError("test failed"));
  return error;
}

std::string RandomLoad::Loop() {
  const auto next_plan = [this] { return NextPlan(); };
  const auto commit = [this](const StepResult& result) { schedule_->Commit(result); };
  const absl::Status status = RunSteps(*backend_, drawn_.depth, next_plan, commit);
  if (!error_.empty()) return error_;
  return status.ok() ? "" : status.ToString();
}

// Lets time pass until there is something to run. Null: a result must come first, or all is over,
// or error_ says what is wrong.
const StepPlan* RandomLoad::NextPlan() {
  while (error_.empty()) {
    const uint64_t iteration = iteration_++;
    if (iteration > 0) clock_.now += milliseconds(1);
    error_ = iteration < 20'000 ? Act(iteration) : "some request never ends";
    if (error_.empty() && schedule_->HasWork()) return MakePlan();
    if (backend_->Outstanding() > 0 || iteration > 200) return nullptr;
  }
  return nullptr;
}

const StepPlan* RandomLoad::MakePlan() {
  const uint64_t preemptions = schedule_->counters().preemptions_for_memory;
  const StepPlan& plan = schedule_->Plan();
  witness_.See(plan, schedule_->counters());
  error_ = CheckPlan(plan, preemptions);
  if (!error_.empty()) return nullptr;
  ++figures_.steps;
  figures_.copies += plan.copies.size();
  if (!plan.copies.empty() && !plan.evicts.empty()) ++figures_.mixed_plans;
  const size_t changes = options_.limits.plan_changes;
  if (plan.pages.size() == changes || plan.tokens.size() == changes ||
      plan.caps.size() == changes) {
    ++figures_.full_plans;
  }
  for (const Admission& admission : plan.admits) {
    if (admission.limits.room == admission.state.position) ++figures_.held;
  }
  return &plan;
}

std::string RandomLoad::Act(uint64_t iteration) {
  if (drawn_.drained_at == iteration) {
    drained_ = true;
    schedule_->EndAll(EndReason::kDrained, absl::OkStatus());
  }
  for (size_t i = 0; i < loads_.size(); ++i) {
    Load& load = loads_[i];
    const bool comes_first = load.added_at == iteration && !load.comes_with_last;
    if (comes_first && !drained_) {
      if (std::string error = Add(i); !error.empty()) return error;
    }
    if (load.cancelled_at == iteration) load.cancelled = schedule_->Cancel(load.sample.id);
  }
  return "";
}

// The i-th sample and the samples that come with it.
std::string RandomLoad::Add(size_t i) {
  size_t end = i + 1;
  while (end < loads_.size() && loads_[end].comes_with_last) ++end;
  std::vector<ScheduledSample> samples;
  for (size_t j = i; j < end; ++j) {
    samples.push_back(loads_[j].sample);
    samples.back().observer = loads_[j].recorder.get();
  }
  const absl::Status status = schedule_->AddAll(std::move(samples));
  for (size_t j = i; j < end; ++j) loads_[j].accepted = status.ok();
  return status.ok() || absl::IsResourceExhausted(status) ? "" : status.ToString();
}

std::string RandomLoad::CheckPlan(const StepPlan& plan, uint64_t preemptions_before) const {
  if (schedule_->counters().preemptions_for_memory > preemptions_before && !plan.admits.empty()) {
    return "a plan preempts and admits";
  }
  return "";
}

// A tenant's samples of one priority start in the order of their arrival, unless some wait for
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
    const Line line = {load->sample.priority, load->sample.tenant};
    line_of[load->sample.id] = line;
    if (load->recorder->started > 0) arrived[line].push_back(load->sample.id);
  }
  for (const uint64_t id : started_order_) started[line_of[id]].push_back(id);
  return arrived == started ? ""
                            : "a tenant's requests did not start in the order of their arrival";
}

std::string RandomLoad::CheckAll() {
  for (const Load& load : loads_) {
    std::string error = CheckLoad(load);
    if (!error.empty()) {
      return absl::StrCat("request ", load.sample.id, " (", load.sample.prompt.size(),
                          " prompt tokens, depth ", drawn_.depth, ", ",
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
  for (const ScheduleCounters::Group& group : counters.groups) {
    if (group.reserved != 0) return "a group's pages are miscounted";
  }
  if (!witness_.Counts(counters)) return "miscounted the depth that was given up";
  witness_.AddTo(figures_);
  figures_.preemptions += counters.preemptions_for_memory;
  figures_.continued_plans += counters.full_plans;
  figures_.priority_preemptions += counters.preemptions_for_priority;
  for (const ScheduleCounters::Group& group : counters.groups) {
    figures_.evicted += group.evicted_by_all();
  }
  figures_.recomputed_rows += counters.recomputed_tokens;
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
      ComputeAlone(model_, witness_.AsRun(load.sample), options_, load.stop_strings);
  const size_t prompt = load.sample.prompt.size();
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
  const size_t per_position = 1 + load.sample.logprobs.value_or(0);
  if (!SameLogprobs(told.token_logprobs, expected.token_logprobs,
                    load.sample.logprobs.has_value() ? count * per_position : 0)) {
    return "other log probabilities than alone";
  }
  // Row p speaks of position p + 1, so the last row of the prompt does not count.
  const size_t rows = std::min(told.prompt_depths.size(), prompt - 1);
  if (!SameLogprobs(told.prompt_logprobs, expected.prompt_logprobs,
                    load.sample.prompt_logprobs ? rows * per_position : 0)) {
    return "other prompt log probabilities than alone";
  }
  figures_.tokens += count;
  ++figures_.samples;
  ++figures_.by_reason[static_cast<size_t>(told.ending.reason)];
  const std::string error = witness_.Check(load.sample, told.ending, expected.row_depths);
  return error.empty() ? CheckEnding(load, expected) : error;
}

std::string RandomLoad::CheckEnding(const Load& load, const Expected& expected) const {
  const Recorder& told = *load.recorder;
  const Ending& ending = told.ending;
  const size_t prompt = load.sample.prompt.size();
  if (ending.prompt_tokens != prompt || ending.generated_tokens != told.tokens.size()) {
    return "miscounted tokens";
  }
  std::vector<uint64_t> by_depth(schedule_->shape().recursions);
  for (const uint32_t depth : told.prompt_depths) ++by_depth[depth - 1];
  if (by_depth != ending.prompt_depth.rows_by_depth || by_depth != ending.prompt_depth.by_depth) {
    return "odd histogram of the prompt's depths";
  }
  by_depth.assign(by_depth.size(), 0);
  for (const uint32_t depth : told.token_depths) ++by_depth[depth - 1];
  if (by_depth != ending.generated_depth.by_depth) return "odd histogram of the tokens' depths";
  if (ending.preemptions > options_.max_preemptions) return "preempted too often";
  if (ending.cached_tokens % options_.prefix_node_tokens != 0 ||
      ending.cached_tokens > (options_.prefix_cache ? prompt - 1 : 0)) {
    return "odd number of cached tokens";
  }
  const bool is_due =
      (ending.reason == EndReason::kQueueTimeout && load.sample.queue_deadline.has_value() &&
       *load.sample.queue_deadline <= ending.ended && told.started == 0) ||
      (ending.reason == EndReason::kDeadline && load.sample.deadline.has_value() &&
       *load.sample.deadline <= ending.ended) ||
      (ending.reason == EndReason::kTimeLimit && load.sample.time_limit.has_value() &&
       *load.sample.time_limit <= ending.ended);
  if (is_due || (ending.reason == EndReason::kCancelled && load.cancelled) ||
      (ending.reason == EndReason::kDrained && drained_)) {
    return "";
  }
  if (ending.reason != expected.reason) return "another reason than alone";
  if (told.tokens.size() != expected.tokens.size()) return "fewer tokens than alone";
  if (told.prompt_depths.size() != std::min(prompt, expected.row_depths.size())) {
    return "not all of the prompt was told";
  }
  by_depth.assign(by_depth.size(), 0);
  for (size_t i = prompt; i < expected.row_depths.size(); ++i) {
    ++by_depth[expected.row_depths[i] - 1];
  }
  if (by_depth != ending.generated_depth.rows_by_depth) return "odd histogram of depths";
  // A deadline holds from the first plan after it.
  const bool was_late = ending.admitted > load.sample.queue_deadline;
  if (load.sample.queue_deadline.has_value() && was_late) return "admitted after its time";
  for (const auto& due : {load.sample.deadline, load.sample.time_limit}) {
    if (due.has_value() && ending.ended > *due + milliseconds(1)) return "ended after its time";
  }
  return "";
}

}  // namespace

std::string RunRandomLoad(uint64_t seed, const LoadBackendMaker& make_backend,
                          LoadFigures& figures) {
  return RandomLoad(seed, make_backend, figures).Run();
}

std::string RunRandomLoad(uint64_t seed, FakeFault fault, LoadFigures& figures) {
  const auto make_backend = [fault](const DrawnLoad& load) {
    auto backend = std::make_unique<FakeBackend>(
        load.model, load.options.limits, load.options.entries_per_page, load.backend_seed, fault);
    const BackendLimits& limits = load.options.limits;
    if (!load.options.policy.ends_min().has_value()) {
      // As many steps as all slots need for all recursions; whoever plans ahead knows later.
      const uint32_t turns = (limits.slots + limits.block_rows - 1) / limits.block_rows;
      backend->set_longest_wait(std::max(load.model.shape.recursions * turns, load.depth));
    }
    return backend;
  };
  return RunRandomLoad(seed, make_backend, figures);
}

}  // namespace recurve
