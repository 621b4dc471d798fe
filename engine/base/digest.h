// SPDX-License-Identifier: Apache-2.0
// A fast hash of much data: tells apart what differs by accident. It resists nobody who wants two
// inputs to collide.
#ifndef RECURVE_ENGINE_BASE_DIGEST_H_
#define RECURVE_ENGINE_BASE_DIGEST_H_

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>

namespace recurve {

// 128 bits.
struct Digest {
  std::array<uint64_t, 2> words{};

  std::string ToHex() const;  // 32 digits
  bool operator==(const Digest&) const = default;
};

// Of `bytes`, the same on every machine. About as fast as one thread reads memory.
Digest DigestOf(std::span<const std::byte> bytes);

// The same of larger data: of the digests of its pieces of kDigestPiece bytes, which `threads`
// threads compute. Does not depend on their number.
inline constexpr size_t kDigestPiece = size_t{1} << 20;
Digest DigestOfMuch(std::span<const std::byte> bytes, uint32_t threads);

inline std::span<const std::byte> BytesOf(std::string_view text) {
  return std::as_bytes(std::span(text.data(), text.size()));
}

}  // namespace recurve

#endif  // RECURVE_ENGINE_BASE_DIGEST_H_
