// SPDX-License-Identifier: Apache-2.0
#include "engine/model/check_finite.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>

#include "absl/strings/str_cat.h"
#include "engine/base/check.h"

namespace recurve {
namespace {

// Elements looked at before the next look at what was found.
constexpr size_t kRun = 4096;

// The least magnitude, as bits, that is refused: of f32 the least that bf16 rounds to infinity.
constexpr uint32_t kF32Limit = 0x7F7F8000;
constexpr uint16_t kF16Limit = 0x7C00;
constexpr uint16_t kBf16Limit = 0x7F80;

template <typename Bits>
Bits Magnitude(const std::byte* data, size_t i) {
  Bits bits;  // tensors of a checkpoint need not be aligned
  std::memcpy(&bits, data + i * sizeof(Bits), sizeof(Bits));
  constexpr Bits kNoSign = static_cast<Bits>(~Bits{0}) >> 1;
  return bits & kNoSign;
}

// How many of the elements [begin, end) are refused. A loop that compilers make vector code of.
template <typename Bits>
uint32_t CountRefused(const std::byte* data, size_t begin, size_t end, Bits limit) {
  uint32_t refused = 0;
  for (size_t i = begin; i < end; ++i) refused += Magnitude<Bits>(data, i) >= limit ? 1 : 0;
  return refused;
}

struct Refused {
  uint64_t count = 0;
  size_t first = 0;
};

template <typename Bits>
Refused FindRefused(const std::byte* data, size_t elements, Bits limit) {
  Refused found;
  for (size_t begin = 0; begin < elements; begin += kRun) {
    const size_t end = std::min(begin + kRun, elements);
    const uint32_t refused = CountRefused(data, begin, end, limit);
    if (refused != 0 && found.count == 0) {
      found.first = begin;
      while (Magnitude<Bits>(data, found.first) < limit) ++found.first;
    }
    found.count += refused;
  }
  return found;
}

// A refused element, as it is printed. Only f32 has refused numbers that are finite.
std::string Print(const Tensor& tensor, size_t i) {
  if (tensor.type == DataType::kF32) {
    uint32_t bits;
    std::memcpy(&bits, tensor.data + i * sizeof(bits), sizeof(bits));
    const auto value = std::bit_cast<float>(bits);
    return std::isnan(value) ? "nan" : absl::StrCat(value);
  }
  uint16_t bits;
  std::memcpy(&bits, tensor.data + i * sizeof(bits), sizeof(bits));
  const uint16_t limit = tensor.type == DataType::kF16 ? kF16Limit : kBf16Limit;
  if ((bits & 0x7FFF) != limit) return "nan";
  return (bits & 0x8000) != 0 ? "-inf" : "inf";
}

}  // namespace

absl::Status CheckFinite(const std::string& name, const Tensor& tensor) {
  RECURVE_CHECK(tensor.type != DataType::kF64);
  const size_t elements = size_t{tensor.rows} * tensor.columns;
  const Refused refused =
      tensor.type == DataType::kF32
          ? FindRefused<uint32_t>(tensor.data, elements, kF32Limit)
          : FindRefused<uint16_t>(tensor.data, elements,
                                  tensor.type == DataType::kF16 ? kF16Limit : kBf16Limit);
  if (refused.count == 0) return absl::OkStatus();
  return absl::InvalidArgumentError(absl::StrCat(
      "tensor ", name, " holds ", Print(tensor, refused.first), " at [",
      refused.first / tensor.columns, ", ", refused.first % tensor.columns, "], the first of ",
      refused.count, " values of ", elements,
      " that are not finite in bf16: no request could be answered; the training diverged, or the "
      "file was damaged"));
}

}  // namespace recurve
