// SPDX-License-Identifier: Apache-2.0
#include "engine/backend/cpu/thread_team.h"

#include <gtest/gtest.h>

#include <chrono>
#include <limits>
#include <thread>
#include <vector>

namespace recurve {
namespace {

// One thread, as many as small machines have, and more than they have.
constexpr uint32_t kSizes[] = {1, 2, 3, 8};

TEST(ThreadTeamTest, RunsEveryThreadOnceUnderTheFloatMode) {
  for (const uint32_t size : kSizes) {
    const auto created = ThreadTeam::Create(size);
    ASSERT_TRUE(created.ok()) << created.status();
    ThreadTeam& team = **created;
    ASSERT_EQ(team.size(), size);
    volatile float least = std::numeric_limits<float>::min();
    volatile float denormal = std::numeric_limits<float>::denorm_min() * (1 << 22);
    for (int run = 0; run < 50; ++run) {
      std::vector<uint32_t> calls(size);
      std::vector<uint32_t> flushed(size);
      team.Run([&](uint32_t thread) {
        ++calls[thread];
        flushed[thread] = least * 0.5F == 0.0F && denormal * 2.0F == 0.0F;
      });
      EXPECT_EQ(calls, std::vector<uint32_t>(size, 1));
      EXPECT_EQ(flushed, std::vector<uint32_t>(size, 1));
    }
    EXPECT_NE(least * 0.5F, 0.0F);
  }
}

TEST(ThreadTeamTest, ThreadZeroIsTheCaller) {
  const auto created = ThreadTeam::Create(3);
  ASSERT_TRUE(created.ok()) << created.status();
  ThreadTeam& team = **created;
  std::vector<std::thread::id> ids(3);
  team.Run([&](uint32_t thread) { ids[thread] = std::this_thread::get_id(); });
  EXPECT_EQ(ids[0], std::this_thread::get_id());
  EXPECT_NE(ids[1], ids[0]);
  EXPECT_NE(ids[2], ids[0]);
  EXPECT_NE(ids[2], ids[1]);
}

// Each thread writes its own plain cell, and between two barriers reads everyone's: a barrier that
// lets one through early shows as a wrong sum, and as a race under ThreadSanitizer.
TEST(ThreadTeamTest, BarriersSeparateWritesFromReads) {
  for (const uint32_t size : kSizes) {
    const auto created = ThreadTeam::Create(size);
    ASSERT_TRUE(created.ok()) << created.status();
    ThreadTeam& team = **created;
    std::vector<uint32_t> cells(size);
    std::vector<uint32_t> wrong(size);
    for (uint32_t run = 0; run < 30; ++run) {
      team.Run([&](uint32_t thread) {
        for (uint32_t round = 0; round < 40; ++round) {
          cells[thread] = run * 1000 + round * 10 + thread;
          team.Barrier(thread);
          uint32_t sum = 0;
          for (const uint32_t cell : cells) sum += cell;
          wrong[thread] += sum != size * (run * 1000 + round * 10) + size * (size - 1) / 2;
          team.Barrier(thread);
        }
      });
      cells.assign(size, 0);  // the caller owns everything between Runs
    }
    EXPECT_EQ(wrong, std::vector<uint32_t>(size, 0)) << size << " threads";
  }
}

// Long enough apart that the others sleep.
TEST(ThreadTeamTest, WakesSleepers) {
  const auto created = ThreadTeam::Create(4);
  ASSERT_TRUE(created.ok()) << created.status();
  ThreadTeam& team = **created;
  std::vector<uint32_t> calls(4);
  for (int run = 0; run < 5; ++run) {
    std::this_thread::sleep_for(std::chrono::milliseconds(5));
    team.Run([&](uint32_t thread) { ++calls[thread]; });
  }
  EXPECT_EQ(calls, std::vector<uint32_t>(4, 5));
}

TEST(ThreadTeamTest, EndsWithoutARun) {
  for (int i = 0; i < 20; ++i) EXPECT_TRUE(ThreadTeam::Create(3).ok());
}

}  // namespace
}  // namespace recurve
