// SPDX-License-Identifier: Apache-2.0
#include "engine/base/digest.h"

#include <algorithm>
#include <bit>
#include <cstring>
#include <vector>

#include "absl/numeric/int128.h"
#include "absl/strings/str_format.h"
#include "engine/base/in_parallel.h"
#include "engine/base/mix_bits.h"

namespace recurve {
namespace {

constexpr size_t kLanes = 8;  // that do not wait for each other
constexpr size_t kStripe = kLanes * sizeof(uint64_t);
constexpr uint64_t kFactor = 0x9FB21C651E98DF25;

using Lanes = std::array<uint64_t, kLanes>;

// Both halves of a product: what any bit of the word changes depends on all of the lane.
uint64_t MultiplyAndFold(uint64_t a, uint64_t b) {
  const absl::uint128 product = absl::uint128(a) * b;
  return absl::Uint128High64(product) ^ absl::Uint128Low64(product);
}

void AddStripe(const std::byte* stripe, Lanes& lanes) {
  static_assert(std::endian::native == std::endian::little);
  for (size_t i = 0; i < kLanes; ++i) {
    uint64_t word;
    std::memcpy(&word, stripe + i * sizeof(word), sizeof(word));
    lanes[i] = std::rotl(lanes[i], 29) + MultiplyAndFold(lanes[i] ^ word, kFactor);
  }
}

Digest Finish(const Lanes& lanes, uint64_t size) {
  Digest digest{{MixBits(size), MixBits(size ^ kGoldenGamma)}};
  for (const uint64_t lane : lanes) {
    digest.words[0] = MixBits(digest.words[0] ^ lane) + kGoldenGamma;
    digest.words[1] = MixBits(digest.words[1] + std::rotl(lane * kFactor, 32)) ^ kGoldenGamma;
  }
  return digest;
}

}  // namespace

std::string Digest::ToHex() const { return absl::StrFormat("%016x%016x", words[0], words[1]); }

Digest DigestOf(std::span<const std::byte> bytes) {
  Lanes lanes;
  for (size_t i = 0; i < kLanes; ++i) lanes[i] = MixBits(i + 1);
  size_t at = 0;
  for (; at + kStripe <= bytes.size(); at += kStripe) AddStripe(bytes.data() + at, lanes);
  if (at < bytes.size()) {
    std::array<std::byte, kStripe> last{};
    std::memcpy(last.data(), bytes.data() + at, bytes.size() - at);
    AddStripe(last.data(), lanes);
  }
  return Finish(lanes, bytes.size());
}

Digest DigestOfMuch(std::span<const std::byte> bytes, uint32_t threads) {
  std::vector<Digest> pieces((bytes.size() + kDigestPiece - 1) / kDigestPiece);
  InParallel(pieces.size(), threads, [&](size_t i) {
    const size_t begin = i * kDigestPiece;
    pieces[i] = DigestOf(bytes.subspan(begin, std::min(kDigestPiece, bytes.size() - begin)));
  });
  return DigestOf(std::as_bytes(std::span(pieces)));
}

}  // namespace recurve
