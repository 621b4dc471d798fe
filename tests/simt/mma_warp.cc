// SPDX-License-Identifier: Apache-2.0
#include "tests/simt/mma_warp.h"

#include <algorithm>
#include <cstdint>
#include <cstring>

#include "engine/backend/cuda/simt.h"
#include "tests/simt/mma_hopper.h"

namespace recurve {
namespace {

constexpr uint32_t kRows = 16;
constexpr uint32_t kColumns = 8;

// The operands of the warp as matrices. Lane l holds of row l / 4 and row l / 4 + 8 of `a`, and of
// column l / 4 of `b`, the values k = 2 (l % 4), + 1, + 8, + 9.
struct Tiles {
  uint16_t a[kRows][kMmaDepth];
  uint16_t b[kColumns][kMmaDepth];
};

void Place(uint32_t word, uint16_t* row, uint32_t k) {
  row[k] = static_cast<uint16_t>(word);
  row[k + 1] = static_cast<uint16_t>(word >> 16);
}

Tiles TilesOf(const MmaOperands* lanes) {
  Tiles tiles;
  for (uint32_t lane = 0; lane < simt::kWarp; ++lane) {
    const uint32_t group = lane / 4;
    const uint32_t k = 2 * (lane % 4);
    const simt::Words4& a = *lanes[lane].a;
    const simt::Words2& b = *lanes[lane].b;
    Place(a.w[0], tiles.a[group], k);
    Place(a.w[1], tiles.a[group + 8], k);
    Place(a.w[2], tiles.a[group], k + 8);
    Place(a.w[3], tiles.a[group + 8], k + 8);
    Place(b.w[0], tiles.b[group], k);
    Place(b.w[1], tiles.b[group], k + 8);
  }
  return tiles;
}

// 16 bf16 numbers as significand * 2^exponent, apart from a constant power.
struct Factors {
  int32_t significands[kMmaDepth];
  int32_t exponents[kMmaDepth];
  bool are_zero = true;
  bool are_finite = true;
};

Factors FactorsOf(const uint16_t* values /* [kMmaDepth] */) {
  Factors factors;
  for (int k = 0; k < kMmaDepth; ++k) {
    const int32_t field = values[k] >> 7 & 0xFF;
    const int32_t magnitude = (values[k] & 0x7F) | (field == 0 ? 0 : 0x80);
    factors.significands[k] = (values[k] & 0x8000) != 0 ? -magnitude : magnitude;
    factors.exponents[k] = field == 0 ? 1 : field;
    factors.are_zero = factors.are_zero && magnitude == 0;
    factors.are_finite = factors.are_finite && field != 0xFF;
  }
  return factors;
}

// `value` in units of 2^shift, cut toward zero.
int32_t Cut(int32_t value, int32_t shift) {
  const int32_t sign = value >> 31;
  const int32_t left = std::max(0, -shift);
  const int32_t right = std::clamp(shift, 0, 31);
  const int32_t magnitude = ((value ^ sign) - sign) << left >> right;
  return (magnitude ^ sign) - sign;
}

// MmaSum of finite numbers, with what depends on one operand alone done before.
uint32_t FiniteSum(const Factors& a, const Factors& b, uint32_t c) {
  constexpr int32_t kNone = -1000;  // the exponent of zeros, which do not align
  const auto c_field = static_cast<int32_t>(c >> 23 & 0xFF);
  const auto c_magnitude = static_cast<int32_t>((c & 0x007FFFFF) | (c_field == 0 ? 0 : 0x00800000));
  const int32_t c_exponent = (c_field == 0 ? 1 : c_field) - 127;
  int32_t products[kMmaDepth];
  int32_t exponents[kMmaDepth];
  int32_t largest = c_magnitude == 0 ? kNone : c_exponent;
  for (int k = 0; k < kMmaDepth; ++k) {
    products[k] = a.significands[k] * b.significands[k];
    exponents[k] = products[k] == 0 ? kNone : a.exponents[k] + b.exponents[k] - 254;
    largest = std::max(largest, exponents[k]);
  }
  // Products have 14 bits after the point, the addend has 23.
  constexpr int32_t kBits = HopperSum::kFractionBits;
  const int32_t addend = Cut(c_magnitude, largest - c_exponent + 23 - kBits);
  int64_t sum = (c >> 31) != 0 ? -addend : addend;
  for (int k = 0; k < kMmaDepth; ++k) sum += Cut(products[k], largest - exponents[k] + 14 - kBits);
  return mma_internal::ToFloat<HopperSum>(sum, largest - kBits);
}

uint32_t SumOf(const Tiles& tiles, const Factors& a, const Factors& b, uint32_t row,
               uint32_t column, uint32_t c) {
  const bool is_finite = a.are_finite && b.are_finite && (c >> 23 & 0xFF) != 0xFF;
  if (!is_finite) return MmaSum(tiles.a[row], 1, tiles.b[column], 1, c);
  if (a.are_zero || b.are_zero) return (c & 0x7FFFFFFF) == 0 ? 0 : c;
  return FiniteSum(a, b, c);
}

}  // namespace

void MultiplyWarp(const MmaOperands* lanes) {
  const Tiles tiles = TilesOf(lanes);
  Factors a[kRows];
  Factors b[kColumns];
  for (uint32_t row = 0; row < kRows; ++row) a[row] = FactorsOf(tiles.a[row]);
  for (uint32_t column = 0; column < kColumns; ++column) b[column] = FactorsOf(tiles.b[column]);
  for (uint32_t lane = 0; lane < simt::kWarp; ++lane) {
    for (uint32_t i = 0; i < 4; ++i) {
      const uint32_t row = lane / 4 + (i < 2 ? 0 : 8);
      const uint32_t column = 2 * (lane % 4) + i % 2;
      uint32_t bits;
      std::memcpy(&bits, &lanes[lane].sums[i], sizeof(bits));
      bits = SumOf(tiles, a[row], b[column], row, column, bits);
      std::memcpy(&lanes[lane].sums[i], &bits, sizeof(bits));
    }
  }
}

}  // namespace recurve
