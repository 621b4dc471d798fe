// SPDX-License-Identifier: Apache-2.0
#include "engine/backend/cpu/layer_runner.h"

#include <algorithm>
#include <chrono>
#include <cstring>

#include "engine/backend/limits.h"
#include "engine/base/math.h"
#include "engine/base/status_macros.h"
#include "engine/model/rope.h"

namespace recurve {
namespace {

const PackedAttention& WeightsOf(const PackedLayer& layer, const Row& row) {
  return layer.attention[layer.attention.size() > 1 ? row.recursion - 1 : 0];
}

}  // namespace

LayerRunner::LayerRunner(const PackedModel& model, const Kernels& kernels, Precision precision,
                         ThreadTeam& team, KvPool& pool, Evictor& evictor)
    : model_(model),
      config_(model.config()),
      kernels_(kernels),
      precision_(precision),
      team_(team),
      pool_(pool),
      evictor_(evictor),
      overlay_tiles_(team.size()),
      scratch_(team.size()) {}

absl::Status LayerRunner::Allocate(const BackendLimits& limits) {
  const uint32_t rows = MaxRows(limits);
  const uint32_t threads = team_.size();
  const uint32_t query_columns = config_.num_heads * config_.head_dim;
  const uint32_t kv_columns = config_.num_kv_heads * config_.head_dim;
  const uint32_t heads = config_.num_heads / config_.num_kv_heads;
  const uint32_t half = config_.head_dim / 2;
  RETURN_IF_ERROR(x_.Allocate(rows, config_.hidden_size, Precision::kF32));
  RETURN_IF_ERROR(normed_.Allocate(rows, config_.hidden_size, precision_));
  RETURN_IF_ERROR(qkv_.Allocate(rows, query_columns + 2 * kv_columns, Precision::kF32));
  RETURN_IF_ERROR(attended_.Allocate(rows, query_columns, precision_));
  RETURN_IF_ERROR(gated_.Allocate(rows, config_.intermediate_size, precision_));
  if (precision_ == Precision::kInt8) {
    const uint32_t widest =
        std::max({config_.hidden_size, query_columns, config_.intermediate_size});
    RETURN_IF_ERROR(wide_.Allocate(rows, widest, Precision::kF32));
  }
  RETURN_IF_ERROR(linear_scratch_.Allocate(threads, LinearScratch(model_), Precision::kF32));
  RETURN_IF_ERROR(attention_scratch_.Allocate(
      threads, AttentionScratch(pool_.layout(), limits.max_positions), Precision::kF32));
  const uint32_t tiles = (limits.max_positions + kTileEntries - 1) / kTileEntries;
  for (uint32_t thread = 0; thread < threads; ++thread) {
    scratch_[thread].tiles.resize(tiles);
    scratch_[thread].attended.resize(size_t{RowsTogether(config_)} * heads * config_.head_dim);
    scratch_[thread].visible.resize(RowsTogether(config_));
    scratch_[thread].items.reserve(size_t{rows} * config_.num_kv_heads);
    scratch_[thread].cos.resize(half);
    scratch_[thread].sin.resize(half);
    if (config_.kv_mode == KvMode::kSharedUpdate) {
      ASSIGN_OR_RETURN(overlay_tiles_[thread],
                       HugeBuffer::Allocate(tiles * pool_.layout().tile_bytes()));
    }
  }
  RETURN_IF_ERROR(cos_.Allocate(limits.max_positions, half, Precision::kF32));
  RETURN_IF_ERROR(sin_.Allocate(limits.max_positions, half, Precision::kF32));
  frequencies_ = RotaryFrequencies(config_);
  tabled_positions_ = limits.max_positions;
  for (uint32_t position = 0; position < tabled_positions_; ++position) {
    ComputeAngles(position, cos_.floats(position), sin_.floats(position));
  }
  return absl::OkStatus();
}

void LayerRunner::ComputeAngles(uint32_t position, float* cos, float* sin) const {
  for (size_t i = 0; i < frequencies_.size(); ++i) {
    cos[i] = Cos(position * frequencies_[i]);
    sin[i] = Sin(position * frequencies_[i]);
  }
}

void LayerRunner::Norm(const std::vector<float>& gamma, uint32_t rows, uint32_t thread) {
  const RowRange part = PartOfThread(rows, thread, team_.size());
  for (uint32_t row = part.begin; row < part.end; ++row) {
    kernels_.rms_norm(x_.floats(row), gamma.data(), config_.rms_norm_eps, config_.hidden_size,
                      ProducedPrecision(), Producer(normed_).row(row));
    if (precision_ == Precision::kInt8) Quantize(row, config_.hidden_size, normed_);
  }
}

void LayerRunner::Quantize(uint32_t row, uint32_t columns, Activations& out) {
  *out.scales(row) = kernels_.quantize(wide_.floats(row), columns, out.numbers(row));
}

void LayerRunner::FinishRows(uint32_t rows, uint32_t columns, Activations& out, uint32_t thread) {
  if (precision_ != Precision::kInt8) return;
  const RowRange part = PartOfThread(rows, thread, team_.size());
  for (uint32_t row = part.begin; row < part.end; ++row) Quantize(row, columns, out);
  team_.Barrier(thread);
}

void LayerRunner::Linear(const PackedMatrix& weights, uint32_t panels, RowRange rows,
                         Activations& in, Epilogue epilogue, Activations& out,
                         const PackedMatrix* next, uint32_t thread) {
  const RowRange part = PartOfThread(panels, thread, team_.size());
  LinearArgs args;
  args.weights = &weights;
  args.panel_begin = part.begin;
  args.panel_end = part.end;
  args.rows = rows.end - rows.begin;
  args.x = in.row(rows.begin);
  args.x_stride = in.stride();
  args.epilogue = epilogue;
  args.y = out.row(rows.begin);
  args.y_stride = out.stride();
  args.scratch = linear_scratch(thread);
  args.blockings = &scratch_[thread].blockings;
  if (next != nullptr) {
    args.next = next->panel(PartOfThread(next->panels(), thread, team_.size()).begin);
  }
  if (weights.precision() == Precision::kInt8) {
    args.x_scales = in.scales(rows.begin);
    kernels_.linear_int8(args);
  } else {
    kernels_.linear(args);
  }
}

// Rows that share attention weights and what they compute: all of them, or those of each recursion.
absl::Span<const RowRange> LayerRunner::AttentionRanges(const Batch& batch,
                                                        const PackedLayer& layer) const {
  const bool apart = layer.attention.size() > 1 || config_.kv_mode == KvMode::kShared;
  return apart ? batch.recursions() : batch.all();
}

void LayerRunner::ProjectQkv(const Batch& batch, const PackedLayer& layer, uint32_t thread) {
  for (const RowRange rows : AttentionRanges(batch, layer)) {
    const Row& first = batch.rows()[rows.begin];
    const auto& [qkv, o] = WeightsOf(layer, first);
    // Rows that append nothing need no keys and values.
    const uint32_t queries = config_.num_heads * config_.head_dim;
    const uint32_t panels =
        first.entry == kNoEntry ? (queries + kPanelOutputs - 1) / kPanelOutputs : qkv.panels();
    Linear(qkv, panels, rows, normed_, Epilogue::kStore, qkv_, &o, thread);
  }
}

void LayerRunner::RotateAndAppend(const SlotTable& table, const Batch& batch, uint32_t index,
                                  uint32_t thread) {
  const uint32_t head_dim = config_.head_dim;
  const RowRange part = PartOfThread(batch.size(), thread, team_.size());
  for (uint32_t i = part.begin; i < part.end; ++i) {
    const Row& row = batch.rows()[i];
    const Slot& slot = table.slot(row.slot);
    const bool tabled = row.position < tabled_positions_;
    Scratch& scratch = scratch_[thread];
    if (!tabled) ComputeAngles(row.position, scratch.cos.data(), scratch.sin.data());
    const float* cos = tabled ? cos_.floats(row.position) : scratch.cos.data();
    const float* sin = tabled ? sin_.floats(row.position) : scratch.sin.data();
    float* query = qkv_.floats(i);
    kernels_.rope(query, cos, sin, config_.num_heads, head_dim);
    if (row.entry == kNoEntry) continue;
    float* key = query + size_t{config_.num_heads} * head_dim;
    const float* value = key + size_t{config_.num_kv_heads} * head_dim;
    kernels_.rope(key, cos, sin, config_.num_kv_heads, head_dim);
    for (uint32_t head = 0; head < config_.num_kv_heads; ++head) {
      StoreKv(pool_.layout(), row.entry % kTileEntries, key + size_t{head} * head_dim,
              value + size_t{head} * head_dim,
              pool_.Tile(slot, row.group, index, head, row.entry / kTileEntries));
    }
    pool_.Position(slot, row.group, row.entry) = row.position;
  }
}

uint32_t LayerRunner::GroupRead(const Row& row) const {
  return config_.kv_mode == KvMode::kSharedUpdate && row.recursion > 1 ? 1 : row.group;
}

void LayerRunner::FindTiles(const Slot& slot, const Row& row, uint32_t index, uint32_t kv_head,
                            uint32_t thread) {
  const uint32_t group = GroupRead(row);
  const uint32_t tiles = (row.visible + kTileEntries - 1) / kTileEntries;
  pool_.Tiles(slot, group, index, kv_head, tiles, scratch_[thread].tiles.data());
  if (group != row.group) OverlayTiles(slot, row, index, kv_head, thread);
}

// Puts copies in the place of those of recursion 1's tiles in which an entry of the row's recursion
// takes the place of recursion 1's. Everybody runs recursion 1, so entry t there is position t, and
// what the last of several rows replaces, those before it either replace as well or do not see.
void LayerRunner::OverlayTiles(const Slot& slot, const Row& row, uint32_t index, uint32_t kv_head,
                               uint32_t thread) {
  const PageLayout& layout = pool_.layout();
  std::vector<const std::byte*>& tiles = scratch_[thread].tiles;
  for (uint32_t entry = 0; entry <= row.entry; ++entry) {
    const uint32_t position = pool_.Position(slot, row.group, entry);
    const uint32_t tile = position / kTileEntries;
    std::byte* copy = overlay_tiles_[thread].data() + tile * layout.tile_bytes();
    if (tiles[tile] != copy) {
      std::memcpy(copy, tiles[tile], layout.tile_bytes());
      tiles[tile] = copy;
    }
    CopyKv(layout, pool_.Tile(slot, row.group, index, kv_head, entry / kTileEntries),
           entry % kTileEntries, copy, position % kTileEntries);
  }
}

void LayerRunner::Attend(const SlotTable& table, const Batch& batch, const LayerJob& job,
                         uint32_t thread) {
  const uint32_t heads = config_.num_heads / config_.num_kv_heads;
  const uint32_t head_dim = config_.head_dim;
  Scratch& scratch = scratch_[thread];
  DealOutAttention(batch.rows(), batch.groups(job.queries), {config_.num_kv_heads, heads}, thread,
                   team_.size(), scratch.items);
  const Precision precision = ProducedPrecision();
  AttentionArgs args;
  args.layout = pool_.layout();
  args.entries = scratch.visible.data();
  args.q_stride = qkv_.stride();
  args.tiles = scratch.tiles.data();
  args.out = scratch.attended.data();
  args.out_stride = size_t{heads} * head_dim;
  args.scratch = attention_scratch_.floats(thread);
  for (size_t i = 0; i < scratch.items.size(); ++i) {
    const AttentionItem& item = scratch.items[i];
    const Row& last = batch.rows()[item.rows.end - 1];
    const size_t column = (size_t{item.kv_head} * heads + item.head_begin) * head_dim;
    FindTiles(table.slot(last.slot), last, job.index, item.kv_head, thread);
    args.next = nullptr;
    if (i + 1 < scratch.items.size()) {
      const AttentionItem& next = scratch.items[i + 1];
      const Row& row = batch.rows()[next.rows.begin];
      args.next = pool_.Tile(table.slot(row.slot), GroupRead(row), job.index, next.kv_head, 0);
    }
    args.rows = item.rows.end - item.rows.begin;
    args.heads = item.head_end - item.head_begin;
    for (uint32_t row = 0; row < args.rows; ++row) {
      scratch.visible[row] = batch.rows()[item.rows.begin + row].visible;
    }
    // Shared entries are judged by the queries of the recursion that appends them.
    args.mass = last.entry == kNoEntry ? nullptr : evictor_.Mass(last.slot, last.group);
    args.q = qkv_.floats(item.rows.begin) + column;
    kernels_.attention(args);
    for (uint32_t row = 0; row < args.rows; ++row) {
      std::byte* const out = Producer(attended_).row(item.rows.begin + row);
      kernels_.round(args.out + row * args.out_stride, args.heads * head_dim, precision,
                     out + column * ElementSize(precision));
    }
  }
}

void LayerRunner::RunAttention(const SlotTable& table, const Batch& batch, const LayerJob& job,
                               uint32_t thread) {
  // Two looks at the clock in a layer, 50 ns.
  const auto begin = std::chrono::steady_clock::now();
  RotateAndAppend(table, batch, job.index, thread);
  team_.Barrier(thread);
  if (job.queries > 0) {
    Attend(table, batch, job, thread);
    team_.Barrier(thread);
  }
  if (thread != 0) return;
  const auto time = std::chrono::steady_clock::now() - begin;
  attention_ns_ += static_cast<uint64_t>(std::chrono::nanoseconds(time).count());
}

void LayerRunner::Run(const SlotTable& table, const Batch& batch, const LayerJob& job,
                      uint32_t thread) {
  const PackedLayer& layer = *job.layer;
  Norm(layer.input_norm, batch.size(), thread);
  team_.Barrier(thread);
  ProjectQkv(batch, layer, thread);
  team_.Barrier(thread);
  RunAttention(table, batch, job, thread);
  if (job.queries == 0) return;
  FinishRows(job.queries, config_.num_heads * config_.head_dim, attended_, thread);
  for (const RowRange range : AttentionRanges(batch, layer)) {
    const PackedMatrix& o = WeightsOf(layer, batch.rows()[range.begin]).o;
    Linear(o, o.panels(), {range.begin, std::min(range.end, job.queries)}, attended_,
           Epilogue::kAdd, x_, &layer.gate_up, thread);
  }
  team_.Barrier(thread);
  Norm(layer.post_attention_norm, job.queries, thread);
  team_.Barrier(thread);
  Linear(layer.gate_up, layer.gate_up.panels(), {0, job.queries}, normed_, Epilogue::kSilu,
         Producer(gated_), &layer.down, thread);
  team_.Barrier(thread);
  FinishRows(job.queries, config_.intermediate_size, gated_, thread);
  Linear(layer.down, layer.down.panels(), {0, job.queries}, gated_, Epilogue::kAdd, x_,
         job.next == nullptr ? nullptr : &job.next->attention.front().qkv, thread);
  team_.Barrier(thread);
}

void LayerRunner::RunHead(uint32_t rows, Activations& logits, uint32_t thread) {
  Norm(model_.final_norm, rows, thread);
  team_.Barrier(thread);
  Linear(model_.lm_head, model_.lm_head.panels(), {0, rows}, normed_, Epilogue::kStore, logits,
         nullptr, thread);
  team_.Barrier(thread);
}

}  // namespace recurve
