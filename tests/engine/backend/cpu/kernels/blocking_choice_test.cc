// SPDX-License-Identifier: Apache-2.0
#include "engine/backend/cpu/kernels/blocking_choice.h"

#include <gtest/gtest.h>

#include <array>
#include <cstdint>
#include <random>

namespace recurve {
namespace {

// Blockings that take so many ticks each, give or take noise.
class Machine {
 public:
  std::array<uint64_t, BlockingChoice::kBlockings> cost = {100, 100, 100, 100};
  uint64_t noise = 0;      // at most
  uint64_t slow_once = 0;  // every 50th turn takes so much longer

  // Blockings that did `turns` turns.
  std::array<uint32_t, BlockingChoice::kBlockings> Run(BlockingChoice* choice, uint32_t turns) {
    std::array<uint32_t, BlockingChoice::kBlockings> did = {};
    for (uint32_t i = 0; i < turns; ++i) {
      choice->Turn([this] { return now_; },
                   [&](uint32_t blocking) {
                     ++did[blocking];
                     now_ += cost[blocking] + random_() % (noise + 1);
                     if (++turns_ % 50 == 0) now_ += slow_once;
                   });
    }
    return did;
  }

 private:
  uint64_t now_ = 0;
  uint64_t turns_ = 0;
  std::mt19937 random_{1};  // NOLINT(cert-msc32-c,cert-msc51-cpp): the same each time
};

constexpr uint32_t kTrial = BlockingChoice::kRestTurns + 2 * BlockingChoice::kTrialPairs;

TEST(BlockingChoiceTest, FindsTheFastestWithinATrialOfEach) {
  for (uint32_t fastest = 0; fastest < BlockingChoice::kBlockings; ++fastest) {
    for (uint32_t first = 0; first < BlockingChoice::kBlockings; ++first) {
      Machine machine;
      machine.cost[fastest] = 90;
      BlockingChoice choice(first);
      machine.Run(&choice, BlockingChoice::kBlockings * kTrial);
      EXPECT_EQ(choice.best(), fastest) << "from " << first;
    }
  }
}

TEST(BlockingChoiceTest, FollowsAMachineThatChanges) {
  Machine machine;
  machine.noise = 10;
  machine.slow_once = 100'000;  // as when the system takes the core away
  BlockingChoice choice;
  for (const uint32_t fastest : {2U, 1U, 3U, 0U}) {
    machine.cost.fill(100);
    machine.cost[fastest] = 80;
    machine.Run(&choice, BlockingChoice::kBlockings * kTrial);
    EXPECT_EQ(choice.best(), fastest);
  }
}

TEST(BlockingChoiceTest, NeverGoesToOneThatIsNoFaster) {
  Machine machine;
  BlockingChoice choice(3);
  machine.Run(&choice, 10 * kTrial);
  EXPECT_EQ(choice.best(), 3U);
}

TEST(BlockingChoiceTest, TrialsTakeFewTurnsOfAnyOther) {
  Machine machine;
  machine.cost = {50, 100, 100, 100};
  BlockingChoice choice;
  const auto did = machine.Run(&choice, 12 * kTrial);
  for (const uint32_t other : {1U, 2U, 3U}) {
    EXPECT_EQ(did[other], 4 * BlockingChoice::kTrialPairs) << other;
  }
}

}  // namespace
}  // namespace recurve
