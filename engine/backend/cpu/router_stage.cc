// SPDX-License-Identifier: Apache-2.0
#include "engine/backend/cpu/router_stage.h"

#include <algorithm>
#include <cstring>

#include "engine/backend/gate.h"
#include "engine/backend/limits.h"
#include "engine/base/status_macros.h"

namespace recurve {

RouterStage::RouterStage(const PackedModel& model, const Kernels& kernels)
    : model_(model), config_(model.config()), kernels_(kernels) {}

absl::Status RouterStage::Allocate(const BackendLimits& limits) {
  const RouterConfig& router = config_.router;
  const uint32_t rows = MaxRows(limits);
  const uint32_t hidden_rows = HiddenRows(limits);
  RETURN_IF_ERROR(hidden_.Allocate(hidden_rows, config_.hidden_size, Precision::kF32));
  if (router.type == RouterType::kNone) return absl::OkStatus();
  if (router.type == RouterType::kTokenChoice) {
    RETURN_IF_ERROR(stream_.Allocate(hidden_rows, config_.hidden_size, Precision::kF32));
    depth_.resize(hidden_rows);
  }
  gate_.resize(hidden_rows);
  score_.resize(hidden_rows);
  logits_.resize(size_t{rows} * kMaxGroups);
  RETURN_IF_ERROR(router_input_.Allocate(rows, config_.hidden_size, Precision::kF32));
  if (router.network == RouterNetwork::kMlp) {
    RETURN_IF_ERROR(router_hidden_.Allocate(rows, 2 * config_.hidden_size, Precision::kF32));
  }
  return absl::OkStatus();
}

const float* RouterStage::BlockInput(const Row& row) const {
  const bool second = config_.router.type == RouterType::kTokenChoice && row.recursion > 1;
  return second ? stream_.floats(row.hidden) : hidden_.floats(row.hidden);
}

uint32_t RouterStage::Cap(const SlotTable& table, const Row& row) const {
  return table.slot(row.slot).CapAt(row.position, table.shape().recursions);
}

void RouterStage::RunRouter(const PackedRouter& router, const Batch& batch, RowRange range,
                            float temperature, float* linear_scratch) {
  const uint32_t hidden = config_.hidden_size;
  for (uint32_t i = range.begin; i < range.end; ++i) {
    kernels_.divide(hidden_.floats(batch.rows()[i].hidden), temperature, hidden,
                    router_input_.floats(i));
  }
  const bool mlp = router.hidden.panels() > 0;
  if (mlp) {
    LinearArgs args;
    args.weights = &router.hidden;
    args.panel_end = router.hidden.panels();
    args.rows = range.end - range.begin;
    args.x = router_input_.row(range.begin);
    args.x_stride = router_input_.stride();
    args.y = router_hidden_.row(range.begin);
    args.y_stride = router_hidden_.stride();
    args.scratch = linear_scratch;
    kernels_.linear(args);
  }
  for (uint32_t i = range.begin; i < range.end; ++i) {
    float* input = mlp ? router_hidden_.floats(i) : router_input_.floats(i);
    if (mlp) kernels_.gelu(input, router.inputs);
    for (uint32_t output = 0; output < router.outputs; ++output) {
      logits(i)[output] =
          kernels_.dot(input, &router.out[size_t{output} * router.inputs], router.inputs);
    }
  }
}

void RouterStage::UpdateFixed(const SlotTable& table, const Batch& batch, RowRange range,
                              LayerRunner& layers, uint8_t* passes) {
  for (uint32_t i = range.begin; i < range.end; ++i) {
    const Row& row = batch.rows()[i];
    std::memcpy(hidden_.floats(row.hidden), layers.x(i), config_.hidden_size * sizeof(float));
    passes[i] = Passes(row.recursion, Cap(table, row)) ? 1 : 0;
  }
}

void RouterStage::UpdateExpert(const SlotTable& table, const Batch& batch, RowRange range,
                               LayerRunner& layers, float* linear_scratch, uint8_t* passes) {
  const RouterConfig& router = config_.router;
  if (router.weighted && batch.rows()[range.begin].recursion == 1) {
    RunRouter(model_.routers[0], batch, range, router.temperature, linear_scratch);
    for (uint32_t i = range.begin; i < range.end; ++i) {
      gate_[batch.rows()[i].hidden] = logits(i)[0];
    }
  }
  for (uint32_t i = range.begin; i < range.end; ++i) {
    const uint32_t hidden_row = batch.rows()[i].hidden;
    const float gate = router.weighted ? ExpertGate(router, gate_[hidden_row]) : 1.0F;
    kernels_.add_scaled(layers.x(i), gate, config_.hidden_size, hidden_.floats(hidden_row));
  }
  DecideExpert(table, batch, range, linear_scratch, passes);
}

void RouterStage::DecideExpert(const SlotTable& table, const Batch& batch, RowRange range,
                               float* linear_scratch, uint8_t* passes) {
  const RouterConfig& router = config_.router;
  const uint32_t recursion = batch.rows()[range.begin].recursion;
  if (recursion == table.shape().recursions) {
    std::fill(passes + range.begin, passes + range.end, uint8_t{0});
    return;
  }
  const bool aux = router.sampling == RouterSampling::kAuxRouter;
  if (router.weighted || !aux) {
    RunRouter(model_.routers[recursion], batch, range, router.temperature, linear_scratch);
    for (uint32_t i = range.begin; i < range.end; ++i) {
      gate_[batch.rows()[i].hidden] = logits(i)[0];
    }
  }
  if (aux) RunRouter(model_.aux_routers[recursion], batch, range, 1.0F, linear_scratch);
  for (uint32_t i = range.begin; i < range.end; ++i) {
    const Row& row = batch.rows()[i];
    const float threshold = table.slot(row.slot).threshold_logit;
    passes[i] = ExpertPasses(logits(i)[0], threshold, recursion, Cap(table, row)) ? 1 : 0;
    score_[row.hidden] = logits(i)[0];
  }
}

void RouterStage::DecideDepth(const Row& row, uint32_t cap, float* z) {
  const float* const bias = model_.router_bias.empty() ? nullptr : model_.router_bias.data();
  const DepthChoice choice = ChooseDepth(config_.router, config_.recursions(), bias, cap, z);
  depth_[row.hidden] = choice.depth;
  score_[row.hidden] = choice.score;
  gate_[row.hidden] = choice.gate;
}

void RouterStage::UpdateToken(const SlotTable& table, const Batch& batch, RowRange range,
                              LayerRunner& layers, float* linear_scratch, uint8_t* passes) {
  if (batch.rows()[range.begin].recursion == 1) {
    RunRouter(model_.routers[0], batch, range, config_.router.temperature, linear_scratch);
    for (uint32_t i = range.begin; i < range.end; ++i) {
      const Row& row = batch.rows()[i];
      DecideDepth(row, Cap(table, row), logits(i));
    }
  }
  for (uint32_t i = range.begin; i < range.end; ++i) {
    const Row& row = batch.rows()[i];
    passes[i] = Passes(row.recursion, depth_[row.hidden]) ? 1 : 0;
    if (passes[i] != 0) {
      std::memcpy(stream_.floats(row.hidden), layers.x(i), config_.hidden_size * sizeof(float));
    } else {
      kernels_.add_scaled(layers.x(i), gate_[row.hidden], config_.hidden_size,
                          hidden_.floats(row.hidden));
    }
  }
}

void RouterStage::Update(const SlotTable& table, const Batch& batch, RowRange range,
                         LayerRunner& layers, float* linear_scratch, uint8_t* passes) {
  for (const RowRange recursion : batch.recursions()) {
    const RowRange part = {std::max(range.begin, recursion.begin),
                           std::min(range.end, recursion.end)};
    if (part.begin >= part.end) continue;
    switch (config_.router.type) {
      case RouterType::kNone:
        UpdateFixed(table, batch, part, layers, passes);
        break;
      case RouterType::kExpertChoice:
        UpdateExpert(table, batch, part, layers, linear_scratch, passes);
        break;
      case RouterType::kTokenChoice:
        UpdateToken(table, batch, part, layers, linear_scratch, passes);
        break;
    }
  }
}

}  // namespace recurve
