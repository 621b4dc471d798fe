// SPDX-License-Identifier: Apache-2.0
#include "tests/engine/schedule/drawn_load.h"

#include <algorithm>
#include <chrono>
#include <random>
#include <utility>

#include "engine/kv/page_tables.h"

namespace recurve {
namespace {

using std::chrono::milliseconds;

class LoadDrawer {
 public:
  LoadDrawer(uint64_t seed, SteadyTime now) : random_(seed), now_(now) {}

  DrawnLoad Draw();

 private:
  // What the samples of a load have in common.
  enum class Kinship { kNone, kAlike, kCrowd };

  uint32_t Draw(uint32_t low, uint32_t high) {
    return low + static_cast<uint32_t>(random_() % (high - low + 1));
  }
  bool Chance(double p) { return static_cast<double>(random_() % 10'000) < p * 10'000; }

  void DrawModel();
  void DrawOptions();
  void DrawPlanChanges();
  KvBudget DrawBudget();
  ScheduledSample DrawSample(uint64_t id);
  void AlignWith(const ScheduledSample& first, ScheduledSample& sample);
  void DrawCrowd();
  void JoinCrowd(DrawnSample& drawn);
  void PassBy(DrawnSample& drawn);
  void GoOn(ScheduledSample& sample);
  void DrawPages();
  void DrawCosts();

  std::mt19937_64 random_;
  const SteadyTime now_;
  Kinship kinship_ = Kinship::kNone;
  bool own_budgets_ = false;  // some of a crowd's samples have others than the server's
  ScheduledSample crowd_;     // what a crowd has in common
  DrawnLoad load_;
  FakeModel& model_ = load_.model;
  ScheduleOptions& options_ = load_.options;
};

void LoadDrawer::DrawModel() {
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

void LoadDrawer::DrawOptions() {
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
  load_.depth = Draw(0, 2);
  options_.prefix_cache = Chance(0.7);
  options_.prefix_node_tokens = Draw(1, 6);
  const bool adapts = model_.shape.recursions > 1 && Chance(0.5);
  if (adapts) options_.queue_time_goal = milliseconds(Draw(1, 6));
}

// Often so few that a prompt, its caps and its pages take many plans.
void LoadDrawer::DrawPlanChanges() {
  if (Chance(0.5)) options_.limits.plan_changes = Chance(0.4) ? Draw(1, 3) : Draw(4, 24);
}

KvBudget LoadDrawer::DrawBudget() {
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

ScheduledSample LoadDrawer::DrawSample(uint64_t id) {
  ScheduledSample sample;
  sample.id = id;
  const uint32_t context = options_.limits.max_positions;
  const uint32_t prompt = Chance(0.1) ? 1 : Draw(1, context - 1);
  for (uint32_t i = 0; i < prompt; ++i) sample.prompt.push_back(Draw(0, model_.vocab - 1));
  sample.cache_prompt = Chance(0.9);
  sample.cache_generated = Chance(0.3);
  sample.generated_prefix = Chance(0.2) ? Draw(0, prompt) : 0;
  if (Chance(0.8)) sample.max_tokens = Draw(1, context - prompt);
  sample.sampling.seed_low = static_cast<uint32_t>(random_());
  sample.sampling.top_k = static_cast<uint32_t>(id);  // for CapWitness alone
  if (Chance(0.3)) sample.threshold_logit = static_cast<float>(Draw(1, 9));
  if (Chance(0.3)) {
    const uint32_t apart = Chance(0.3) ? 2 : 40;
    for (uint32_t position = 0; position < 60; position += Draw(1, apart)) {
      sample.caps.push_back({position, Draw(1, model_.shape.recursions)});
    }
  }
  if (Chance(0.5)) sample.adaptive_min = Draw(1, std::min(2U, model_.shape.recursions));
  if (Chance(0.4)) sample.logprobs = Draw(0, 2);
  sample.prompt_logprobs = sample.logprobs.has_value() && Chance(0.6);
  sample.store_prompt = sample.id % 2 == 0;
  if (sample.prompt_logprobs && Chance(0.2)) sample.max_tokens = 0;
  sample.ignore_eos = Chance(0.5);
  if (Chance(0.2)) sample.biases = {{Draw(0, model_.vocab - 1), 1.0F}};
  if (Chance(0.3)) sample.stop_token_ids = {Draw(0, model_.vocab - 1)};
  if (Chance(0.1)) sample.deadline = now_ + milliseconds(Draw(0, 150));
  if (Chance(0.1)) sample.time_limit = now_ + milliseconds(Draw(0, 150));
  if (Chance(0.1)) sample.queue_deadline = now_ + milliseconds(Draw(0, 60));
  if (Chance(0.4)) sample.budget = DrawBudget();
  if (IsEndless(sample, options_)) {
    // Up to 12 entries and 9 more until they go.
    sample.max_tokens = Draw(1, context >= 24 ? 3 * context : context - prompt);
  }
  if (Chance(0.4)) sample.priority = static_cast<Priority>(Draw(0, 2));
  if (Chance(0.4)) sample.tenant = Chance(0.5) ? "a" : "b";
  return sample;
}

// Gives both prompts the same beginning, and its tokens as a rule the same entries.
void LoadDrawer::AlignWith(const ScheduledSample& first, ScheduledSample& sample) {
  const size_t shorter = std::min(first.prompt.size(), sample.prompt.size());
  std::copy_n(first.prompt.begin(), random_() % (shorter + 1), sample.prompt.begin());
  if (Chance(0.7)) sample.prompt_logprobs = sample.max_tokens == 0;
  sample.tenant = first.tenant;
  if (Chance(0.9)) sample.caps = first.caps;
  for (DepthCap& change : sample.caps) {
    if (Chance(0.1)) change.cap = Draw(1, model_.shape.recursions);
  }
  if (Chance(0.8)) sample.threshold_logit = first.threshold_logit;
  if (IsEndless(sample, options_) == IsEndless(first, options_)) sample.budget = first.budget;
}

// A budget that drops entries at its first boundary, and a prompt that ends near it: samples of it
// come there together.
void LoadDrawer::DrawCrowd() {
  BackendLimits& limits = options_.limits;
  limits.slots = limits.areas = limits.ends = Draw(3, 10);
  limits.block_rows = limits.slots;
  limits.max_positions = Draw(32, 64);
  limits.prompt_rows = limits.slots * limits.chunk;
  options_.max_queued_requests = Draw(14, 20);
  options_.max_queued_tokens = uint64_t{14} * limits.max_positions;
  options_.prefix_cache = true;
  options_.prefix_node_tokens = Draw(1, 4);
  own_budgets_ = Chance(0.5);
  crowd_ = DrawSample(0);
  KvBudget& budget = crowd_.budget;
  budget = KvBudget();
  budget.policy = Chance(0.5) ? EvictionPolicy::kWindow : EvictionPolicy::kRouter;
  budget.every = Draw(8, 20);
  budget.sinks = Draw(0, 1);
  const uint32_t limited = Draw(0, model_.shape.exit_group());
  for (uint32_t group = 0; group < model_.shape.groups(); ++group) {
    if (group == limited || Chance(0.9)) budget.groups[group].entries = Draw(1, budget.every / 3);
  }
  crowd_.prompt.resize(Draw(budget.every / 2, budget.every + 3));
  for (uint32_t& token : crowd_.prompt) token = Draw(0, model_.vocab - 1);
}

// Its prompt is the crowd's, as a whole or up to where its own begins.
void LoadDrawer::JoinCrowd(DrawnSample& drawn) {
  ScheduledSample& sample = drawn.sample;
  const bool is_sample = Chance(0.8);
  if (is_sample) {
    sample.prompt = crowd_.prompt;
    if (Chance(0.8)) sample.sampling.seed_low = crowd_.sampling.seed_low;
  } else {
    const size_t shorter = std::min(crowd_.prompt.size(), sample.prompt.size());
    std::copy_n(crowd_.prompt.begin(), shorter, sample.prompt.begin());
  }
  const auto prompt = static_cast<uint32_t>(sample.prompt.size());
  sample.generated_prefix = std::min(sample.generated_prefix, prompt);
  sample.caps = crowd_.caps;
  sample.threshold_logit = crowd_.threshold_logit;
  sample.tenant = crowd_.tenant;
  if (Chance(0.8)) sample.prompt_logprobs = false;
  if (Chance(0.7)) sample.adaptive_min.reset();
  if (!own_budgets_ || Chance(0.8)) sample.budget = crowd_.budget;
  const uint32_t context = options_.limits.max_positions;
  sample.max_tokens = Draw(std::min(10U, context - prompt),
                           IsEndless(sample, options_) ? 2 * context : context - prompt);
  drawn.comes_with_last = is_sample && Chance(0.5);
  drawn.added_at = Chance(0.1) ? Draw(1, 40) : 0;
}

// Takes pages for a moment, so that the crowd's prefix is forgotten.
void LoadDrawer::PassBy(DrawnSample& drawn) {
  ScheduledSample& sample = drawn.sample;
  const uint32_t context = options_.limits.max_positions;
  if (!own_budgets_) sample.budget = crowd_.budget;
  if (sample.max_tokens != 0U) sample.max_tokens = Draw(1, 2);
  sample.prompt.resize(std::min<size_t>(sample.prompt.size(), context - 2));
  sample.cache_prompt = Chance(0.3);
  sample.generated_prefix = 0;
  drawn.added_at = Draw(0, 40);
}

// Of an endless stream that broke, perhaps beyond the context.
void LoadDrawer::GoOn(ScheduledSample& sample) {
  const uint32_t context = options_.limits.max_positions;
  // Up to 12 entries and 9 more until they go.
  if (!IsEndless(sample, options_) || context < 24 || !Chance(0.2)) return;
  const uint32_t told = Draw(1, 2 * context);
  const uint64_t most = options_.max_queued_tokens - sample.prompt.size();
  for (uint32_t i = 0; i < std::min<uint64_t>(told, most); ++i) {
    sample.prompt.push_back(Draw(0, model_.vocab - 1));
    ++sample.generated_prefix;
  }
}

// A pool that holds any single sample, often little more.
void LoadDrawer::DrawPages() {
  PagePool pool(1);
  const PageTables tables(&pool, 1, model_.shape, options_.entries_per_page);
  uint32_t least = model_.shape.groups();
  for (const DrawnSample& drawn : load_.samples) {
    const uint32_t tokens = NewTokens(drawn.sample, options_);
    const uint32_t end = static_cast<uint32_t>(drawn.sample.prompt.size()) - 1 + tokens;
    least = std::max(least, tables.PagesFor(end, drawn.sample.budget));
  }
  // A crowd needs more than one of it, and is to meet the end of the pool together.
  const bool crowd = kinship_ == Kinship::kCrowd;
  const uint32_t extra[] = {0, Draw(0, least / 2), Draw(0, 2 * least), 8 * least};
  options_.limits.pages = least + extra[crowd ? 2 : Draw(0, 3)];
  options_.headroom = Chance(crowd ? 0.7 : 0.5) ? 0 : Draw(1, 12);
  options_.max_preemptions = Chance(0.1) ? 0 : Draw(1, 4);
}

// Steps that cost something, so that rows wait for EXIT and ENTRY until it is best.
void LoadDrawer::DrawCosts() {
  const auto draw = [this](CostCurve& curve, double times = 1) {
    const double fixed = times * Draw(1, 100);
    const double row = Draw(0, 20);
    curve.See(1, fixed + row);
    curve.See(16, fixed + 16 * row);
  };
  draw(options_.costs.ends, Chance(0.5) ? 100 : 1);
  draw(options_.costs.block);
  draw(options_.costs.prompt_ends);
  options_.policy = *Policy::FromName("staged");
}

DrawnLoad LoadDrawer::Draw() {
  DrawModel();
  DrawOptions();
  const Kinship others[] = {Kinship::kNone, Kinship::kAlike};
  kinship_ = Chance(0.5) ? Kinship::kCrowd : others[Draw(0, 1)];
  load_.samples.resize(kinship_ == Kinship::kCrowd ? Draw(6, 14) : Draw(1, 10));
  const bool all_at_once = Chance(0.3);
  if (kinship_ == Kinship::kCrowd) DrawCrowd();
  for (size_t i = 0; i < load_.samples.size(); ++i) {
    DrawnSample& drawn = load_.samples[i];
    ScheduledSample& sample = drawn.sample;
    sample = DrawSample(100 + i);
    const bool is_kin = Chance(kinship_ == Kinship::kCrowd ? 0.88 : 0.9);
    if (i > 0 && kinship_ == Kinship::kAlike && is_kin) {
      AlignWith(load_.samples[0].sample, sample);
    }
    if (kinship_ == Kinship::kCrowd && is_kin) JoinCrowd(drawn);
    if (kinship_ == Kinship::kCrowd && !is_kin) PassBy(drawn);
    GoOn(sample);
    const uint32_t most = sample.generated_prefix + NewTokens(sample, options_);
    if (Chance(0.3)) sample.min_tokens = Draw(0, std::min(10U, most));
    drawn.stop_strings = Chance(0.2);
    if (kinship_ != Kinship::kCrowd) drawn.added_at = all_at_once ? 0 : Draw(0, 60);
    drawn.comes_with_last = drawn.comes_with_last && i > 0;
    if (drawn.comes_with_last) drawn.added_at = load_.samples[i - 1].added_at;
    if (Chance(0.15)) drawn.cancelled_at = drawn.added_at + Draw(0, 60);
  }
  if (Chance(0.05)) load_.drained_at = Draw(0, 100);
  DrawPages();
  DrawPlanChanges();
  load_.backend_seed = random_();
  if (Chance(0.5)) DrawCosts();
  return std::move(load_);
}

}  // namespace

DrawnLoad DrawLoad(uint64_t seed, SteadyTime now) { return LoadDrawer(seed, now).Draw(); }

}  // namespace recurve
