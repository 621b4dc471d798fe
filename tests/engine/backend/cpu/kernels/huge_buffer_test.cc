// SPDX-License-Identifier: Apache-2.0
#include "engine/backend/cpu/kernels/huge_buffer.h"

#include <sys/mman.h>

#include <cstdint>
#include <cstring>
#include <utility>
#include <vector>

#include "gtest/gtest.h"

namespace recurve {
namespace {

constexpr size_t kPage = 4096;
constexpr size_t kHugePage = size_t{2} << 20;

bool IsMapped(const std::byte* page) {
  unsigned char resident;
  return mincore(const_cast<std::byte*>(page), kPage, &resident) == 0;
}

TEST(HugeArenaTest, BuffersLieOneAfterTheOtherOnHugePages) {
  HugeArena arena;
  HugeBuffer first = *arena.Allocate(5000);
  HugeBuffer second = *arena.Allocate(kPage);
  HugeBuffer third = *arena.Allocate(3 * kHugePage);
  EXPECT_EQ(reinterpret_cast<uintptr_t>(first.data()) % kHugePage, 0U);
  EXPECT_EQ(second.data(), first.data() + 2 * kPage);
  EXPECT_EQ(third.data(), second.data() + kPage);
  EXPECT_EQ(first.size(), 5000U);
  EXPECT_EQ(first.data()[4999], std::byte{0});
  std::memset(first.data(), 1, first.size());
  std::memset(third.data(), 3, third.size());
  EXPECT_EQ(second.data()[0], std::byte{0});
  EXPECT_EQ(second.data()[kPage - 1], std::byte{0});
}

TEST(HugeArenaTest, WhatNoRegionHasRoomForBeginsAnother) {
  HugeArena arena;
  std::vector<HugeBuffer> buffers;
  for (uint32_t i = 0; i < 40; ++i) {
    buffers.push_back(*arena.Allocate(i == 20 ? 40 * kHugePage : kHugePage + 1));
    std::byte* const data = buffers.back().data();
    data[0] = data[buffers.back().size() - 1] = static_cast<std::byte>(i);
  }
  for (uint32_t i = 0; i < 40; ++i) {
    ASSERT_EQ(buffers[i].data()[0], static_cast<std::byte>(i));
    ASSERT_EQ(buffers[i].data()[buffers[i].size() - 1], static_cast<std::byte>(i));
  }
  EXPECT_EQ(arena.Allocate(0)->data(), nullptr);
  EXPECT_EQ(arena.Allocate(SIZE_MAX).status().code(), absl::StatusCode::kResourceExhausted);
}

TEST(HugeArenaTest, ARegionGoesWithTheLastOfItsBuffers) {
  HugeBuffer kept;
  const std::byte* region = nullptr;
  {
    HugeArena arena;
    const HugeBuffer gone = *arena.Allocate(kPage);
    region = gone.data();
    kept = *arena.Allocate(kPage);
  }
  EXPECT_TRUE(IsMapped(region));
  EXPECT_EQ(kept.data(), region + kPage);
  HugeBuffer moved = std::move(kept);
  EXPECT_EQ(kept.data(), nullptr);  // NOLINT(bugprone-use-after-move): it says that it is empty
  EXPECT_EQ(moved.data(), region + kPage);
  EXPECT_TRUE(IsMapped(region));
  moved = HugeBuffer();
  EXPECT_FALSE(IsMapped(region));
}

}  // namespace
}  // namespace recurve
