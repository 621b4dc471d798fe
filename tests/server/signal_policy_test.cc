// SPDX-License-Identifier: Apache-2.0
#include "server/signal_policy.h"

#include "gtest/gtest.h"

namespace recurve {
namespace {

using Action = SignalPolicy::Action;
using std::chrono::milliseconds;

TEST(SignalPolicyTest, ASecondSignalCountsOnlyLater) {
  SignalPolicy policy;
  const SteadyTime start{};
  EXPECT_EQ(policy.Hear(start), Action::kDrain);
  EXPECT_EQ(policy.Hear(start), Action::kIgnore);
  EXPECT_EQ(policy.Hear(start + milliseconds(999)), Action::kIgnore);
  EXPECT_EQ(policy.Hear(start + milliseconds(1000)),
            Action::kEndAtOnce);  // of the first, not of the last
}

TEST(SignalPolicyTest, ALateSecondSignalEndsAtOnce) {
  SignalPolicy policy;
  EXPECT_EQ(policy.Hear(SteadyTime()), Action::kDrain);
  EXPECT_EQ(policy.Hear(SteadyTime() + std::chrono::hours(1)), Action::kEndAtOnce);
}

}  // namespace
}  // namespace recurve
