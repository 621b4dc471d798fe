// SPDX-License-Identifier: Apache-2.0
// Random data for the tests of the CPU kernels, and comparison by bits.
#ifndef RECURVE_TESTS_ENGINE_BACKEND_CPU_KERNELS_KERNEL_TEST_UTIL_H_
#define RECURVE_TESTS_ENGINE_BACKEND_CPU_KERNELS_KERNEL_TEST_UTIL_H_

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <limits>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include "engine/backend/arithmetic.h"
#include "engine/backend/cpu/kernels/isa.h"
#include "engine/backend/cpu/kernels/kernels.h"
#include "engine/backend/cpu/kernels/packed_matrix.h"
#include "engine/base/math.h"
#include "gtest/gtest.h"

namespace recurve {

// A product, as a table of Kernels has it or with more told to it.
using LinearFunction = std::function<void(const LinearArgs&)>;

// Kinds of numbers that a kernel may meet.
enum class Range {
  kNormal,    // of magnitude about 1
  kDenormal,  // products and sums around the least normal float, many operands below it
  kHuge,      // products and sums overflow now and then
  kSpecial,   // normal ones with zeros of both signs, infinities and NaN in between
};
inline constexpr Range kAllRanges[] = {Range::kNormal, Range::kDenormal, Range::kHuge,
                                       Range::kSpecial};

class Random {
 public:
  explicit Random(uint32_t seed) : engine_(seed) {}

  // Uniform in [low, high].
  uint32_t Int(uint32_t low, uint32_t high) {
    return low + static_cast<uint32_t>(engine_() % (uint64_t{high} - low + 1));
  }
  float Float(Range range) {
    const float value = normal_(engine_);
    const uint32_t kind = Int(0, 99);
    switch (range) {
      case Range::kNormal:
        return value;
      case Range::kDenormal:
        return std::ldexp(value, kind < 50 ? -63 : kind < 75 ? -127 : kind < 90 ? -20 : -135);
      case Range::kHuge:
        return std::ldexp(value, kind < 95 ? 55 : 70);
      case Range::kSpecial:
        if (kind == 0) return std::numeric_limits<float>::infinity();
        if (kind == 1) return -std::numeric_limits<float>::infinity();
        if (kind == 2) return std::numeric_limits<float>::quiet_NaN();
        return kind < 10 ? 0.0F : kind < 20 ? -0.0F : value;
    }
    return value;
  }
  std::vector<float> Floats(size_t count, Range range) {
    std::vector<float> values(count);
    for (float& value : values) value = Float(range);
    return values;
  }

 private:
  std::mt19937 engine_;
  std::normal_distribution<float> normal_;
};

// Equal bits, or two NaN, whose payload is not defined.
inline bool SameBits(float a, float b) {
  return FloatBits(a) == FloatBits(b) || (std::isnan(a) && std::isnan(b));
}
inline bool SameBits(Bf16 a, Bf16 b) { return SameBits(Bf16ToFloat(a), Bf16ToFloat(b)); }

// Index of the first element that differs, or -1.
template <typename T>
int64_t FirstDifference(const std::vector<T>& a, const std::vector<T>& b) {
  if (a.size() != b.size()) return 0;
  for (size_t i = 0; i < a.size(); ++i) {
    if (!SameBits(a[i], b[i])) return static_cast<int64_t>(i);
  }
  return -1;
}

// What a float becomes in `precision`, but for int8, in which that depends on its row.
inline float RoundedTo(Precision precision, float x) {
  return precision == Precision::kBf16 ? Bf16ToFloat(FloatToBf16(x)) : x;
}

// A float tensor and its memory.
struct OwnedTensor {
  OwnedTensor(uint32_t rows, uint32_t columns, std::vector<float> data)
      : values(std::move(data)),
        view{DataType::kF32, rows, columns, reinterpret_cast<const std::byte*>(values.data())} {}
  OwnedTensor(const OwnedTensor&) = delete;
  OwnedTensor& operator=(const OwnedTensor&) = delete;

  const std::vector<float> values;
  const Tensor view;
};

// Rows of activations: elements of `precision`, [rows][stride], the columns from `columns` on zero.
inline std::vector<std::byte> Activations(const std::vector<float>& values /* [rows][columns] */,
                                          uint32_t rows, uint32_t columns, size_t stride,
                                          Precision precision) {
  std::vector<std::byte> out(rows * stride * ElementSize(precision));
  for (uint32_t r = 0; r < rows; ++r) {
    for (uint32_t k = 0; k < columns; ++k) {
      const float value = values[size_t{r} * columns + k];
      if (precision == Precision::kBf16) {
        reinterpret_cast<Bf16*>(out.data())[r * stride + k] = FloatToBf16(value);
      } else {
        reinterpret_cast<float*>(out.data())[r * stride + k] = value;
      }
    }
  }
  return out;
}

inline std::string Name(Range range) {
  constexpr const char* kNames[] = {"normal", "denormal", "huge", "special"};
  return kNames[static_cast<int>(range)];
}

// Of a random product, whatever its precision: with `rows`, `matrix`, what y is at first, and how
// rows by panels, or all, are run.

template <typename Problem>
void ExpectRowsAloneEqualBatch(const Problem& p) {
  for (const Isa isa : SupportedIsas()) {
    const std::vector<float> together = p.RunAll(isa);
    std::vector<float> alone = p.Initial();
    for (uint32_t r = 0; r < p.rows; ++r) p.Run(isa, r, 1, 0, p.matrix.panels(), &alone);
    EXPECT_EQ(FirstDifference(alone, together), -1) << IsaName(isa);
  }
}

// Any rows by any panels.
template <typename Problem>
void ExpectPartsEqualWhole(const Problem& p) {
  const std::vector<float> whole = p.RunAll(BestIsa());
  Random random(7);
  std::vector<float> parts = p.Initial();
  for (uint32_t row = 0; row < p.rows;) {
    const uint32_t count = random.Int(1, p.rows - row);
    for (uint32_t panel = 0; panel < p.matrix.panels();) {
      const uint32_t end = random.Int(panel + 1, p.matrix.panels());
      p.Run(BestIsa(), row, count, panel, end, &parts);
      panel = end;
    }
    row += count;
  }
  EXPECT_EQ(FirstDifference(parts, whole), -1);
}

}  // namespace recurve

#endif  // RECURVE_TESTS_ENGINE_BACKEND_CPU_KERNELS_KERNEL_TEST_UTIL_H_
