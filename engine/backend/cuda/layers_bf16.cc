// SPDX-License-Identifier: Apache-2.0
#include "engine/backend/cuda/attention_bf16.h"
#include "engine/backend/cuda/layers.h"
#include "engine/backend/cuda/linear_bf16.h"
#include "engine/base/status_macros.h"

namespace recurve::cuda {
namespace {

class LayersBf16 final : public Layers {
 public:
  LayersBf16(Runtime& runtime, const DeviceModel& model, const DeviceState& state,
             const LayerOptions& options)
      : runtime_(runtime),
        model_(model),
        state_(state),
        options_(options),
        slots_(state.step),
        counts_(All<simt::In, ListCounts>(state.step.counts)) {}

  absl::Status Load(RowSource source, const Pass& pass, const DeviceMatrix& norm) override {
    LoadRowsBf16Args load;
    load.from = SourcesOf(source, pass, model_, state_);
    const DeviceMatrix& embedding = model_.embedding;
    load.embedding = simt::Constant<Bf16>(embedding.memory, 0, embedding.elements());
    load.to = ResidualOf(norm);
    return LaunchLoadRows(runtime_, load);
  }

  absl::Status Run(const DeviceLayer& layer, uint32_t index, const Pass& pass, RowSet queries,
                   const DeviceMatrix& next_norm) override {
    ProjectQkvBf16Args qkv;
    qkv.product = Normed(ProductOf(layer.qkv, state_.operand, pass.set));
    qkv.rows = pass.rows;
    qkv.sizes = state_.step.sizes;
    qkv.layout = state_.layout;
    qkv.heads = model_.config().num_heads;
    qkv.layer = index;
    qkv.slots = slots_;
    qkv.rotary = RotaryOf(state_);
    qkv.q = All<simt::Out, Bf16>(state_.q);
    qkv.pages = All<simt::Out, Bf16>(state_.pages);
    qkv.entry_positions = All<simt::Out, uint32_t>(state_.entry_positions);
    const PlainMemory plain_qkv = PlainOf(layer.qkv);
    RETURN_IF_ERROR(LaunchProjectQkv(runtime_, ShapeOf(pass, &plain_qkv), qkv));
    RETURN_IF_ERROR(Attend(index, pass, queries));
    RETURN_IF_ERROR(Add(layer.o, state_.attended, queries, layer.post_attention_norm, pass));
    GateUpBf16Args gate_up;
    gate_up.product = Normed(ProductOf(layer.gate_up, state_.operand, queries));
    gate_up.outputs = model_.config().intermediate_size;
    gate_up.y = All<simt::Out, Bf16>(state_.gated);
    const PlainMemory plain_gate_up = PlainOf(layer.gate_up);
    RETURN_IF_ERROR(LaunchGateUp(runtime_, ShapeOf(pass, &plain_gate_up), gate_up));
    return Add(layer.down, state_.gated, queries, next_norm, pass);
  }

  absl::Status RunHead(const Pass& pass) override {
    HeadBf16Args head;
    head.product = Normed(ProductOf(model_.lm_head, state_.operand, RowSet::kLogits));
    head.outputs = model_.config().vocab_size;
    head.logits = All<simt::Out, float>(state_.logits);
    return LaunchHead(runtime_, {pass.most_rows, IsProgrammatic(pass)}, head);
  }

 private:
  absl::Status Attend(uint32_t index, const Pass& pass, RowSet queries) {
    AttentionBf16Args attention;
    attention.set = queries;
    attention.sizes = state_.step.sizes;
    attention.layout = state_.layout;
    attention.heads = model_.config().num_heads;
    attention.layer = index;
    attention.counts = counts_;
    attention.rows = pass.rows;
    attention.slots = slots_;
    attention.entry_positions = All<simt::In, uint32_t>(state_.entry_positions);
    attention.pages = All<simt::In, simt::Words2>(state_.pages);
    attention.q = All<simt::In, simt::Words2>(state_.q);
    attention.y = All<simt::Out, Bf16>(state_.attended);
    attention.mass = All<simt::Out, uint64_t>(state_.step.mass);
    attention.split = {state_.split, All<simt::Out, SoftmaxState>(state_.split_states),
                       All<simt::Out, Floats4>(state_.split_outputs),
                       All<simt::Out, uint32_t>(state_.split_came)};
    return LaunchAttention(runtime_, pass.most_rows, IsProgrammatic(pass), attention);
  }

  absl::Status Add(const DeviceMatrix& matrix, const DeviceMemory& x, RowSet set,
                   const DeviceMatrix& next_norm, const Pass& pass) {
    const PlainMemory plain = PlainOf(matrix);
    return LaunchAddProduct(runtime_, ShapeOf(pass, &plain),
                            {ProductOf(matrix, x, set), ResidualOf(next_norm)});
  }

  ResidualArgs ResidualOf(const DeviceMatrix& next_norm) const {
    ResidualArgs residual;
    residual.hidden = model_.config().hidden_size;
    residual.gamma = FloatsOf(next_norm);
    residual.x = All<simt::Out, float>(state_.x);
    residual.operand = All<simt::Out, Bf16>(state_.operand);
    residual.squares = All<simt::Out, float>(state_.squares);
    return residual;
  }

  ProductBf16 ProductOf(const DeviceMatrix& matrix, const DeviceMemory& x, RowSet set) const {
    ProductBf16 product;
    product.set = set;
    product.counts = counts_;
    product.inputs = matrix.inputs;
    product.tiles = matrix.tiles;
    product.sets = matrix.sets;
    product.weights = All<simt::Constant, simt::Words4>(matrix.memory);
    product.x = All<simt::In, simt::Words2>(x);
    return product;
  }

  ProductBf16 Normed(ProductBf16 product) const {
    product.has_norm = true;
    product.epsilon = model_.config().rms_norm_eps;
    product.squares = All<simt::In, simt::Words4>(state_.squares);
    return product;
  }

  // Measured on an H100 (docs/cuda_measurements.md): with few rows kernels that begin early win a
  // quarter; with more, those that wait hold the places of those that run.
  bool IsProgrammatic(const Pass& pass) const {
    return options_.overlap && pass.most_rows <= kTileRows;
  }

  PlainMemory PlainOf(const DeviceMatrix& matrix) const {
    return {matrix.plain, state_.plain_x, state_.plain_y};
  }
  // The library's products have all rows that there can be, since how many there are the device
  // alone knows. `plain` outlives the launch.
  ProductShape ShapeOf(const Pass& pass, const PlainMemory* plain) const {
    const bool by_library = options_.library_rows > 0 && plain->weights.bytes > 0 &&
                            pass.most_rows >= options_.library_rows &&
                            pass.most_rows == state_.step.sizes.rows;
    return {pass.most_rows, IsProgrammatic(pass), by_library ? plain : nullptr};
  }

  Runtime& runtime_;
  const DeviceModel& model_;
  const DeviceState& state_;
  const LayerOptions options_;
  const SlotTables<simt::In> slots_;
  const simt::In<ListCounts> counts_;
};

}  // namespace

std::unique_ptr<Layers> MakeLayersBf16(Runtime& runtime, const DeviceModel& model,
                                       const DeviceState& state, const LayerOptions& options) {
  return std::make_unique<LayersBf16>(runtime, model, state, options);
}

}  // namespace recurve::cuda
