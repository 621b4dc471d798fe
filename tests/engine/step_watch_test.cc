// SPDX-License-Identifier: Apache-2.0
#include "engine/step_watch.h"

#include "gtest/gtest.h"

namespace recurve {
namespace {

SteadyTime At(int seconds) { return SteadyTime(std::chrono::seconds(seconds)); }

class StepWatchTest : public testing::Test {
 protected:
  std::chrono::nanoseconds AgeAt(int seconds) { return watch_.Age(At(seconds)); }
  StepWatch watch_{std::chrono::seconds(10)};
};

TEST_F(StepWatchTest, NothingExpiresWhileNoStepRuns) {
  EXPECT_FALSE(watch_.Expire(At(1000)));
  watch_.Began(At(1000));
  EXPECT_TRUE(watch_.Ended(At(1001), /*others=*/false));
  EXPECT_FALSE(watch_.Expire(At(2000)));
  EXPECT_EQ(AgeAt(2000), std::chrono::seconds(0));
}

TEST_F(StepWatchTest, AStepHasAllOfTheTimeoutAndNoMore) {
  watch_.Began(At(0));
  EXPECT_FALSE(watch_.Expire(At(10)));
  EXPECT_EQ(AgeAt(10), std::chrono::seconds(10));
  EXPECT_TRUE(watch_.Expire(At(11)));
  EXPECT_TRUE(watch_.expired());
  EXPECT_FALSE(watch_.Ended(At(11), /*others=*/false)) << "the watcher has had the last word";
  EXPECT_TRUE(watch_.Expire(At(0)));
}

TEST_F(StepWatchTest, AStepThatWaitsBehindAnotherCountsFromTheOthersEnd) {
  watch_.Began(At(0));
  watch_.Began(At(5));
  EXPECT_EQ(AgeAt(8), std::chrono::seconds(8));
  EXPECT_TRUE(watch_.Ended(At(9), /*others=*/true));
  EXPECT_EQ(AgeAt(12), std::chrono::seconds(3));
  EXPECT_FALSE(watch_.Expire(At(19)));
  EXPECT_TRUE(watch_.Expire(At(20)));
}

}  // namespace
}  // namespace recurve
