// SPDX-License-Identifier: Apache-2.0
#include "server/intake.h"

#include <atomic>
#include <future>

#include "gtest/gtest.h"

namespace recurve {
namespace {

TEST(IntakeTest, RefusesMoreThanMayWaitAndRunsTheRest) {
  std::atomic<int> ran = 0;
  {
    std::promise<void> release;
    const std::shared_future<void> released = release.get_future().share();
    std::promise<void> started[2];
    Intake intake(/*max_waiting=*/3);
    for (std::promise<void>& start : started) {
      ASSERT_TRUE(intake.Post([&ran, &start, released] {
        start.set_value();
        released.wait();
        ++ran;
      }));
      start.get_future().wait();  // both threads are busy now
    }
    for (int i = 0; i < 3; ++i) EXPECT_TRUE(intake.Post([&ran] { ++ran; }));
    EXPECT_FALSE(intake.Post([&ran] { ran += 100; }));
    release.set_value();
  }
  EXPECT_EQ(ran, 5);
}

}  // namespace
}  // namespace recurve
