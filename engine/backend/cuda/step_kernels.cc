// SPDX-License-Identifier: Apache-2.0
#include "engine/backend/cuda/step_kernels.h"

#include <algorithm>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "engine/backend/cuda/hidden_rows.h"
#include "engine/backend/cuda/page_changes.h"
#include "engine/backend/cuda/sample.h"
#include "engine/base/status_macros.h"

namespace recurve::cuda {
namespace {

PlannerArgs MakePlannerArgs(const DeviceState& state) {
  PlannerArgs args;
  args.sizes = state.step.sizes;
  args.plan = All<simt::In, uint32_t>(state.plan);
  args.slots = SlotTables<simt::Out>(state.step);
  args.lists = StepLists<simt::Out>(state.step);
  args.selection = All<simt::Out, SelectionState>(state.step.selection);
  args.stamps = All<simt::Out, uint64_t>(state.stamps);
  return args;
}

PageSpans PoolOf(const DeviceState& state) {
  return {All<simt::Out, uint32_t>(state.pages), All<simt::Out, uint32_t>(state.entry_positions),
          All<simt::Out, float>(state.entry_scores)};
}

}  // namespace

StepKernels::StepKernels(Runtime& runtime, const DeviceModel& model, const DeviceState& state,
                         const LayerOptions& options)
    : runtime_(runtime),
      model_(model),
      state_(state),
      sizes_(state.step.sizes),
      planner_(MakePlannerArgs(state)),
      slots_(state.step),
      lists_(state.step),
      layers_(state.precision == Precision::kBf16 ? MakeLayersBf16(runtime, model, state, options)
                                                  : MakeLayersF32(runtime, model, state)),
      has_library_(options.library_rows > 0) {
  for (const DeviceLayer& layer : model.entry) entry_.push_back(&layer);
  for (const DeviceLayer& layer : model.exit) exit_.push_back(&layer);
  const ModelConfig& config = model.config();
  for (uint32_t i = 0; i < config.layers_per_recursion(); ++i) {
    block_.push_back(&model.block[config.block_layer(i)]);
  }
}

uint32_t StepKernels::RowsOf(uint32_t bucket) const {
  constexpr uint32_t kRows[kBuckets - 1] = {8, 16, 32, 64, 128};
  return bucket + 1 < kBuckets ? std::min(kRows[bucket], sizes_.rows) : sizes_.rows;
}

uint32_t StepKernels::BucketOf(uint32_t rows) const {
  uint32_t bucket = 0;
  while (bucket + 1 < kBuckets && RowsOf(bucket) < rows) ++bucket;
  return bucket;
}

absl::Status StepKernels::WarmUp() {
  RETURN_IF_ERROR(RunEvictions({}));
  RETURN_IF_ERROR(RunCopies(0));
  runtime_.CountLaunches(&counted_);
  RETURN_IF_ERROR(RunAdmissions());
  RETURN_IF_ERROR(RunRows(/*ends=*/true, RowsOf(0)));
  runtime_.CountLaunches(nullptr);
  // The library chooses its algorithms at the first call.
  return has_library_ ? RunRows(/*ends=*/true, RowsOf(kBuckets - 1)) : absl::OkStatus();
}

std::vector<KernelWork> StepKernels::CountedKernels() const {
  std::vector<KernelWork> kernels = counted_;
  for (KernelWork kernel : page_changes_) {
    kernel.launches /= static_cast<double>(steps_);
    kernel.work /= static_cast<double>(steps_);
    kernels.push_back(std::move(kernel));
  }
  return kernels;
}

absl::Status StepKernels::MakeGraphs() {
  for (const bool ends : {false, true}) {
    for (uint32_t bucket = 0; bucket < kBuckets; ++bucket) {
      const std::string name = absl::StrCat("of ", RowsOf(bucket), ends ? " rows" : " block rows");
      RETURN_IF_ERROR(runtime_.BeginGraph("step " + name));
      RETURN_IF_ERROR(RunAdmissions());
      RETURN_IF_ERROR(RunRows(ends, RowsOf(bucket)));
      ASSIGN_OR_RETURN(whole_[ends][bucket], runtime_.EndGraph());
      RETURN_IF_ERROR(runtime_.BeginGraph("rest of a step " + name));
      RETURN_IF_ERROR(RunRows(ends, RowsOf(bucket)));
      ASSIGN_OR_RETURN(rows_[ends][bucket], runtime_.EndGraph());
    }
  }
  has_graphs_ = true;
  return absl::OkStatus();
}

absl::Status StepKernels::Launch(const StepWork& work) {
  const uint32_t bucket = BucketOf(work.rows);
  ++steps_;
  if (has_graphs_ && work.evicts.empty() && work.copies == 0) {
    return runtime_.Replay(whole_[work.ends][bucket]);
  }
  RETURN_IF_ERROR(RunAdmissions());
  runtime_.CountLaunches(&page_changes_);
  RETURN_IF_ERROR(ChangePages(work));
  runtime_.CountLaunches(nullptr);
  if (has_graphs_) return runtime_.Replay(rows_[work.ends][bucket]);
  return RunRows(work.ends, RowsOf(bucket));
}

absl::Status StepKernels::RunAdmissions() { return LaunchAdmit(runtime_, planner_); }

absl::Status StepKernels::RunRows(bool ends, uint32_t most_rows) {
  RETURN_IF_ERROR(LaunchPlanExit(runtime_, planner_));
  if (ends) RETURN_IF_ERROR(RunExit(most_rows));
  PlanBlockArgs block;
  block.planner = planner_;
  block.row_scores = All<simt::In, float>(state_.score);
  block.entry_scores = All<simt::Out, float>(state_.entry_scores);
  block.page_capacity = state_.layout.page_capacity;
  block.has_scores = model_.config().router.type == RouterType::kNone ? 0 : 1;
  RETURN_IF_ERROR(LaunchPlanBlock(runtime_, block));
  if (ends) RETURN_IF_ERROR(RunEntry(most_rows));
  RETURN_IF_ERROR(RunBlock(most_rows));
  PublishArgs publish;
  publish.planner = planner_;
  publish.logprobs = All<simt::In, TokenLogprob>(state_.logprobs);
  publish.row_logprobs = state_.row_logprobs;
  publish.logits = All<simt::In, float>(state_.logits);
  publish.layout = state_.result_layout;
  publish.result = All<simt::Out, uint32_t>(state_.results.device);
  publish.raw_logits = All<simt::Out, float>(state_.raw_logits);
  return LaunchPublish(runtime_, publish);
}

absl::Status StepKernels::ChangePages(const StepWork& work) {
  if (!work.evicts.empty()) RETURN_IF_ERROR(RunEvictions(work.evicts));
  return work.copies > 0 ? RunCopies(work.copies) : absl::OkStatus();
}

absl::Status StepKernels::RunEvictions(std::span<const Evict> evicts) {
  EvictArgs args;
  args.sizes = sizes_;
  args.layout = WordsOf(state_.layout, state_.precision);
  args.plan = planner_.plan;
  args.slots = slots_;
  args.mass = planner_.slots.mass;
  args.pool = PoolOf(state_);
  args.positions = All<simt::Out, uint32_t>(state_.evict_positions);
  args.stays = All<simt::Out, uint32_t>(state_.evict_stays);
  args.holes = All<simt::Out, uint32_t>(state_.evict_holes);
  args.survivors = All<simt::Out, uint32_t>(state_.evict_survivors);
  args.scores = All<simt::Out, uint64_t>(state_.evict_scores);
  return LaunchEvict(runtime_, args, evicts);
}

absl::Status StepKernels::RunCopies(size_t copies) {
  const CopyPagesArgs args = {WordsOf(state_.layout, state_.precision), planner_.plan,
                              PoolOf(state_)};
  return LaunchCopyPages(runtime_, args, copies);
}

absl::Status StepKernels::RunExit(uint32_t most_rows) {
  const Pass pass = {RowSet::kExit, lists_.exit_rows, most_rows};
  RETURN_IF_ERROR(RunLayers(RowSource::kHidden, pass, exit_));
  RETURN_IF_ERROR(layers_->RunHead(pass));
  SampleArgs sample;
  sample.sizes = sizes_;
  sample.counts = lists_.counts;
  sample.rows = lists_.exit_rows;
  sample.slots = slots_;
  sample.logits = All<simt::In, float>(state_.logits);
  sample.verdicts = planner_.lists.verdicts;
  sample.logprobs = All<simt::Out, TokenLogprob>(state_.logprobs);
  sample.row_logprobs = state_.row_logprobs;
  sample.adjusted = All<simt::Out, float>(state_.adjusted);
  sample.weights = All<simt::Out, uint32_t>(state_.weights);
  sample.stamps = planner_.stamps;
  return LaunchSample(runtime_, sample);
}

absl::Status StepKernels::RunEntry(uint32_t most_rows) {
  const Pass pass = {RowSet::kEntry, lists_.entry_rows, most_rows};
  RETURN_IF_ERROR(RunLayers(RowSource::kEmbedding, pass, entry_));
  StoreRowsArgs store;
  store.set = pass.set;
  store.hidden = model_.config().hidden_size;
  store.counts = lists_.counts;
  store.rows = pass.rows;
  store.x = All<simt::In, float>(state_.x);
  store.hidden_rows = All<simt::Out, float>(state_.hidden_rows);
  return LaunchStoreRows(runtime_, store);
}

absl::Status StepKernels::RunBlock(uint32_t most_rows) {
  const Pass pass = {RowSet::kBlock, lists_.block_rows, most_rows};
  RETURN_IF_ERROR(RunLayers(RowSource::kBlock, pass, block_));
  return LaunchRouter(runtime_, MakeRouterArgs());
}

// Rows through all of `layers`. Behind EXIT's last layer comes the final norm; what a norm would
// need behind those of the other stages nobody reads.
absl::Status StepKernels::RunLayers(RowSource source, const Pass& pass, const LayerList& layers) {
  const auto norm_before = [&](size_t i) -> const DeviceMatrix& {
    return i < layers.size() ? layers[i]->input_norm : model_.final_norm;
  };
  RETURN_IF_ERROR(layers_->Load(source, pass, norm_before(0)));
  for (uint32_t i = 0; i < layers.size(); ++i) {
    const bool is_last = pass.set == RowSet::kExit && i + 1 == layers.size();
    RETURN_IF_ERROR(layers_->Run(*layers[i], i, pass, is_last ? RowSet::kQueries : pass.set,
                                 norm_before(i + 1)));
  }
  return absl::OkStatus();
}

RouterArgs StepKernels::MakeRouterArgs() const {
  RouterArgs args;
  args.sizes = sizes_;
  args.config = model_.config().router;
  args.hidden = model_.config().hidden_size;
  const auto nets = [](const std::vector<DeviceRouter>& routers, RouterNet* out) {
    for (size_t i = 0; i < routers.size(); ++i) {
      out[i] = {FloatsOf(routers[i].hidden), FloatsOf(routers[i].out)};
    }
  };
  nets(model_.routers, args.nets);
  nets(model_.aux_routers, args.aux_nets);
  args.bias = FloatsOf(model_.router_bias);
  args.has_bias = model_.router_bias.exists() ? 1 : 0;
  args.counts = lists_.counts;
  args.rows = lists_.block_rows;
  args.slots = slots_;
  args.x = All<simt::In, float>(state_.x);
  args.hidden_rows = All<simt::Out, float>(state_.hidden_rows);
  args.stream = All<simt::Out, float>(state_.stream);
  args.gate = All<simt::Out, float>(state_.gate);
  args.depth = All<simt::Out, uint32_t>(state_.depth);
  args.score = All<simt::Out, float>(state_.score);
  args.passes = planner_.lists.passes;
  args.stamps = planner_.stamps;
  return args;
}

}  // namespace recurve::cuda
