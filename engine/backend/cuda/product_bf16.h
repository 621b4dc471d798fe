// SPDX-License-Identifier: Apache-2.0
// What the kernels of linear_bf16.h have in common: all but what becomes of a sum.
#ifndef RECURVE_ENGINE_BACKEND_CUDA_PRODUCT_BF16_H_
#define RECURVE_ENGINE_BACKEND_CUDA_PRODUCT_BF16_H_

#include <cstddef>
#include <cstdint>

#include "engine/backend/arithmetic.h"
#include "engine/backend/cuda/linear_bf16.h"
#include "engine/backend/cuda/simt.h"
#include "engine/backend/cuda/tensor_core.h"

namespace recurve::cuda {

// Parts of k, each summed from zero by a warp: 8, or one for each step of a smaller product.
inline constexpr uint32_t kMostSegments = 8;
RECURVE_HOST_DEVICE constexpr uint32_t SegmentsOf(uint32_t inputs) {
  return StepsOf(inputs) < kMostSegments ? StepsOf(inputs) : kMostSegments;
}

// The four sums of a lane in a tile: outputs g = lane / 4 and g + 8 of rows 2 (lane % 4) and + 1;
// {g, first row}, {g, second}, {g + 8, first}, {g + 8, second}.
struct alignas(16) Sums {
  float v[4];
};

template <uint32_t MT, uint32_t NT>
RECURVE_HOST_DEVICE constexpr size_t ProductSharedBytes() {
  return simt::SharedBytes<Sums>(size_t{kMostSegments} * MT * NT * simt::kWarp) +
         simt::SharedBytes<float>(NT * kTileRows);
}

// Rows [begin, end), which share a set of weights.
struct RowBlock {
  uint32_t begin = 0;
  uint32_t end = 0;
  uint32_t set = 0;
};

// Block `index` of `size` rows each; false if there are fewer.
RECURVE_DEVICE inline bool FindRows(const ProductBf16& product, const ListCounts& counts,
                                    uint32_t size, uint32_t index, RowBlock* block) {
  for (uint32_t set = 0; set < product.sets; ++set) {
    const RowRange rows =
        product.sets == 1 ? RowRange{0, CountOf(counts, product.set)} : counts.recursions[set];
    const uint32_t blocks = (rows.end - rows.begin + size - 1) / size;
    if (index < blocks) {
      const uint32_t begin = rows.begin + index * size;
      *block = {begin, rows.end - begin < size ? rows.end : begin + size, set};
      return true;
    }
    index -= blocks;
  }
  return false;
}

// The weights of MT tiles as a warp takes them, its segment's steps one after the other, with
// kAhead steps on their way.
template <uint32_t MT, uint32_t kAhead>
class WeightStream {
 public:
  RECURVE_DEVICE WeightStream(const ProductBf16& product, uint32_t tile) : product_(product) {
    const uint32_t warp = simt::ThreadIndex() / simt::kWarp;
    const uint32_t steps = StepsOf(product.inputs);
    const uint32_t segments = SegmentsOf(product.inputs);
    first_step_ = warp * steps / segments;
    steps_ = (warp + 1) * steps / segments - first_step_;
    for (uint32_t t = 0; t < MT; ++t) has_tile_[t] = tile + t < product.tiles;
    tile_step_ = size_t{steps} * simt::kWarp;
    in_set_ =
        tile * tile_step_ + size_t{first_step_} * simt::kWarp + simt::ThreadIndex() % simt::kWarp;
  }

  RECURVE_DEVICE uint32_t first_step() const { return first_step_; }
  RECURVE_DEVICE uint32_t steps() const { return steps_; }

  // Asks for the first steps of a set.
  RECURVE_DEVICE void Begin(uint32_t set) {
    first_ = set * product_.tiles * tile_step_ + in_set_;
    for (uint32_t i = 0; i < kAhead; ++i) Load(i, i);
  }

  // The fragments of step `step`, which is i = step % kAhead; then asks for the next one to come
  // into their place.
  RECURVE_DEVICE const simt::Words4& At(uint32_t i, uint32_t t) const { return ahead_[i][t]; }
  RECURVE_DEVICE void Refill(uint32_t i, uint32_t step) { Load(i, step + kAhead); }

