// SPDX-License-Identifier: Apache-2.0
#include "engine/backend/cuda/attention_f32.h"
#include "engine/backend/cuda/layers.h"
#include "engine/backend/cuda/linear_f32.h"
#include "engine/base/status_macros.h"

namespace recurve::cuda {
namespace {

class LayersF32 final : public Layers {
 public:
  LayersF32(Runtime& runtime, const DeviceModel& model, const DeviceState& state)
      : runtime_(runtime),
        model_(model),
        state_(state),
        slots_(state.step),
        counts_(All<simt::In, ListCounts>(state.step.counts)) {}

  absl::Status Load(RowSource source, const Pass& pass, const DeviceMatrix& /*norm*/) override {
    LoadRowsArgs load;
    load.from = SourcesOf(source, pass, model_, state_);
    load.embedding = FloatsOf(model_.embedding);
    load.x = All<simt::Out, float>(state_.x);
    return LaunchLoadRows(runtime_, load);
  }

  absl::Status Run(const DeviceLayer& layer, uint32_t index, const Pass& pass, RowSet queries,
                   const DeviceMatrix& /*next_norm*/) override {
    ProjectQkvArgs qkv;
    qkv.product = ProductOf(layer.qkv, state_.x, pass.set, pass);
    qkv.norm = NormOf(layer.input_norm);
    qkv.sizes = state_.step.sizes;
    qkv.layout = state_.layout;
    qkv.heads = model_.config().num_heads;
    qkv.layer = index;
    qkv.slots = slots_;
    qkv.rotary = RotaryOf(state_);
    qkv.q = All<simt::Out, float>(state_.q);
    qkv.pages = All<simt::Out, float>(state_.pages);
    qkv.entry_positions = All<simt::Out, uint32_t>(state_.entry_positions);
    RETURN_IF_ERROR(LaunchProjectQkv(runtime_, qkv));
    RETURN_IF_ERROR(Attend(layer, index, pass, queries));
    GateUpArgs gate_up;
    gate_up.product = ProductOf(layer.gate, state_.x, queries, pass);
    gate_up.norm = NormOf(layer.post_attention_norm);
    gate_up.up = FloatsOf(layer.up);
    gate_up.y = All<simt::Out, float>(state_.gated);
    RETURN_IF_ERROR(LaunchGateUp(runtime_, gate_up));
    return Add(ProductOf(layer.down, state_.gated, queries, pass));
  }

  absl::Status RunHead(const Pass& pass) override {
    HeadArgs head;
    head.product = ProductOf(model_.lm_head, state_.x, RowSet::kLogits, pass);
    head.norm = NormOf(model_.final_norm);
    head.logits = All<simt::Out, float>(state_.logits);
    return LaunchHead(runtime_, head);
  }

 private:
  absl::Status Attend(const DeviceLayer& layer, uint32_t index, const Pass& pass, RowSet queries) {
    AttentionArgs attention;
    attention.set = queries;
    attention.sizes = state_.step.sizes;
    attention.layout = state_.layout;
    attention.heads = model_.config().num_heads;
    attention.layer = index;
    attention.counts = counts_;
    attention.rows = pass.rows;
    attention.slots = slots_;
    attention.entry_positions = All<simt::In, uint32_t>(state_.entry_positions);
    attention.pages = All<simt::In, float>(state_.pages);
    attention.q = All<simt::In, float>(state_.q);
    attention.y = All<simt::Out, float>(state_.attended);
    attention.mass = All<simt::Out, uint64_t>(state_.step.mass);
    attention.probabilities = All<simt::Out, float>(state_.probabilities);
    attention.places = All<simt::Out, uint64_t>(state_.places);
    RETURN_IF_ERROR(LaunchAttention(runtime_, attention));
    return Add(ProductOf(layer.o, state_.attended, queries, pass));
  }

  absl::Status Add(const ProductF32& product) {
    return LaunchAddProduct(runtime_, {product, All<simt::Out, float>(state_.x)});
  }

  ProductF32 ProductOf(const DeviceMatrix& matrix, const DeviceMemory& x, RowSet set,
                       const Pass& pass) const {
    ProductF32 product;
    product.set = set;
    product.counts = counts_;
    product.rows = pass.rows;
    product.inputs = matrix.inputs;
    product.outputs = matrix.outputs;
    product.sets = matrix.sets;
    product.weights = FloatsOf(matrix);
    product.x = All<simt::In, float>(x);
    return product;
  }

  NormF32 NormOf(const DeviceMatrix& gamma) const {
    return {FloatsOf(gamma), model_.config().rms_norm_eps};
  }

  Runtime& runtime_;
  const DeviceModel& model_;
  const DeviceState& state_;
  const SlotTables<simt::In> slots_;
  const simt::In<ListCounts> counts_;
};

}  // namespace

std::unique_ptr<Layers> MakeLayersF32(Runtime& runtime, const DeviceModel& model,
                                      const DeviceState& state) {
  return std::make_unique<LayersF32>(runtime, model, state);
}

}  // namespace recurve::cuda
