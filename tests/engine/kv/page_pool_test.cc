// SPDX-License-Identifier: Apache-2.0
#include "engine/kv/page_pool.h"

#include <cstdint>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace recurve {
namespace {

using ::testing::ElementsAre;

TEST(PagePoolTest, HandsOutLowestFirstThenWhatWasFreedLast) {
  PagePool pool(5);
  std::vector<uint32_t> pages;
  ASSERT_TRUE(pool.Allocate(3, pages));
  EXPECT_THAT(pages, ElementsAre(0, 1, 2));
  pool.Free(std::vector<uint32_t>{2});
  pool.Free(std::vector<uint32_t>{0});
  std::vector<uint32_t> again;
  ASSERT_TRUE(pool.Allocate(3, again));
  EXPECT_THAT(again, ElementsAre(0, 2, 3));
  pool.Free(std::vector<uint32_t>{0, 1, 2, 3});
}

TEST(PagePoolTest, GivesAllOrNothing) {
  PagePool pool(4);
  std::vector<uint32_t> pages;
  ASSERT_TRUE(pool.Allocate(3, pages));
  EXPECT_FALSE(pool.Allocate(2, pages));
  EXPECT_EQ(pages.size(), 3U);
  EXPECT_EQ(pool.free(), 1U);
  EXPECT_TRUE(pool.Allocate(0, pages));
  EXPECT_TRUE(pool.Allocate(1, pages));
  EXPECT_FALSE(pool.Allocate(1, pages));
  pool.Free(pages);
}

TEST(PagePoolTest, CountsUseAndPeak) {
  PagePool pool(4);
  std::vector<uint32_t> pages;
  ASSERT_TRUE(pool.Allocate(3, pages));
  pool.Free(pages);
  pages.clear();
  ASSERT_TRUE(pool.Allocate(1, pages));
  EXPECT_EQ(pool.size(), 4U);
  EXPECT_EQ(pool.in_use(), 1U);
  EXPECT_EQ(pool.peak(), 3U);
  pool.Free(pages);
  EXPECT_EQ(pool.in_use(), 0U);
}

TEST(PagePoolTest, PagesAreFreeWhenNeitherSequencesNorPrefixesOwnThem) {
  PagePool pool(4);
  std::vector<uint32_t> pages;
  ASSERT_TRUE(pool.Allocate(2, pages));
  const auto first = std::span(pages).first(1);
  EXPECT_FALSE(pool.shared(pages[0]));
  pool.Keep(first);
  pool.Keep(first);
  EXPECT_TRUE(pool.shared(pages[0]));
  EXPECT_TRUE(pool.of_one_sequence(pages[0]));
  EXPECT_EQ(pool.cached(), 0U);
  pool.Free(pages);
  EXPECT_EQ(pool.cached(), 1U);
  EXPECT_EQ(pool.in_use(), 1U);
  EXPECT_FALSE(pool.in_sequence(pages[0]));
  pool.Share(first);
  pool.Share(first);
  EXPECT_EQ(pool.cached(), 0U);
  EXPECT_FALSE(pool.of_one_sequence(pages[0]));
  pool.Free(first);
  pool.Forget(first);
  pool.Forget(first);
  EXPECT_EQ(pool.in_use(), 1U);
  EXPECT_FALSE(pool.shared(pages[0]));
  pool.Free(first);
  EXPECT_EQ(pool.in_use(), 0U);
}

TEST(PagePoolDeathTest, NoticesLeaksAndDoubleFrees) {
  EXPECT_DEATH(
      {
        PagePool pool(1);
        std::vector<uint32_t> pages;
        (void)pool.Allocate(1, pages);
      },
      "broken invariant: in_use\\(\\) == 0");
  EXPECT_DEATH(
      {
        PagePool pool(2);
        pool.Free(std::vector<uint32_t>{1});
      },
      "broken invariant: page");
  EXPECT_DEATH(
      {
        PagePool pool(2);
        pool.Free(std::vector<uint32_t>{2});
      },
      "broken invariant: page");
}

}  // namespace
}  // namespace recurve
