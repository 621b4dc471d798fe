// SPDX-License-Identifier: Apache-2.0
#ifndef RECURVE_TESTS_SIMT_SHUFFLER_H_
#define RECURVE_TESTS_SIMT_SHUFFLER_H_

#include <cstddef>
#include <cstdint>
#include <span>
#include <utility>

#include "engine/base/mix_bits.h"

namespace recurve {

// Orders that a seed decides; seed 0 leaves every order as it is.
class Shuffler {
 public:
  explicit Shuffler(uint64_t seed) : shuffles_(seed != 0), state_(MixBits(seed)) {}

  void Shuffle(std::span<uint32_t> items) {
    if (!shuffles_) return;
    for (size_t left = items.size(); left > 1; --left) {
      std::swap(items[left - 1], items[(Next() >> 32) * left >> 32]);
    }
  }

  // Heads half of the time; never for seed 0.
  bool Heads() { return shuffles_ && Next() % 2 == 1; }

 private:
  uint64_t Next() { return MixBits(state_ += kGoldenGamma); }

  bool shuffles_;
  uint64_t state_;
};

}  // namespace recurve

#endif  // RECURVE_TESTS_SIMT_SHUFFLER_H_
