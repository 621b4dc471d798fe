// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>
#include <vector>

#include "engine/base/in_parallel.h"
#include "engine/base/mix_bits.h"
#include "engine/model/safetensors.h"
#include "engine/model/tensor_layout.h"
#include "engine/model/weights.h"

namespace recurve {
namespace {

constexpr size_t kTensorAlignment = 64;  // bytes

// The `index`-th number of a stream of SplitMix64.
uint64_t RandomWord(uint64_t stream, uint64_t index) {
  return MixBits(stream + (index + 1) * kGoldenGamma);
}

// Uniform in [-1, 1), 24 bits of it.
float RandomUnit(uint64_t stream, uint64_t index) {
  const auto bits = static_cast<int32_t>(RandomWord(stream, index) >> 40);
  return static_cast<float>(bits - (1 << 23)) * (1.0F / (1 << 23));
}

uint16_t ToBf16(float value) {
  const uint32_t bits = std::bit_cast<uint32_t>(value);
  return static_cast<uint16_t>((bits + 0x7FFFU + ((bits >> 16) & 1U)) >> 16);
}

// For |value| < 65504; what is below the smallest normal half becomes zero.
uint16_t ToF16(float value) {
  const uint32_t bits = std::bit_cast<uint32_t>(value);
  const uint32_t sign = (bits >> 16) & 0x8000U;
  const uint32_t magnitude = bits & 0x7FFFFFFFU;
  if (magnitude < 0x38800000U) return static_cast<uint16_t>(sign);
  const uint32_t rounded = magnitude + 0xFFFU + ((magnitude >> 13) & 1U);
  return static_cast<uint16_t>(sign | ((rounded - 0x38000000U) >> 13));
}

// values: center + spread * uniform in [-1, 1).
struct Distribution {
  float center;
  float spread;
};

// Standard deviations are chosen so that rows keep their scale: normalized rows have entries of
// about 1, every projection of them too, and all layers together add about as much to the residual
// stream as it had (with a tied head much more, or the head would find the input token again).
// Logits have a deviation of about 3, router scores of about 1, around 0.
Distribution Choose(const ModelConfig& config, const TensorSlot& slot) {
  const float fan_in = static_cast<float>(slot.shape.back());
  const float unit = std::sqrt(3.0F / fan_in);  // spread of a matrix that keeps the scale
  const float hidden = static_cast<float>(config.hidden_size);
  const float stream = config.tie_word_embeddings ? 3.0F / std::sqrt(hidden) : 1.0F;
  const float growth = config.tie_word_embeddings ? 8.0F : 1.0F;
  switch (slot.role) {
    case TensorRole::kEmbedding:
      return {0.0F, stream * std::sqrt(3.0F)};
    case TensorRole::kNorm:
      return {1.0F, 0.25F};
    case TensorRole::kInner:
    case TensorRole::kRouterInner:
      return {0.0F, unit};
    case TensorRole::kResidual: {
      const auto additions = static_cast<float>(2 * config.num_layers);
      return {0.0F, unit * stream * growth / std::sqrt(additions)};
    }
    case TensorRole::kRouterIn:
      return {0.0F, unit / stream};
    case TensorRole::kRouterBias:
      return {0.0F, 0.1F};
    case TensorRole::kHead:
      return {0.0F, 3.0F * unit};
  }
  return {};
}

uint64_t Elements(const TensorSlot& slot) {
  uint64_t elements = 1;
  for (const uint64_t size : slot.shape) elements *= size;
  return elements;
}

// A part of a tensor, elements [begin, end), which one thread draws.
struct Piece {
  size_t slot;
  uint64_t begin, end;
};
constexpr uint64_t kPieceElements = uint64_t{1} << 18;

std::vector<Piece> Cut(const std::vector<TensorSlot>& slots) {
  std::vector<Piece> pieces;
  for (size_t i = 0; i < slots.size(); ++i) {
    const uint64_t elements = Elements(slots[i]);
    for (uint64_t begin = 0; begin < elements; begin += kPieceElements) {
      pieces.push_back({i, begin, std::min(elements, begin + kPieceElements)});
    }
  }
  return pieces;
}

void Fill(const Distribution& values, uint64_t stream, DataType type, const Piece& piece,
          std::byte* out) {  // the whole tensor, of `type`
  for (uint64_t i = piece.begin; i < piece.end; ++i) {
    const float value = std::fma(values.spread, RandomUnit(stream, i), values.center);
    if (type == DataType::kF32) {
      std::memcpy(out + 4 * i, &value, 4);
    } else {
      const uint16_t half = type == DataType::kF16 ? ToF16(value) : ToBf16(value);
      std::memcpy(out + 2 * i, &half, 2);
    }
  }
}

}  // namespace

Model RandomModel(const ModelConfig& config, DataType type, uint64_t seed, uint32_t threads) {
  Model model;
  model.config = config;
  const std::vector<TensorSlot> slots = LayOutTensors(config, &model.weights);
  size_t bytes = 0;
  std::vector<size_t> offsets;
  for (const TensorSlot& slot : slots) {
    offsets.push_back(bytes);
    const size_t size = Elements(slot) * ElementSize(type);
    bytes += (size + kTensorAlignment - 1) / kTensorAlignment * kTensorAlignment;
  }
  // Not value-initialized: every byte that is read is written below.
  const std::shared_ptr<std::byte[]> memory(new std::byte[bytes]);
  for (size_t i = 0; i < slots.size(); ++i) {
    const TensorSlot& slot = slots[i];
    *slot.tensor = {type, slot.shape.size() == 1 ? 1 : static_cast<uint32_t>(slot.shape[0]),
                    static_cast<uint32_t>(slot.shape.back()), memory.get() + offsets[i]};
  }
  const std::vector<Piece> pieces = Cut(slots);
  InParallel(pieces.size(), threads, [&](size_t i) {
    const size_t slot = pieces[i].slot;
    Fill(Choose(config, slots[slot]), RandomWord(seed, slot), type, pieces[i],
         memory.get() + offsets[slot]);
  });
  if (config.tie_word_embeddings) model.weights.lm_head = model.weights.embedding;
  model.memory = memory;
  return model;
}

}  // namespace recurve
