// SPDX-License-Identifier: Apache-2.0
// What clang checks of the annotations is in tests/locks_test.py.
#include "engine/base/mutex.h"

#include <chrono>
#include <thread>
#include <vector>

#include "gtest/gtest.h"

namespace recurve {
namespace {

using std::chrono::steady_clock;

TEST(MutexTest, IsHeldByOneThreadAtATime) {
  Mutex mutex;
  int count = 0;
  const auto add = [&] {
    for (int i = 0; i < 10'000; ++i) {
      const MutexLock lock(mutex);
      ++count;
    }
  };
  std::vector<std::thread> threads(4);
  for (std::thread& thread : threads) thread = std::thread(add);
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(count, 40'000);
}

TEST(MutexTest, IsFreeBetweenUnlockAndLock) {
  Mutex mutex;
  int count = 0;
  const auto add = [&] {
    const MutexLock lock(mutex);
    ++count;
  };
  MutexLock lock(mutex);
  std::thread other(add);
  EXPECT_EQ(count, 0);
  lock.Unlock();
  other.join();
  lock.Lock();
  EXPECT_EQ(count, 1);
  lock.Unlock();  // is not unlocked once more in the end
  add();
}

// Threads that hand a number back and forth; each holds the mutex again when its wait ends.
TEST(CondVarTest, AWaitReleasesTheMutexAndTakesItAgain) {
  constexpr int kTurns = 1000;
  Mutex mutex;
  CondVar changed;
  int turn = 0;
  const auto take_turns = [&](int mine) {
    const MutexLock lock(mutex);
    while (turn < kTurns) {
      if (turn % 2 == mine) {
        ++turn;
        changed.NotifyAll();
      } else {
        changed.Wait(mutex);
      }
    }
  };
  std::thread even(take_turns, 0), odd(take_turns, 1);
  even.join();
  odd.join();
  EXPECT_EQ(turn, kTurns);
}

TEST(CondVarTest, NotifyOneWakesTheOneThatWaits) {
  Mutex mutex;
  CondVar changed;
  bool told = false;
  std::thread waiting([&] {
    const MutexLock lock(mutex);
    while (!told) changed.Wait(mutex);
  });
  {
    const MutexLock lock(mutex);
    told = true;
  }
  changed.NotifyOne();
  waiting.join();
}

TEST(CondVarTest, WaitUntilTellsANotificationFromTheTime) {
  Mutex mutex;
  CondVar changed;
  bool told = false;
  const MutexLock lock(mutex);
  EXPECT_FALSE(changed.WaitUntil(mutex, steady_clock::now() - std::chrono::seconds(1)));
  std::thread other([&] {
    const MutexLock telling(mutex);  // free once the first thread waits
    told = true;
    changed.NotifyAll();
  });
  while (!told) EXPECT_TRUE(changed.WaitUntil(mutex, steady_clock::now() + std::chrono::hours(1)));
  other.join();
}

}  // namespace
}  // namespace recurve
