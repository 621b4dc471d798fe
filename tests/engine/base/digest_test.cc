// SPDX-License-Identifier: Apache-2.0
#include "engine/base/digest.h"

#include <algorithm>
#include <set>
#include <vector>

#include "gtest/gtest.h"

namespace recurve {
namespace {

std::vector<std::byte> SomeBytes(size_t size) {
  std::vector<std::byte> bytes(size);
  for (size_t i = 0; i < size; ++i) bytes[i] = static_cast<std::byte>(i * 37 + (i >> 8));
  return bytes;
}

// What replicas compare must not change with the version or the machine unless it is meant to.
TEST(DigestTest, IsWhatItWas) {
  EXPECT_EQ(DigestOf({}).ToHex(), "fc31d8a2e8e15ae474367722181e07ce");
  EXPECT_EQ(DigestOf(BytesOf("recursion")).ToHex(), "51bf440da49612855870e21fae2b6bce");
  EXPECT_EQ(DigestOf(SomeBytes(1000)).ToHex(), "96012adb61833b9ef64ede0b76b9112c");
}

TEST(DigestTest, EveryBitAndEveryLengthCounts) {
  std::set<std::string> seen;
  size_t inputs = 0;
  std::vector<std::byte> bytes = SomeBytes(200);
  for (std::byte& byte : bytes) {
    for (int bit = 0; bit < 8; ++bit, ++inputs) {
      byte ^= static_cast<std::byte>(1 << bit);
      seen.insert(DigestOf(bytes).ToHex());
      byte ^= static_cast<std::byte>(1 << bit);
    }
  }
  const std::vector<std::byte> zeros(200);
  for (size_t size = 0; size <= zeros.size(); ++size, ++inputs) {
    seen.insert(DigestOf(std::span(zeros).first(size)).ToHex());
  }
  EXPECT_EQ(seen.size(), inputs);
}

TEST(DigestTest, WhatChangesPlacesCounts) {
  std::vector<std::byte> bytes = SomeBytes(4096);
  const Digest before = DigestOf(bytes);
  for (const size_t distance : {size_t{8}, size_t{64}, size_t{512}}) {
    std::vector<std::byte> swapped = bytes;
    std::swap_ranges(swapped.begin(), swapped.begin() + 8,
                     swapped.begin() + static_cast<ptrdiff_t>(distance));
    EXPECT_NE(DigestOf(swapped), before) << distance;
  }
}

TEST(DigestTest, ThreadsDoNotCount) {
  std::vector<std::byte> bytes = SomeBytes(3 * kDigestPiece + 5);
  const Digest alone = DigestOfMuch(bytes, 1);
  for (const uint32_t threads : {2U, 3U, 16U}) EXPECT_EQ(DigestOfMuch(bytes, threads), alone);
  for (const size_t at : {size_t{0}, kDigestPiece, bytes.size() - 1}) {
    bytes[at] ^= std::byte{1};
    EXPECT_NE(DigestOfMuch(bytes, 2), alone) << at;
    bytes[at] ^= std::byte{1};
  }
  EXPECT_EQ(DigestOfMuch({}, 4), DigestOfMuch({}, 1));
}

}  // namespace
}  // namespace recurve