 private:
  RECURVE_DEVICE void Load(uint32_t i, uint32_t step) {
    for (uint32_t t = 0; t < MT; ++t) {
      if (step < steps_ && has_tile_[t]) {
        ahead_[i][t] =
            product_.weights.Stream(first_ + t * tile_step_ + size_t{step} * simt::kWarp);
      } else {
        ahead_[i][t] = {};
      }
    }
  }

  const ProductBf16& product_;
  uint32_t first_step_, steps_;
  bool has_tile_[MT];
  size_t tile_step_, in_set_, first_ = 0;
  simt::Words4 ahead_[kAhead][MT];
};

// The operand of NT tiles of 8 rows as a warp takes it; rows beyond the block's are zero.
template <uint32_t NT>
class RowStream {
 public:
  RECURVE_DEVICE RowStream(const ProductBf16& product, const RowBlock& block, uint32_t first_step)
      : x_(product.x) {
    const uint32_t lane = simt::ThreadIndex() % simt::kWarp;
    const uint32_t steps = StepsOf(product.inputs);
    for (uint32_t n = 0; n < NT; ++n) {
      const uint32_t row = block.begin + n * kTileRows + lane / 4;
      is_row_[n] = row < block.end;
      at_[n] = static_cast<uint32_t>(
          OperandIndex(row, first_step * kStepInputs + lane % 4 * 4, steps) / 4);
    }
  }
  RECURVE_DEVICE simt::Words2 At(uint32_t n, uint32_t step) const {
    if (!is_row_[n]) return {};
    return x_[at_[n] + step * (kTileRows * kStepInputs / 4)];
  }

