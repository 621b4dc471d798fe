// SPDX-License-Identifier: Apache-2.0
// What follows a recursion of the block: the gate, the residual's update and the decision which
// rows take the next recursion.
#ifndef RECURVE_ENGINE_BACKEND_CPU_ROUTER_STAGE_H_
#define RECURVE_ENGINE_BACKEND_CPU_ROUTER_STAGE_H_

#include <cstdint>
#include <vector>

#include "absl/status/status.h"
#include "engine/backend/backend.h"
#include "engine/backend/cpu/batch.h"
#include "engine/backend/cpu/kernels/kernels.h"
#include "engine/backend/cpu/layer_runner.h"
#include "engine/backend/cpu/packed_model.h"
#include "engine/backend/slot_table.h"

namespace recurve {

// Owns the hidden rows: the residual stream H of every row between its stages and, for
// token-choice, the stream h of a row between recursions. Routers read H unrounded.
//
// Expert-choice: H <- H + g_r block(H), then row t takes recursion r + 1 if that is within its cap
// and the deciding logit of the new H reaches the slot's threshold. Token-choice: depth and gate
// come from H before recursion 1; H <- H + g h after the row's last recursion. Fixed depth: H <-
// block(H).
//
// Calls of Update for disjoint ranges of a batch's rows may run at the same time; everything passed
// to the constructor outlives it.
class RouterStage {
 public:
  RouterStage(const PackedModel& model, const Kernels& kernels);

  // Memory for `limits`. RESOURCE_EXHAUSTED when there is none. Call once.
  absl::Status Allocate(const BackendLimits& limits);

  // H of a hidden row: [hidden].
  float* hidden(uint32_t hidden_row) { return hidden_.floats(hidden_row); }

  // What the block reads for a row of a BLOCK batch: [hidden].
  const float* BlockInput(const Row& row) const;

  // The score by which a row of a BLOCK batch got into its recursion, which is not the first. 0 in
  // models of fixed depth.
  float Score(const Row& row) const { return score_.empty() ? 0.0F : score_[row.hidden]; }

  // Rows [range) of a BLOCK batch ran their recursion; `layers` holds their results. passes [rows
  // of the batch]: 1 for a row that takes the next recursion, else 0. `linear_scratch`: of this
  // thread.
  void Update(const SlotTable& table, const Batch& batch, RowRange range, LayerRunner& layers,
              float* linear_scratch, uint8_t* passes);

 private:
  // logits_ [rows of the range][kMaxGroups] <- router(H / temperature) of rows that share a
  // recursion.
  void RunRouter(const PackedRouter& router, const Batch& batch, RowRange range, float temperature,
                 float* linear_scratch);
  float* logits(uint32_t row) { return &logits_[size_t{row} * kMaxGroups]; }

  void UpdateFixed(const SlotTable& table, const Batch& batch, RowRange range, LayerRunner& layers,
                   uint8_t* passes);
  void UpdateExpert(const SlotTable& table, const Batch& batch, RowRange range, LayerRunner& layers,
                    float* linear_scratch, uint8_t* passes);
  void DecideExpert(const SlotTable& table, const Batch& batch, RowRange range,
                    float* linear_scratch, uint8_t* passes);
  void UpdateToken(const SlotTable& table, const Batch& batch, RowRange range, LayerRunner& layers,
                   float* linear_scratch, uint8_t* passes);
  void DecideDepth(const Row& row, uint32_t cap, float* z);
  uint32_t Cap(const SlotTable& table, const Row& row) const;

  const PackedModel& model_;
  const ModelConfig& config_;
  const Kernels& kernels_;
  Activations hidden_;         // [hidden rows][hidden]
  Activations stream_;         // token-choice: [hidden rows][hidden]
  Activations router_input_;   // [batch rows][hidden]
  Activations router_hidden_;  // mlp: [batch rows][2 * hidden]
  std::vector<float> logits_;  // [batch rows][kMaxGroups]
  // [hidden rows]: expert-choice: z of the next recursion; token-choice: g.
  std::vector<float> gate_;
  std::vector<uint32_t> depth_;  // token-choice: [hidden rows]
  std::vector<float> score_;     // [hidden rows]: deciding logit, or the chosen depth's score
};

}  // namespace recurve

#endif  // RECURVE_ENGINE_BACKEND_CPU_ROUTER_STAGE_H_
