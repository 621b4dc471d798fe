// SPDX-License-Identifier: Apache-2.0
#include "server/call/ids.h"

#include <atomic>
#include <random>

#include "absl/strings/str_format.h"
#include "engine/base/mix_bits.h"

namespace recurve {

std::string MakeRequestId() { return absl::StrFormat("%016x", RandomBits()); }

uint64_t RandomBits() {
  // SplitMix64, started at a random place.
  static std::atomic<uint64_t> counter{[] {
    std::random_device device;
    return (uint64_t{device()} << 32) | device();
  }()};
  return MixBits(counter.fetch_add(kGoldenGamma, std::memory_order_relaxed) + kGoldenGamma);
}

}  // namespace recurve