 private:
  const simt::In<simt::Words2>& x_;
  uint32_t at_[NT];
  bool is_row_[NT];
};

// 1 / rms of the block's rows, eight lanes a row.
RECURVE_DEVICE inline void ScaleRows(const ProductBf16& product, const RowBlock& block,
                                     uint32_t rows, simt::SharedArray<float> scales /* [rows] */) {
  const uint32_t lane = simt::ThreadIndex() % kSquaresLanes;
  const uint32_t units = SquaresOf(product.inputs) / kSquaresUnit;
  for (uint32_t r = simt::ThreadIndex() / kSquaresLanes; r < rows;
       r += simt::BlockSize() / kSquaresLanes) {
    float sum = 0.0F;
    const bool is_row = product.has_norm && block.begin + r < block.end;
    for (uint32_t i = 0; is_row && i < units / kSquaresLanes; ++i) {
      const simt::Words4 unit =
          product.squares[size_t{block.begin + r} * units + lane * (units / kSquaresLanes) + i];
      for (const uint32_t word : unit.w) sum += FloatFromBits(word);
    }
    for (uint32_t step = 1; step < kSquaresLanes; step *= 2) sum += simt::ShuffleXor(sum, step);
    if (lane != 0) continue;
    scales[r] = is_row ? InverseRms(sum, product.inputs, product.epsilon) : 1.0F;
  }
}

// The sums of a warp's segment. Rows are loaded a batch of steps ahead; `meanwhile` is called while
// the first are on their way.
template <uint32_t MT, uint32_t NT, uint32_t kAhead, typename Meanwhile>
RECURVE_DEVICE void SumSegment(WeightStream<MT, kAhead>& weights, const RowStream<NT>& rows,
                               float (&sums)[MT][NT][4], Meanwhile meanwhile) {
  constexpr uint32_t kBatch = NT >= 4 ? 1 : (4 / NT < kAhead ? 4 / NT : kAhead);
  const uint32_t steps = weights.steps();
  simt::Words2 next[kBatch][NT];
  const auto load = [&](uint32_t step) {
    for (uint32_t i = 0; i < kBatch; ++i) {
      for (uint32_t n = 0; n < NT; ++n) {
        next[i][n] = step + i < steps ? rows.At(n, step + i) : simt::Words2{};
      }
    }
  };
  load(0);
  meanwhile();
  for (uint32_t base = 0; base < steps; base += kAhead) {
    RECURVE_UNROLL
    for (uint32_t batch = 0; batch < kAhead; batch += kBatch) {
      simt::Words2 now[kBatch][NT];
      for (uint32_t i = 0; i < kBatch; ++i) {
        for (uint32_t n = 0; n < NT; ++n) now[i][n] = next[i][n];
      }
      load(base + batch + kBatch);
      RECURVE_UNROLL
      for (uint32_t i = 0; i < kBatch; ++i) {
        const uint32_t step = base + batch + i;
        if (step < steps) {
          for (uint32_t t = 0; t < MT; ++t) {
            for (uint32_t n = 0; n < NT; ++n) {
              simt::Mma(sums[t][n], weights.At(batch + i, t), now[i][n]);
            }
          }
        }
        weights.Refill(batch + i, step);
      }
    }
  }
}

// Runs a block of threads. `epilogue` is told of each sum: all lanes of a warp together call
//   Load(tile, row, end)           what it will need of row `row` + 0 and + 1, and
//   Store(tile, row, end, sums, scales, loaded)
// where the lane's outputs are g and g + 8 of the tile (Sums), and rows from `end` on are none.
template <uint32_t MT, uint32_t NT, uint32_t kAhead, typename Epilogue>
RECURVE_DEVICE void RunProduct(const ProductBf16& product, uint32_t row_blocks,
                               const Epilogue& epilogue) {
  constexpr uint32_t kTiles = MT * NT;
  // With few rows, what the epilogue needs is on its way during the sums.
  constexpr bool kEarly = kTiles <= 2;
  simt::SharedMemory shared;
  const auto partial = shared.Array<Sums>(kMostSegments * kTiles * simt::kWarp);
  const auto scales = shared.Array<float>(NT * kTileRows);
  const uint32_t lane = simt::ThreadIndex() % simt::kWarp;
  const uint32_t warp = simt::ThreadIndex() / simt::kWarp;
  const uint32_t segments = SegmentsOf(product.inputs);
  const uint32_t tile = simt::BlockIndex() / row_blocks * MT;

  simt::GridLaunch();
  WeightStream<MT, kAhead> weights(product, tile);
  if (product.sets == 1) weights.Begin(0);
  simt::GridWait();
  const ListCounts& counts = product.counts[0];
  const uint32_t first = simt::BlockIndex() % row_blocks;
  RowBlock block;
  for (uint32_t index = first; FindRows(product, counts, NT * kTileRows, index, &block);
       index += row_blocks) {
    if (product.sets > 1 || index != first) weights.Begin(block.set);
    const auto row_of = [&](uint32_t i) { return block.begin + i % NT * kTileRows + lane % 4 * 2; };
    typename Epilogue::Loaded loaded = {};
    if (kEarly && warp < kTiles) {
      loaded = epilogue.Load(tile + warp / NT, row_of(warp), block.end);
    }
    float sums[MT][NT][4] = {};
    SumSegment<MT, NT, kAhead>(weights, RowStream<NT>(product, block, weights.first_step()), sums,
                               [&] { ScaleRows(product, block, NT * kTileRows, scales); });
    RECURVE_UNROLL
    for (uint32_t i = 0; i < kTiles; ++i) {
      const float(&d)[4] = sums[i / NT][i % NT];
      partial[(warp * kTiles + i) * simt::kWarp + lane] = {{d[0], d[1], d[2], d[3]}};
    }
    simt::SyncBlock();
    RECURVE_ROLLED
    for (uint32_t i = warp; i < kTiles; i += segments) {
      if (tile + i / NT >= product.tiles) break;
      Sums sum = partial[i * simt::kWarp + lane];
      RECURVE_UNROLL
      for (uint32_t segment = 1; segment < kMostSegments; ++segment) {
        if (segment >= segments) break;
        const Sums more = partial[(segment * kTiles + i) * simt::kWarp + lane];
        for (uint32_t j = 0; j < 4; ++j) sum.v[j] += more.v[j];
      }
      const uint32_t r = i % NT * kTileRows + lane % 4 * 2;
      const float scale[2] = {scales[r], scales[r + 1]};
      // Of fewer segments than tiles a warp has more than the one it has asked for.
      if (!kEarly || i != warp) loaded = epilogue.Load(tile + i / NT, row_of(i), block.end);
      epilogue.Store(tile + i / NT, row_of(i), block.end, sum, scale, loaded);
    }
    simt::SyncBlock();
  }
}

}  // namespace recurve::cuda

#endif  // RECURVE_ENGINE_BACKEND_CUDA_PRODUCT_BF16_H_
