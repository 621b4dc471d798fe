// SPDX-License-Identifier: Apache-2.0
#include "engine/backend/cuda/packed_matrix.h"

#include <algorithm>

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

uint32_t OutputsOf(const MatrixParts& parts) {
  uint32_t outputs = 0;
  for (const Tensor& part : parts) outputs += part.rows;
  return outputs;
}

// Calls body(place, inputs) for each output.
template <typename Body>
void ForEachOutput(const MatrixParts& parts, OutputOrder order, Body body) {
  std::vector<float> row(parts[0].columns);
  uint32_t output = 0;
  for (const Tensor& part : parts) {
    RECURVE_CHECK(part.columns == row.size());
    for (uint32_t i = 0; i < part.rows; ++i, ++output) {
      ConvertRow(part, i, row.data());
      body(PlaceOf(output, order), row);
    }
  }
}

}  // namespace

size_t PackedFragments(uint32_t inputs, uint32_t outputs, OutputOrder order) {
  return size_t{TilesOf(outputs, order)} * StepsOf(inputs) * simt::kWarp;
}

void PackMatrix(const MatrixParts& parts, OutputOrder order, simt::Words4* out) {
  const uint32_t inputs = parts[0].columns;
  const size_t tile_fragments = size_t{StepsOf(inputs)} * simt::kWarp;
  for (size_t i = 0; i < PackedFragments(inputs, OutputsOf(parts), order); ++i) out[i] = {};
  ForEachOutput(parts, order, [&](const TilePlace& place, const std::vector<float>& row) {
    simt::Words4* const tile = out + place.tile * tile_fragments;
    for (uint32_t k = 0; k < inputs; ++k) Put(FloatToBf16(row[k]), place.row, k, tile);
  });
}

std::vector<Bf16> PlainMatrix(const MatrixParts& parts, OutputOrder order) {
  const size_t columns = size_t{StepsOf(parts[0].columns)} * kStepInputs;
  std::vector<Bf16> plain(size_t{TilesOf(OutputsOf(parts), order)} * kTileOutputs * columns);
  ForEachOutput(parts, order, [&](const TilePlace& place, const std::vector<float>& row) {
    const size_t output = size_t{place.tile} * kTileOutputs + place.row;
    std::transform(row.begin(), row.end(), &plain[output * columns], FloatToBf16);
  });
  return plain;
}

}  // namespace recurve::cuda
