// SPDX-License-Identifier: Apache-2.0
// What tests of single kernels have in common: numbers to compute with, and comparisons of bits.
#ifndef RECURVE_TESTS_ENGINE_BACKEND_CUDA_KERNEL_DATA_H_
#define RECURVE_TESTS_ENGINE_BACKEND_CUDA_KERNEL_DATA_H_

#include <cstddef>
#include <cstdint>
#include <random>
#include <string_view>
#include <vector>

#include "engine/backend/arithmetic.h"
#include "engine/backend/cuda/layers.h"
#include "gtest/gtest.h"
#include "tests/simt/device_vectors.h"

namespace recurve::cuda {

// Where a kernel must not write.
inline constexpr float kUntouched = 12345.0F;
inline constexpr Bf16 kUntouchedBf16 = 0x4243;

// Random numbers, the same ones for the same seed.
class Numbers {
 public:
  explicit Numbers(uint32_t seed) : random_(seed) {}

  uint32_t Below(uint32_t n) { return static_cast<uint32_t>(random_() % n); }

  // Of a normal distribution.
  float Float(float scale) { return scale * normal_(random_); }

  std::vector<float> Floats(size_t n, float scale) {
    std::vector<float> values(n);
    for (float& value : values) value = Float(scale);
    return values;
  }

  std::vector<Bf16> Bf16s(size_t n, float scale) {
    std::vector<Bf16> values(n);
    for (Bf16& value : values) value = FloatToBf16(Float(scale));
    return values;
  }

 private:
  std::mt19937 random_;
  std::normal_distribution<float> normal_;
};

// `values` as a span over new memory of the runtime.
template <template <typename> typename Span, typename As, typename T>
Span<As> Give(Runtime& runtime, std::string_view name, const std::vector<T>& values) {
  return All<Span, As>(Uploaded(runtime, name, values));
}

template <typename T>
std::string_view BytesOf(const T& value) {
  return {reinterpret_cast<const char*>(&value), sizeof(T)};
}

// Bit for bit; names the first element that differs.
template <typename T>
void ExpectSame(const std::vector<T>& actual, const std::vector<T>& expected) {
  ASSERT_EQ(actual.size(), expected.size());
  for (size_t i = 0; i < actual.size(); ++i) {
    ASSERT_TRUE(BytesOf(actual[i]) == BytesOf(expected[i]))
        << "element " << i << " is " << actual[i] << ", expected " << expected[i];
  }
}

}  // namespace recurve::cuda

#endif  // RECURVE_TESTS_ENGINE_BACKEND_CUDA_KERNEL_DATA_H_
