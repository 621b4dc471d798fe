// SPDX-License-Identifier: Apache-2.0
// A model's weights as the CPU backend reads them.
#ifndef RECURVE_ENGINE_BACKEND_CPU_PACKED_MODEL_H_
#define RECURVE_ENGINE_BACKEND_CPU_PACKED_MODEL_H_

#include <cstdint>
#include <memory>
#include <vector>

#include "absl/status/statusor.h"
#include "engine/backend/cpu/kernels/packed_matrix.h"
#include "engine/backend/cpu/thread_team.h"
#include "engine/backend/precision.h"
#include "engine/model/weights.h"

namespace recurve {

struct PackedAttention {
  PackedMatrix qkv;  // outputs: all heads of q, then of k, then of v
  PackedMatrix o;
};

struct PackedLayer {
  std::vector<float> input_norm;           // [hidden]
  std::vector<float> post_attention_norm;  // [hidden]
  std::vector<PackedAttention> attention;  // one, or one for each recursion
  PackedMatrix gate_up;                    // interleaved
  PackedMatrix down;
};

// In f32 whatever the precision: a router decides depths by its sign.
struct PackedRouter {
  PackedMatrix hidden;     // mlp: [2 * hidden][hidden]; linear: empty
  std::vector<float> out;  // [outputs][inputs]
  uint32_t outputs = 0;
  uint32_t inputs = 0;
};

// Immutable; thread-safe. Embeddings are read from `source`, but for int8; everything else was
// copied.
struct PackedModel {
  std::shared_ptr<const Model> source;
  std::vector<PackedLayer> entry;  // none or one
  std::vector<PackedLayer> block;  // distinct layers
  std::vector<PackedLayer> exit;   // none or one
  std::vector<float> final_norm;   // [hidden]
  PackedMatrix lm_head;
  PackedMatrix embedding;  // int8 where the head is another matrix, else empty
  std::vector<PackedRouter> routers;
  std::vector<PackedRouter> aux_routers;
  std::vector<float> router_bias;  // [recursions] or empty

  const ModelConfig& config() const { return source->config; }

  // What a token's residual stream begins with.
  void Embed(uint32_t token, float* out /* [hidden] */) const;
};

// Packs with all threads of `team`. RESOURCE_EXHAUSTED when there is no memory.
absl::StatusOr<PackedModel> PackModel(std::shared_ptr<const Model> model, Precision precision,
                                      ThreadTeam& team);

// The largest LinearScratch of the model's matrices: floats.
size_t LinearScratch(const PackedModel& model);

}  // namespace recurve

#endif  // RECURVE_ENGINE_BACKEND_CPU_PACKED_MODEL_H_
