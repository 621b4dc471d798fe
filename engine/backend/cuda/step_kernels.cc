// SPDX-License-Identifier: Apache-2.0
#include "engine/backend/cuda/step_kernels.h"

#include <algorithm>

#include "engine/backend/cuda/attention_f32.h"
#include "engine/backend/cuda/hidden_rows.h"
#include "engine/backend/cuda/page_changes.h"
#include "engine/backend/cuda/sample.h"
#include "engine/base/status_macros.h"

namespace recurve::cuda {
namespace {

// All of a memory, as elements of T.
template <template <typename> typename Span, typename T>
Span<T> All(const DeviceMemory& memory) {
  return Span<T>(memory, 0, memory.bytes / sizeof(T));
}
simt::Constant<float> Weights(const DeviceMatrix& matrix) {
  return matrix.exists() ? simt::Constant<float>(matrix.memory, 0, matrix.elements())
                         : simt::Constant<float>();
}

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
  return {All<simt::Out, float>(state.pages), All<simt::Out, uint32_t>(state.entry_positions),
          All<simt::Out, float>(state.entry_scores)};
}

}  // namespace

StepKernels::StepKernels(Runtime& runtime, const DeviceModel& model, const DeviceState& state)
    : runtime_(runtime),
      model_(model),
      state_(state),
      sizes_(state.step.sizes),
      planner_(MakePlannerArgs(state)),
      slots_(state.step),
      lists_(state.step) {}

absl::Status StepKernels::MakeGraphs() {
  for (const bool ends : {false, true}) {
    RETURN_IF_ERROR(runtime_.BeginGraph(ends ? "step" : "step without ends"));
    RETURN_IF_ERROR(RunAdmissions());
    RETURN_IF_ERROR(RunRows(ends));
    ASSIGN_OR_RETURN(whole_[ends], runtime_.EndGraph());
    RETURN_IF_ERROR(runtime_.BeginGraph(ends ? "rows" : "rows without ends"));
    RETURN_IF_ERROR(RunRows(ends));
    ASSIGN_OR_RETURN(rows_[ends], runtime_.EndGraph());
  }
  has_graphs_ = true;
  return absl::OkStatus();
}

absl::Status StepKernels::Launch(const StepWork& work) {
  if (has_graphs_ && !work.evicts && !work.copies) return runtime_.Replay(whole_[work.ends]);
  RETURN_IF_ERROR(RunAdmissions());
  RETURN_IF_ERROR(ChangePages(work));
  return has_graphs_ ? runtime_.Replay(rows_[work.ends]) : RunRows(work.ends);
}

absl::Status StepKernels::RunAdmissions() { return LaunchAdmit(runtime_, planner_); }

absl::Status StepKernels::RunRows(bool ends) {
  RETURN_IF_ERROR(LaunchPlanExit(runtime_, planner_));
  if (ends) RETURN_IF_ERROR(RunExit());
  PlanBlockArgs block;
  block.planner = planner_;
  block.row_scores = All<simt::In, float>(state_.score);
  block.entry_scores = All<simt::Out, float>(state_.entry_scores);
  block.page_capacity = state_.layout.page_capacity;
  block.has_scores = model_.config().router.type == RouterType::kNone ? 0 : 1;
  RETURN_IF_ERROR(LaunchPlanBlock(runtime_, block));
  if (ends) RETURN_IF_ERROR(RunEntry());
  RETURN_IF_ERROR(RunBlock());
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
  if (work.evicts) {
    EvictArgs args;
    args.sizes = sizes_;
    args.layout = state_.layout;
    args.plan = planner_.plan;
    args.slots = slots_;
    args.mass = planner_.slots.mass;
    args.pool = PoolOf(state_);
    args.positions = All<simt::Out, uint32_t>(state_.evict_positions);
    args.stays = All<simt::Out, uint32_t>(state_.evict_stays);
    args.holes = All<simt::Out, uint32_t>(state_.evict_holes);
    args.survivors = All<simt::Out, uint32_t>(state_.evict_survivors);
    args.scores = All<simt::Out, uint64_t>(state_.evict_scores);
    RETURN_IF_ERROR(LaunchEvict(runtime_, args));
  }
  if (!work.copies) return absl::OkStatus();
  return LaunchCopyPages(runtime_, {state_.layout, planner_.plan, PoolOf(state_)});
}

