// SPDX-License-Identifier: Apache-2.0
#include "engine/api/memory_piece.h"

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace recurve {

void PrintTo(const MemoryPiece& piece, std::ostream* out) {
  *out << piece.name << ' ' << piece.bytes;
}

namespace {

using testing::ElementsAre;
using testing::IsEmpty;

TEST(SummarizeMemoryTest, LargestComeFirstAndSmallOnesAreOne) {
  EXPECT_THAT(SummarizeMemory({{"a", 5}, {"pages", 8000}, {"plan", 1980}, {"b", 15}}),
              ElementsAre(MemoryPiece{"pages", 8000}, MemoryPiece{"plan", 1980},
                          MemoryPiece{"smaller (2)", 20}));
  EXPECT_THAT(SummarizeMemory({{"one", 7}}), ElementsAre(MemoryPiece{"one", 7}));
  EXPECT_THAT(SummarizeMemory({}), IsEmpty());
}

TEST(SummarizeMemoryTest, NamesThatDifferInNumbersAreOne) {
  EXPECT_THAT(
      SummarizeMemory({{"layer 9: o", 10}, {"layer 10: o", 20}, {"layer 9: up", 5}, {"layers", 1}}),
      ElementsAre(MemoryPiece{"layer *: o (2)", 30}, MemoryPiece{"layer *: up", 5},
                  MemoryPiece{"layers", 1}));
}

}  // namespace
}  // namespace recurve
