// SPDX-License-Identifier: Apache-2.0
#include "engine/backend/cuda/packed_matrix.h"

#include "engine/backend/arithmetic.h"
#include "engine/backend/convert.h"
#include "engine/base/check.h"

namespace recurve::cuda {
namespace {

// The place of an output: its tile, and its row there.
struct TilePlace {
  uint32_t tile;
  uint32_t row;
};

TilePlace PlaceOf(uint32_t output, OutputOrder order) {
  if (order.half == 0) return {output / kTileOutputs, output % kTileOutputs};
  const uint32_t head = output / (2 * order.half);
  const uint32_t in_head = output % (2 * order.half);
  const uint32_t pair = in_head % order.half;
  return {head * TilesOfHead(order) + pair / 8, pair % 8 + (in_head < order.half ? 0 : 8)};
}

// Puts input `k` of a tile's row into the fragments of the tile.
void Put(Bf16 value, uint32_t row, uint32_t k, simt::Words4* tile /* [steps][32] */) {
  const uint32_t in_step = k % kStepInputs;
  const uint32_t lane = row % 8 * 4 + in_step / 4;
  // Words 0 and 1 hold the first two inputs of the lane, of the upper and the lower row.
  const uint32_t word = in_step % 4 / 2 * 2 + row / 8;
  tile[size_t{k / kStepInputs} * simt::kWarp + lane].w[word] |= uint32_t{value} << (k % 2 * 16);
}

}  // namespace

size_t PackedFragments(uint32_t inputs, uint32_t outputs, OutputOrder order) {
  return size_t{TilesOf(outputs, order)} * StepsOf(inputs) * simt::kWarp;
}

void PackMatrix(const MatrixParts& parts, OutputOrder order, simt::Words4* out) {
  const uint32_t inputs = parts[0].columns;
  const size_t tile_fragments = size_t{StepsOf(inputs)} * simt::kWarp;
  uint32_t outputs = 0;
  for (const Tensor& part : parts) outputs += part.rows;
  for (size_t i = 0; i < PackedFragments(inputs, outputs, order); ++i) out[i] = {};
  std::vector<float> row(inputs);
  uint32_t output = 0;
  for (const Tensor& part : parts) {
    RECURVE_CHECK(part.columns == inputs);
    for (uint32_t i = 0; i < part.rows; ++i, ++output) {
      ConvertRow(part, i, row.data());
      const TilePlace place = PlaceOf(output, order);
      simt::Words4* const tile = out + place.tile * tile_fragments;
      for (uint32_t k = 0; k < inputs; ++k) Put(FloatToBf16(row[k]), place.row, k, tile);
    }
  }
}

}  // namespace recurve::cuda
