// SPDX-License-Identifier: Apache-2.0
#include "tests/engine/backend/cuda/fake_device.h"

#include <algorithm>
#include <span>

#include "engine/backend/cuda/memory_taker.h"
#include "engine/backend/cuda/page_changes.h"
#include "engine/backend/limits.h"
#include "engine/base/status_macros.h"

namespace recurve::cuda {
namespace {

template <template <typename> typename Span, typename T>
Span<T> All(const DeviceMemory& memory) {
  return Span<T>(memory, 0, memory.bytes / sizeof(T));
}

EmulatedOptions OptionsOf(uint64_t seed) {
  EmulatedOptions options;
  options.seed = seed;
  options.facts.multiprocessors = 1;
  return options;
}

}  // namespace

absl::StatusOr<std::unique_ptr<FakeDevice>> FakeDevice::Create(
    const FakeModel& model, const BackendLimits& limits, const EntriesPerPage& entries_per_page,
    bool overlay, uint64_t seed) {
  std::unique_ptr<FakeDevice> device(new FakeDevice(model, limits, seed));
  RETURN_IF_ERROR(device->Allocate(entries_per_page, overlay));
  device->MakeArgs();
  return device;
}

FakeDevice::FakeDevice(const FakeModel& model, const BackendLimits& limits, uint64_t seed)
    : model_(model),
      limits_(limits),
      runtime_(OptionsOf(seed)),
      words_(MostPlanWords(limits)),
      history_(limits.slots),
      caps_(MaxRows(limits)) {}

TableSizes FakeDevice::MakeSizes(const EntriesPerPage& entries_per_page, bool overlay) const {
  TableSizes sizes;
  sizes.shape = model_.shape;
  sizes.hidden = {limits_.slots, limits_.chunk};
  sizes.slots = limits_.slots;
  sizes.chunk = limits_.chunk;
  sizes.max_positions = limits_.max_positions;
  sizes.groups = sizes.shape.groups();
  for (uint32_t group = 0; group < sizes.groups; ++group) {
    const uint32_t entries = sizes.page_entries[group] = entries_per_page[group];
    if (entries == 0) continue;
    const uint32_t pages = (limits_.max_positions + entries - 1) / entries;
    sizes.group_pages = std::max(sizes.group_pages, pages);
  }
  sizes.vocab = model_.vocab;
  sizes.max_biases = limits_.max_biases;
  sizes.max_stop_ids = limits_.max_stop_ids;
  sizes.max_caps = limits_.max_positions + 1;
  sizes.overlay = overlay ? 1 : 0;
  sizes.exit_layers = entries_per_page[sizes.shape.exit_group()] > 0 ? 1 : 0;
  sizes.rows = MaxRows(limits_);
  sizes.ends = limits_.ends;
  return sizes;
}

absl::Status FakeDevice::Allocate(const EntriesPerPage& entries_per_page, bool overlay) {
  const TableSizes sizes = MakeSizes(entries_per_page, overlay);
  KvLayout& layout = state_.layout;
  for (uint32_t group = 0; group < sizes.groups; ++group) {
    layout.layers[group] = sizes.page_entries[group] > 0 ? 1 : 0;
    layout.page_capacity = std::max(layout.page_capacity, sizes.page_entries[group]);
  }
  layout.page_elements = size_t{2} * layout.page_capacity;
  state_.result_layout = LayoutOfResult(limits_);
  state_.row_logprobs = 1 + limits_.max_logprobs;
  state_.plan_words = static_cast<uint32_t>(words_.size());
  MemoryTaker taker(runtime_);
  const size_t entries = size_t{limits_.pages} * layout.page_capacity;
  taker.Take<uint32_t>("pages", limits_.pages * layout.page_elements, &state_.pages);
  taker.Take<uint32_t>("positions", entries, &state_.entry_positions);
  taker.Take<float>("scores", entries, &state_.entry_scores);
  taker.Take<FakeRow>("hidden rows", HiddenRows(limits_), &hidden_);
  taker.Take<float>("row scores", HiddenRows(limits_), &state_.score);
  taker.Take<float>("logits", size_t{sizes.ends} * sizes.vocab, &state_.logits);
  taker.Take<float>("raw logits", size_t{kMostOutstanding} * sizes.ends * sizes.vocab,
                    &state_.raw_logits);
  taker.Take<TokenLogprob>("logprobs", size_t{sizes.ends} * state_.row_logprobs, &state_.logprobs);
  const size_t evicted = EvictBlocks(runtime_) * size_t{limits_.max_positions};
  taker.Take<uint32_t>("eviction: positions", evicted, &state_.evict_positions);
  taker.Take<uint32_t>("eviction: who stays", evicted, &state_.evict_stays);
  taker.Take<uint32_t>("eviction: holes", evicted, &state_.evict_holes);
  taker.Take<uint32_t>("eviction: survivors", evicted, &state_.evict_survivors);
  taker.Take<uint64_t>("eviction: scores", evicted, &state_.evict_scores);
  taker.TakeZeros<uint64_t>("stamps", kStepParts + 1, &state_.stamps);
  taker.Take<uint32_t>("plan", state_.plan_words, &state_.plan);
  RETURN_IF_ERROR(taker.status());
  ASSIGN_OR_RETURN(state_.results,
                   runtime_.AllocateMapped("results", kMostOutstanding * sizeof(uint32_t) *
                                                          size_t{state_.result_layout.words}));
  ASSIGN_OR_RETURN(state_.step, AllocateStepMemory(runtime_, sizes));
  return absl::OkStatus();
}

void FakeDevice::MakeArgs() {
  planner_.sizes = state_.step.sizes;
  planner_.plan = All<simt::In, uint32_t>(state_.plan);
  planner_.slots = SlotTables<simt::Out>(state_.step);
  planner_.lists = StepLists<simt::Out>(state_.step);
  planner_.selection = All<simt::Out, SelectionState>(state_.step.selection);
  planner_.stamps = All<simt::Out, uint64_t>(state_.stamps);
  rows_.model = &model_;
  rows_.history = &history_;
  rows_.caps = &caps_;
  rows_.sizes = state_.step.sizes;
  rows_.layout = state_.layout;
  rows_.slots = planner_.slots;
  rows_.lists = planner_.lists;
  rows_.pool = {All<simt::Out, uint32_t>(state_.pages),
                All<simt::Out, uint32_t>(state_.entry_positions),
                All<simt::Out, float>(state_.entry_scores)};
  rows_.hidden = All<simt::Out, FakeRow>(hidden_);
  rows_.row_scores = All<simt::Out, float>(state_.score);
  rows_.logprobs = All<simt::Out, TokenLogprob>(state_.logprobs);
  rows_.row_logprobs = state_.row_logprobs;
  rows_.logits = All<simt::Out, float>(state_.logits);
}

absl::Status FakeDevice::Begin(const StepPlan& plan) {
  const size_t words = writer_.Write(plan, words_);
  RETURN_IF_ERROR(runtime_.Upload(state_.plan, 0, words_.data(), words * sizeof(uint32_t)));
  epoch_ = plan.epoch;
  Remember(plan);
  RETURN_IF_ERROR(LaunchAdmit(runtime_, planner_));
  if (!plan.evicts.empty()) RETURN_IF_ERROR(RunEvictions(plan));
  if (plan.copies.empty()) return absl::OkStatus();
  return LaunchCopyPages(runtime_, {state_.layout, planner_.plan, rows_.pool}, plan.copies.size());
}

absl::Status FakeDevice::RunEvictions(const StepPlan& plan) {
  EvictArgs args;
  args.sizes = state_.step.sizes;
  args.layout = state_.layout;
  args.plan = planner_.plan;
  args.slots = SlotTables<simt::In>(state_.step);
  args.mass = planner_.slots.mass;
  args.pool = rows_.pool;
  args.positions = All<simt::Out, uint32_t>(state_.evict_positions);
  args.stays = All<simt::Out, uint32_t>(state_.evict_stays);
  args.holes = All<simt::Out, uint32_t>(state_.evict_holes);
  args.survivors = All<simt::Out, uint32_t>(state_.evict_survivors);
  args.scores = All<simt::Out, uint64_t>(state_.evict_scores);
  return LaunchEvict(runtime_, args, plan.evicts);
}

void FakeDevice::Remember(const StepPlan& plan) {
  for (const Admission& admission : plan.admits) {
    history_[admission.slot].assign(admission.limits.end + 2, kNoToken);
  }
  for (const TokenChange& change : plan.tokens) {
    history_[change.slot][change.position] = change.token;
  }
}

absl::Status FakeDevice::PlanBlock() {
  PlanBlockArgs args;
  args.planner = planner_;
  args.row_scores = All<simt::In, float>(state_.score);
  args.entry_scores = rows_.pool.scores;
  args.page_capacity = state_.layout.page_capacity;
  args.has_scores = 1;
  return LaunchPlanBlock(runtime_, args);
}

absl::Status FakeDevice::RunRows() {
  RETURN_IF_ERROR(LaunchFakeEntry(runtime_, rows_));
  return LaunchFakeBlock(runtime_, rows_);
}

absl::Status FakeDevice::Publish(StepResult& result) {
  PublishArgs args;
  args.planner = planner_;
  args.logprobs = All<simt::In, TokenLogprob>(state_.logprobs);
  args.row_logprobs = state_.row_logprobs;
  args.logits = All<simt::In, float>(state_.logits);
  args.layout = state_.result_layout;
  args.result = All<simt::Out, uint32_t>(state_.results.device);
  args.raw_logits = All<simt::Out, float>(state_.raw_logits);
  RETURN_IF_ERROR(LaunchPublish(runtime_, args));
  const uint32_t half = epoch_ % kMostOutstanding;
  const size_t words = state_.result_layout.words;
  result.Clear();
  ReadResult({HostOf<uint32_t>(state_.results.device) + half * words, words}, state_.result_layout,
             result);
  const size_t vocab = sizes().vocab;
  const float* const raw = HostOf<float>(state_.raw_logits) + half * sizes().ends * vocab;
  result.logits.assign(raw, raw + result.logits_rows.size() * vocab);
  for (const Outcome& outcome : result.outcomes) {
    if (outcome.token == kNoToken) continue;
    // EXIT was before ENTRY, so the token stands at the position that the slot has come to.
    const SlotRecord& slot = HostOf<SlotRecord>(memory().records)[outcome.slot];
    history_[outcome.slot][slot.state.position] = outcome.token;
  }
  return absl::OkStatus();
}

}  // namespace recurve::cuda