absl::Status StepKernels::RunExit() {
  const Pass pass = {RowSet::kExit, lists_.exit_rows};
  RETURN_IF_ERROR(Load(RowSource::kHidden, pass));
  for (uint32_t i = 0; i < model_.exit.size(); ++i) {
    const bool is_last = i + 1 == model_.exit.size();
    RETURN_IF_ERROR(RunLayer(model_.exit[i], i, pass, is_last ? RowSet::kQueries : RowSet::kExit));
  }
  HeadArgs head;
  head.product = ProductOf(model_.lm_head, state_.x, RowSet::kLogits, pass);
  head.norm = NormOf(model_.final_norm);
  head.logits = All<simt::Out, float>(state_.logits);
  RETURN_IF_ERROR(LaunchHead(runtime_, head));
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

absl::Status StepKernels::RunEntry() {
  const Pass pass = {RowSet::kEntry, lists_.entry_rows};
  RETURN_IF_ERROR(Load(RowSource::kEmbedding, pass));
  for (uint32_t i = 0; i < model_.entry.size(); ++i) {
    RETURN_IF_ERROR(RunLayer(model_.entry[i], i, pass, RowSet::kEntry));
  }
  StoreRowsArgs store;
  store.set = pass.set;
  store.hidden = model_.config().hidden_size;
  store.counts = lists_.counts;
  store.rows = pass.rows;
  store.x = All<simt::In, float>(state_.x);
  store.hidden_rows = All<simt::Out, float>(state_.hidden_rows);
  return LaunchStoreRows(runtime_, store);
}

absl::Status StepKernels::RunBlock() {
  const ModelConfig& config = model_.config();
  const Pass pass = {RowSet::kBlock, lists_.block_rows};
  RETURN_IF_ERROR(Load(RowSource::kBlock, pass));
  for (uint32_t i = 0; i < config.layers_per_recursion(); ++i) {
    RETURN_IF_ERROR(RunLayer(model_.block[config.block_layer(i)], i, pass, RowSet::kBlock));
  }
  return LaunchRouter(runtime_, MakeRouterArgs());
}

absl::Status StepKernels::Load(RowSource source, const Pass& pass) {
  LoadRowsArgs load;
  load.sizes = sizes_;
  load.set = pass.set;
  load.source = source;
  load.hidden = model_.config().hidden_size;
  load.vocab = sizes_.vocab;
  load.counts = lists_.counts;
  load.rows = pass.rows;
  load.tokens = slots_.tokens;
  load.embedding = Weights(model_.embedding);
  load.hidden_rows = All<simt::In, float>(state_.hidden_rows);
  load.stream = All<simt::In, float>(state_.stream);
  load.has_stream = model_.config().router.type == RouterType::kTokenChoice ? 1 : 0;
  load.x = All<simt::Out, float>(state_.x);
  load.stamps = planner_.stamps;
  return LaunchLoadRows(runtime_, load);
}

absl::Status StepKernels::RunLayer(const DeviceLayer& layer, uint32_t index, const Pass& pass,
                                   RowSet queries) {
  ProjectQkvArgs qkv;
  qkv.product = ProductOf(layer.qkv, state_.x, pass.set, pass);
  qkv.norm = NormOf(layer.input_norm);
  qkv.sizes = sizes_;
  qkv.layout = state_.layout;
  qkv.heads = model_.config().num_heads;
  qkv.layer = index;
  qkv.slots = slots_;
  qkv.cos = All<simt::Constant, float>(state_.cos);
  qkv.sin = All<simt::Constant, float>(state_.sin);
  qkv.frequencies = All<simt::Constant, double>(state_.frequencies);
  qkv.tabled_positions = sizes_.max_positions;
  qkv.q = All<simt::Out, float>(state_.q);
  qkv.pages = All<simt::Out, float>(state_.pages);
  qkv.entry_positions = All<simt::Out, uint32_t>(state_.entry_positions);
  RETURN_IF_ERROR(LaunchProjectQkv(runtime_, qkv));
  RETURN_IF_ERROR(Attend(layer, index, pass, queries));
  GateUpArgs gate_up;
  gate_up.product = ProductOf(layer.gate, state_.x, queries, pass);
  gate_up.norm = NormOf(layer.post_attention_norm);
  gate_up.up = Weights(layer.up);
  gate_up.y = All<simt::Out, float>(state_.gated);
  RETURN_IF_ERROR(LaunchGateUp(runtime_, gate_up));
  AddProductArgs down;
  down.product = ProductOf(layer.down, state_.gated, queries, pass);
  down.residual = All<simt::Out, float>(state_.x);
  return LaunchAddProduct(runtime_, down);
}

absl::Status StepKernels::Attend(const DeviceLayer& layer, uint32_t index, const Pass& pass,
                                 RowSet queries) {
  AttentionArgs attention;
  attention.set = queries;
  attention.sizes = sizes_;
  attention.layout = state_.layout;
  attention.heads = model_.config().num_heads;
  attention.layer = index;
  attention.counts = lists_.counts;
  attention.rows = pass.rows;
  attention.slots = slots_;
  attention.entry_positions = All<simt::In, uint32_t>(state_.entry_positions);
  attention.pages = All<simt::In, float>(state_.pages);
  attention.q = All<simt::In, float>(state_.q);
  attention.y = All<simt::Out, float>(state_.attended);
  attention.mass = planner_.slots.mass;
  attention.probabilities = All<simt::Out, float>(state_.probabilities);
  attention.places = All<simt::Out, uint64_t>(state_.places);
  RETURN_IF_ERROR(LaunchAttention(runtime_, attention));
  AddProductArgs o;
  o.product = ProductOf(layer.o, state_.attended, queries, pass);
  o.residual = All<simt::Out, float>(state_.x);
  return LaunchAddProduct(runtime_, o);
}

ProductF32 StepKernels::ProductOf(const DeviceMatrix& matrix, const DeviceMemory& x, RowSet set,
                                  const Pass& pass) const {
  ProductF32 product;
  product.set = set;
  product.counts = lists_.counts;
  product.rows = pass.rows;
  product.inputs = matrix.inputs;
  product.outputs = matrix.outputs;
  product.sets = matrix.sets;
  product.weights = Weights(matrix);
  product.x = All<simt::In, float>(x);
  return product;
}

NormF32 StepKernels::NormOf(const DeviceMatrix& gamma) const {
  return {Weights(gamma), model_.config().rms_norm_eps};
}

RouterArgs StepKernels::MakeRouterArgs() const {
  RouterArgs args;
  args.sizes = sizes_;
  args.config = model_.config().router;
  args.hidden = model_.config().hidden_size;
  const auto nets = [](const std::vector<DeviceRouter>& routers, RouterNet* out) {
    for (size_t i = 0; i < routers.size(); ++i) {
      out[i] = {Weights(routers[i].hidden), Weights(routers[i].out)};
    }
  };
  nets(model_.routers, args.nets);
  nets(model_.aux_routers, args.aux_nets);
  args.bias = Weights(model_.router_bias);
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
