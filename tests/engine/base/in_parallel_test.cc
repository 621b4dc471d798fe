// SPDX-License-Identifier: Apache-2.0
#include "engine/base/in_parallel.h"

#include <atomic>
#include <vector>

#include "gtest/gtest.h"

namespace recurve {
namespace {

TEST(InParallel, DoesEveryPieceOnce) {
  for (const uint32_t threads : {0U, 1U, 3U, 50U}) {
    std::vector<std::atomic<int>> calls(17);
    InParallel(calls.size(), threads, [&](size_t piece) { ++calls[piece]; });
    for (const std::atomic<int>& count : calls) EXPECT_EQ(count, 1) << threads << " threads";
  }
  InParallel(0, 4, [](size_t) { FAIL() << "there is nothing to do"; });
}

}  // namespace
}  // namespace recurve
