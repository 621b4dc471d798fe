// SPDX-License-Identifier: Apache-2.0
// One decoder layer over the rows of a batch, with all threads of the team.
#ifndef RECURVE_ENGINE_BACKEND_CPU_LAYER_RUNNER_H_
#define RECURVE_ENGINE_BACKEND_CPU_LAYER_RUNNER_H_

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/types/span.h"
#include "engine/backend/backend.h"
#include "engine/backend/cpu/activations.h"
#include "engine/backend/cpu/attention_items.h"
#include "engine/backend/cpu/batch.h"
#include "engine/backend/cpu/evictor.h"
#include "engine/backend/cpu/kernels/huge_buffer.h"
#include "engine/backend/cpu/kernels/kernels.h"
#include "engine/backend/cpu/kv_pool.h"
#include "engine/backend/cpu/packed_model.h"
#include "engine/backend/cpu/thread_team.h"
#include "engine/backend/precision.h"
#include "engine/backend/slot_table.h"

namespace recurve {

// Of `count` things the part that falls to `thread` of `threads`.
inline RowRange PartOfThread(uint64_t count, uint32_t thread, uint32_t threads) {
  return {static_cast<uint32_t>(count * thread / threads),
          static_cast<uint32_t>(count * (thread + 1) / threads)};
}

// Rows that attend together at most: with all query heads of a KV head a kernel's queries.
inline uint32_t RowsTogether(const ModelConfig& config) {
  return std::max(1U, kQueriesTogether * config.num_kv_heads / config.num_heads);
}

// What one call of Run works on.
struct LayerJob {
  const PackedLayer* layer = nullptr;
  uint32_t index = 0;    // of the layer in its cache group
  uint32_t queries = 0;  // leading rows that need the layer's output; of the others only keys and
                         // values are wanted
  const PackedLayer* next = nullptr;  // that runs after it, if one does: its weights are fetched
};

// Owns the activations of a batch. Everything passed to the constructor outlives it. Run is called
// by all threads of a ThreadTeam::Run with the same arguments but for `thread`; PartOfThread(rows)
// is how rows are dealt out to threads before and after.
class LayerRunner {
 public:
  LayerRunner(const PackedModel& model, const Kernels& kernels, Precision precision,
              ThreadTeam& team, KvPool& pool, Evictor& evictor);

  // Memory for batches within `limits`. RESOURCE_EXHAUSTED when there is none. Call once.
  absl::Status Allocate(const BackendLimits& limits);

  // The residual stream of a batch: [rows][hidden], updated in place by Run.
  float* x(uint32_t row) { return x_.floats(row); }

  // x of the batch's rows <- layer(x). Each thread has written x of its own share of the rows; upon
  // return x is complete for all threads.
  void Run(const SlotTable& table, const Batch& batch, const LayerJob& job, uint32_t thread);

  // logits [rows][vocab] <- W norm(x) of the leading `rows` rows, complete upon return.
  void RunHead(uint32_t rows, Activations& logits, uint32_t thread);

  // The time, in ns, that attention has taken since the last call, with the rotation and storing of
  // what it reads. Not to be called inside a Run of the team.
  uint64_t TakeAttentionTime() { return std::exchange(attention_ns_, 0); }

  // Working memory of `thread` for a product: [LinearScratch(model)].
  float* linear_scratch(uint32_t thread) { return linear_scratch_.floats(thread); }

 private:
  void Norm(const std::vector<float>& gamma, uint32_t rows, uint32_t thread);
  // Where attention and the MLP's gate leave what becomes `out`: there, or in int8 in wide_, since
  // a row's scale is that of all its numbers, which several threads compute.
  Activations& Producer(Activations& out) { return precision_ == Precision::kInt8 ? wide_ : out; }
  Precision ProducedPrecision() const {
    return precision_ == Precision::kInt8 ? Precision::kF32 : precision_;
  }
  // int8: a row of `out` <- that of wide_, quantized.
  void Quantize(uint32_t row, uint32_t columns, Activations& out);
  // In int8 makes rows of `out` of those of Producer(out), which are complete for all threads; so
  // are those of `out` upon return. Else there is nothing to do.
  void FinishRows(uint32_t rows, uint32_t columns, Activations& out, uint32_t thread);
  // `next`: the matrix whose turn comes then, or null.
  void Linear(const PackedMatrix& weights, uint32_t panels, RowRange rows, Activations& in,
              Epilogue epilogue, Activations& out, const PackedMatrix* next, uint32_t thread);
  void ProjectQkv(const Batch& batch, const PackedLayer& layer, uint32_t thread);
  // Cosines and sines of a position's angles: [head_dim / 2] each.
  void ComputeAngles(uint32_t position, float* cos, float* sin) const;
  void RotateAndAppend(const SlotTable& table, const Batch& batch, uint32_t index, uint32_t thread);
  // RotateAndAppend and Attend, each complete for all threads upon return.
  void RunAttention(const SlotTable& table, const Batch& batch, const LayerJob& job,
                    uint32_t thread);
  void Attend(const SlotTable& table, const Batch& batch, const LayerJob& job, uint32_t thread);
  // Of which group the row's keys and values are; with an overlay some of them are of its own.
  uint32_t GroupRead(const Row& row) const;
  void FindTiles(const Slot& slot, const Row& row, uint32_t index, uint32_t kv_head,
                 uint32_t thread);
  void OverlayTiles(const Slot& slot, const Row& row, uint32_t index, uint32_t kv_head,
                    uint32_t thread);
  absl::Span<const RowRange> AttentionRanges(const Batch& batch, const PackedLayer& layer) const;

  // What a thread needs beside the shared activations.
  struct Scratch {
    std::vector<const std::byte*> tiles;  // [tiles of max_positions]
    std::vector<float> attended;          // [rows together][query heads a KV head][head_dim]
    std::vector<uint32_t> visible;        // [rows together]
    std::vector<AttentionItem> items;     // of the layer at hand
    std::vector<float> cos, sin;          // [head_dim / 2]: of a position beyond the tables
    BlockingChoices blockings;            // of products
  };

  const PackedModel& model_;
  const ModelConfig& config_;
  const Kernels& kernels_;
  const Precision precision_;
  ThreadTeam& team_;
  KvPool& pool_;
  Evictor& evictor_;
  Activations x_, normed_, qkv_, attended_, gated_;
  Activations wide_;                 // int8: what becomes normed_, attended_ or gated_, in floats
  std::vector<double> frequencies_;  // [head_dim / 2]
  uint32_t tabled_positions_ = 0;    // those below it have their angles in
  Activations cos_, sin_;            // [tabled_positions_][head_dim / 2]
  Activations linear_scratch_, attention_scratch_;  // [threads][...]
  std::vector<HugeBuffer> overlay_tiles_;           // [threads], [tiles of max_positions] each
  std::vector<Scratch> scratch_;                    // [threads]
  uint64_t attention_ns_ = 0;                       // of thread 0, which waits for the others
};

}  // namespace recurve

#endif  // RECURVE_ENGINE_BACKEND_CPU_LAYER_RUNNER_H_
