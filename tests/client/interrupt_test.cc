// SPDX-License-Identifier: Apache-2.0
#include "client/cli/interrupt.h"

#include <condition_variable>
#include <csignal>
#include <mutex>

#include "gtest/gtest.h"

namespace recurve::client {
namespace {

using std::chrono::milliseconds;

TEST(InterruptTest, ASecondSignalCountsOnlyLater) {
  InterruptRule rule;
  const InterruptRule::Time start{};
  EXPECT_EQ(rule.Hear(start), InterruptRule::Meaning::kStop);
  EXPECT_EQ(rule.Hear(start), InterruptRule::Meaning::kNothing);
  EXPECT_EQ(rule.Hear(start + milliseconds(999)), InterruptRule::Meaning::kNothing);
  EXPECT_EQ(rule.Hear(start + milliseconds(1000)), InterruptRule::Meaning::kEndAtOnce);
}

TEST(InterruptTest, ASignalRequestsAStop) {
  for (const int signal : {SIGINT, SIGTERM}) {
    {
      const Interrupt interrupt;
      EXPECT_FALSE(interrupt.stop().stop_requested());
      raise(signal);
      std::mutex mutex;
      std::condition_variable_any changed;
      std::unique_lock<std::mutex> lock(mutex);
      changed.wait(lock, interrupt.stop(), [] { return false; });
      EXPECT_TRUE(interrupt.stop().stop_requested());
      EXPECT_EQ(interrupt.signal(), signal);
    }
    raise(signal);  // a second one, just before the process ends
    for (const int ignored : {SIGINT, SIGTERM}) std::signal(ignored, SIG_DFL);
  }
}

TEST(InterruptTest, IgnoredSignalsStayIgnored) {
  std::signal(SIGINT, SIG_IGN);
  {
    const Interrupt interrupt;
    struct sigaction action = {};
    sigaction(SIGINT, nullptr, &action);
    EXPECT_EQ(action.sa_handler, SIG_IGN);
  }
  std::signal(SIGINT, SIG_DFL);
}

}  // namespace
}  // namespace recurve::client
