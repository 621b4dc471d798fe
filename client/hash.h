// SPDX-License-Identifier: Apache-2.0
// Hashes that are the same in every process, on every machine and in every version: clients that
// know nothing of each other send what begins alike to the same server.
#ifndef RECURVE_CLIENT_HASH_H_
#define RECURVE_CLIENT_HASH_H_

#include <cstdint>
#include <string_view>

namespace recurve::client {

// The output function of SplitMix64.
constexpr uint64_t MixBits(uint64_t word) {
  word = (word ^ (word >> 30)) * 0xBF58476D1CE4E5B9;
  word = (word ^ (word >> 27)) * 0x94D049BB133111EB;
  return word ^ (word >> 31);
}

// FNV-1a, mixed: of texts that differ in their last bytes, as addresses do, all bits differ.
constexpr uint64_t HashOf(std::string_view bytes) {
  uint64_t hash = 0xCBF29CE484222325;
  for (const char byte : bytes) {
    hash = (hash ^ static_cast<unsigned char>(byte)) * 0x100000001B3;
  }
  return MixBits(hash);
}

}  // namespace recurve::client

#endif  // RECURVE_CLIENT_HASH_H_
