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
  // What the requests of a load have in common.
  enum class Kinship { kNone, kAlike, kCrowd };

  uint32_t Draw(uint32_t low, uint32_t high) {
    return low + static_cast<uint32_t>(random_() % (high - low + 1));
  }
  bool Chance(double p) { return static_cast<double>(random_() % 10'000) < p * 10'000; }

  void DrawModel();
  void DrawOptions();
  void DrawPlanChanges();
  KvBudget DrawBudget();
  ScheduledRequest DrawRequest(uint64_t id);
  void AlignWith(const ScheduledRequest& first, ScheduledRequest& request);
  void DrawCrowd();
  void JoinCrowd(DrawnRequest& drawn);
  void PassBy(DrawnRequest& drawn);
  void DrawPages();

  std::mt19937_64 random_;
  const SteadyTime now_;
  Kinship kinship_ = Kinship::kNone;
  bool own_budgets_ = false;  // some of a crowd's requests have others than the server's
  ScheduledRequest crowd_;    // what a crowd has in common
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
  options_.prefix_chunk = Draw(1, 6);
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

ScheduledRequest LoadDrawer::DrawRequest(uint64_t id) {
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
  request.sampling.top_k = static_cast<uint32_t>(id);  // for CapWitness alone
  if (Chance(0.3)) request.threshold_logit = static_cast<float>(Draw(1, 9));
  if (Chance(0.3)) {
    const uint32_t apart = Chance(0.3) ? 2 : 40;
    for (uint32_t position = 0; position < 60; position += Draw(1, apart)) {
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
  if (Chance(0.3)) request.stop_token_ids = {Draw(0, model_.vocab - 1)};
  if (Chance(0.1)) request.deadline = now_ + milliseconds(Draw(0, 150));
  if (Chance(0.1)) request.time_limit = now_ + milliseconds(Draw(0, 150));
  if (Chance(0.1)) request.queue_deadline = now_ + milliseconds(Draw(0, 60));
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
void LoadDrawer::AlignWith(const ScheduledRequest& first, ScheduledRequest& request) {
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
  options_.prefix_chunk = Draw(1, 4);
  own_budgets_ = Chance(0.5);
  crowd_ = DrawRequest(0);
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
void LoadDrawer::JoinCrowd(DrawnRequest& drawn) {
  ScheduledRequest& request = drawn.request;
  const bool is_sample = Chance(0.8);
  if (is_sample) {
    request.prompt = crowd_.prompt;
    if (Chance(0.8)) request.sampling.seed_low = crowd_.sampling.seed_low;
  } else {
    const size_t shorter = std::min(crowd_.prompt.size(), request.prompt.size());
    std::copy_n(crowd_.prompt.begin(), shorter, request.prompt.begin());
  }
  const auto prompt = static_cast<uint32_t>(request.prompt.size());
  request.generated_prefix = std::min(request.generated_prefix, prompt);
  request.caps = crowd_.caps;
  request.threshold_logit = crowd_.threshold_logit;
  request.tenant = crowd_.tenant;
  if (Chance(0.8)) request.prompt_logprobs = false;
  if (Chance(0.7)) request.adaptive_min.reset();
  if (!own_budgets_ || Chance(0.8)) request.budget = crowd_.budget;
  const uint32_t context = options_.limits.max_positions;
  request.max_tokens = Draw(std::min(10U, context - prompt),
                            IsEndless(request, options_) ? 2 * context : context - prompt);
  drawn.comes_with_last = is_sample && Chance(0.5);
  drawn.added_at = Chance(0.1) ? Draw(1, 40) : 0;
}

// Takes pages for a moment, so that the crowd's prefix is forgotten.
void LoadDrawer::PassBy(DrawnRequest& drawn) {
  ScheduledRequest& request = drawn.request;
  const uint32_t context = options_.limits.max_positions;
  if (!own_budgets_) request.budget = crowd_.budget;
  if (request.max_tokens != 0U) request.max_tokens = Draw(1, 2);
  request.prompt.resize(std::min<size_t>(request.prompt.size(), context - 2));
  request.cache_prompt = Chance(0.3);
  request.generated_prefix = 0;
  drawn.added_at = Draw(0, 40);
}

// A pool that holds any single request, often little more.
void LoadDrawer::DrawPages() {
  PagePool pool(1);
  const PageTables tables(&pool, 1, model_.shape, options_.entries_per_page);
  uint32_t least = model_.shape.groups();
  for (const DrawnRequest& drawn : load_.requests) {
    const uint32_t tokens = NewTokens(drawn.request, options_);
    const uint32_t end = static_cast<uint32_t>(drawn.request.prompt.size()) - 1 + tokens;
    least = std::max(least, tables.PagesFor(end, drawn.request.budget));
  }
  // A crowd needs more than one of it, and is to meet the end of the pool together.
  const bool crowd = kinship_ == Kinship::kCrowd;
  const uint32_t extra[] = {0, Draw(0, least / 2), Draw(0, 2 * least), 8 * least};
  options_.limits.pages = least + extra[crowd ? 2 : Draw(0, 3)];
  options_.headroom = Chance(crowd ? 0.7 : 0.5) ? 0 : Draw(1, 12);
  options_.max_preemptions = Chance(0.1) ? 0 : Draw(1, 4);
}

DrawnLoad LoadDrawer::Draw() {
  DrawModel();
  DrawOptions();
  const Kinship others[] = {Kinship::kNone, Kinship::kAlike};
  kinship_ = Chance(0.5) ? Kinship::kCrowd : others[Draw(0, 1)];
  load_.requests.resize(kinship_ == Kinship::kCrowd ? Draw(6, 14) : Draw(1, 10));
  const bool all_at_once = Chance(0.3);
  if (kinship_ == Kinship::kCrowd) DrawCrowd();
  for (size_t i = 0; i < load_.requests.size(); ++i) {
    DrawnRequest& drawn = load_.requests[i];
    ScheduledRequest& request = drawn.request;
    request = DrawRequest(100 + i);
    const bool is_kin = Chance(kinship_ == Kinship::kCrowd ? 0.88 : 0.9);
    if (i > 0 && kinship_ == Kinship::kAlike && is_kin) {
      AlignWith(load_.requests[0].request, request);
    }
    if (kinship_ == Kinship::kCrowd && is_kin) JoinCrowd(drawn);
    if (kinship_ == Kinship::kCrowd && !is_kin) PassBy(drawn);
    const uint32_t most = request.generated_prefix + NewTokens(request, options_);
    if (Chance(0.3)) request.min_tokens = Draw(0, std::min(10U, most));
    drawn.stop_strings = Chance(0.2);
    if (kinship_ != Kinship::kCrowd) drawn.added_at = all_at_once ? 0 : Draw(0, 60);
    drawn.comes_with_last = drawn.comes_with_last && i > 0;
    if (drawn.comes_with_last) drawn.added_at = load_.requests[i - 1].added_at;
    if (Chance(0.15)) drawn.cancelled_at = drawn.added_at + Draw(0, 60);
  }
  if (Chance(0.05)) load_.drained_at = Draw(0, 100);
  DrawPages();
  DrawPlanChanges();
  load_.backend_seed = random_();
  return std::move(load_);
}

}  // namespace

DrawnLoad DrawLoad(uint64_t seed, SteadyTime now) { return LoadDrawer(seed, now).Draw(); }

}  // namespace recurve
