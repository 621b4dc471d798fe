// SPDX-License-Identifier: Apache-2.0
#include "server/ids.h"

#include <atomic>
#include <random>

#include "absl/strings/ascii.h"
#include "absl/strings/str_format.h"

namespace recurve {

bool IsValidName(std::string_view name, size_t max_bytes) {
  if (name.empty() || name.size() > max_bytes) return false;
  for (const char c : name) {
    if (!absl::ascii_isprint(static_cast<unsigned char>(c))) return false;
  }
  return true;
}

std::string MakeRequestId() { return absl::StrFormat("%016x", RandomBits()); }

uint64_t RandomBits() {
  // SplitMix64 (Steele, Lea, Flood 2014): a bijection of a counter that starts at a random place.
  constexpr uint64_t kGamma = 0x9E3779B97F4A7C15U;
  static std::atomic<uint64_t> counter{[] {
    std::random_device device;
    return (uint64_t{device()} << 32) | device();
  }()};
  uint64_t bits = counter.fetch_add(kGamma, std::memory_order_relaxed) + kGamma;
  bits = (bits ^ (bits >> 30)) * 0xBF58476D1CE4E5B9U;
  bits = (bits ^ (bits >> 27)) * 0x94D049BB133111EBU;
  return bits ^ (bits >> 31);
}

}  // namespace recurve
