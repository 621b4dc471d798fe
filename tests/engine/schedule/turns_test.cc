// SPDX-License-Identifier: Apache-2.0
// Whose turn it is: tenants, priorities, times in the queue, and who has to leave.
#include <algorithm>
#include <string>
#include <utility>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/engine/schedule/schedule_fixture.h"

namespace recurve {
namespace {

using std::chrono::milliseconds;
using testing::ElementsAre;

class TurnsTest : public ScheduleFixture {
 protected:
  TurnsTest() {
    options_.max_queued_requests = 2000;
    options_.max_queued_tokens = 100'000;
  }

  // Its index in recorders_ is its id.
  size_t AddOf(const std::string& tenant, Priority priority, uint32_t prompt, uint32_t max_tokens) {
    ScheduledSample sample = MakeSample(prompt, max_tokens);
    const size_t id = sample.id;
    sample.tenant = tenant;
    sample.priority = priority;
    EXPECT_TRUE(schedule_->Add(std::move(sample)).ok());
    return id;
  }

  // Ids in the order of their admission, until `last` is admitted.
  std::vector<size_t> AdmittedUntil(size_t last) {
    std::vector<size_t> order;
    std::vector<bool> seen(recorders_.size());
    while (order.empty() || order.back() != last) {
      Step();
      for (size_t id = 0; id < recorders_.size(); ++id) {
        if (!seen[id] && told(id).started > 0) {
          seen[id] = true;
          order.push_back(id);
        }
      }
    }
    return order;
  }
};

TEST_F(TurnsTest, AThousandSamplesOfOneTenantDoNotStarveAnothersOne) {
  options_.limits.slots = 1;
  Start();
  for (int i = 0; i < 1000; ++i) AddOf("flood", Priority::kNormal, 8, 24);
  Step();
  const size_t single = AddOf("single", Priority::kNormal, 8, 24);
  // A turn earns 512 tokens, a sample may take 32: at most 16 samples of the flood go first.
  const std::vector<size_t> order = AdmittedUntil(single);
  EXPECT_LE(order.size(), 1 + 512 / 32);
}

TEST_F(TurnsTest, TenantsShareByTokensAndNotBySamples) {
  options_.limits.slots = 1;
  Start();
  // 64 tokens each against 8 tokens each.
  for (int i = 0; i < 40; ++i) AddOf("long", Priority::kNormal, 32, 32);
  for (int i = 0; i < 320; ++i) AddOf("short", Priority::kNormal, 4, 4);
  const std::vector<size_t> order = AdmittedUntil(39);  // the last of the long ones
  const auto done = static_cast<size_t>(
      std::count_if(order.begin(), order.end(), [](size_t id) { return id >= 40; }));
  // 39 * 64 tokens of the one, so about as many of the other: a quantum more or less.
  EXPECT_NEAR(static_cast<double>(done * 8), 39 * 64, 512);
}

TEST_F(TurnsTest, AHigherPriorityGoesFirst) {
  options_.limits.slots = 1;
  options_.max_preemptions = 0;  // nobody leaves for it
  Start();
  AddOf("", Priority::kNormal, 4, 4);
  Step();
  const size_t low = AddOf("", Priority::kLow, 4, 4);
  const size_t normal = AddOf("", Priority::kNormal, 4, 4);
  const size_t high = AddOf("", Priority::kHigh, 4, 4);
  EXPECT_THAT(AdmittedUntil(low), ElementsAre(0, high, normal, low));
}

TEST_F(TurnsTest, AHigherPriorityPreemptsTheLastOfALowerOne) {
  options_.limits.slots = 2;
  Start();
  const size_t first = AddOf("", Priority::kLow, 2, 20);
  const size_t second = AddOf("", Priority::kLow, 2, 20);
  for (int i = 0; i < 10; ++i) Step();
  const size_t high = AddOf("", Priority::kHigh, 2, 3);
  Step();
  EXPECT_EQ(told(high).started, 1);
  EXPECT_EQ(schedule_->counters().preemptions_for_priority, 1U);
  while (schedule_->HasWork()) Step();
  EXPECT_EQ(told(first).ending.preemptions, 0U);
  EXPECT_EQ(told(second).ending.preemptions, 1U);
  EXPECT_EQ(told(second).ending.generated_tokens, 20U);
  EXPECT_TRUE(told(second).in_order);
}

TEST_F(TurnsTest, NobodyLeavesForNothing) {
  options_.limits.slots = 2;
  options_.limits.pages = 24;
  Start();
  AddOf("", Priority::kHigh, 4, 8);  // up to 12 pages
  AddOf("", Priority::kLow, 4, 8);
  for (int i = 0; i < 10; ++i) Step();
  const uint32_t held = schedule_->counters().pages_reserved;
  // Without the low one there would still not be pages enough.
  AddOf("", Priority::kNormal, 20, 1);
  Step();
  EXPECT_GT(held, 0U);
  EXPECT_EQ(schedule_->counters().preemptions_for_priority, 0U);
  while (schedule_->HasWork()) Step();
}

TEST_F(TurnsTest, WhoWaitsTooLongIsToldSo) {
  options_.limits.slots = 1;
  Start();
  ASSERT_TRUE(Add(4, 20).ok());
  Step();
  ScheduledSample sample = MakeSample(4, 4);
  sample.queue_deadline = clock_.now + milliseconds(5);
  ASSERT_TRUE(schedule_->Add(sample).ok());
  clock_.now += milliseconds(4);
  Step();
  EXPECT_EQ(told(1).ended, 0);
  clock_.now += milliseconds(1);
  Step();
  ASSERT_EQ(told(1).ended, 1);
  EXPECT_EQ(told(1).ending.reason, EndReason::kQueueTimeout);
  EXPECT_EQ(told(1).started, 0);
}

TEST_F(TurnsTest, TheTimeInTheQueueEndsWithIt) {
  Start();
  ScheduledSample sample = MakeSample(4, 10);
  sample.queue_deadline = clock_.now + milliseconds(5);
  ASSERT_TRUE(schedule_->Add(sample).ok());
  Step();
  clock_.now += milliseconds(50);
  while (schedule_->HasWork()) Step();
  EXPECT_EQ(told(0).ending.reason, EndReason::kLength);
}

TEST_F(TurnsTest, AdmissionLeavesHeadroomToThoseThatRun) {
  for (const uint32_t headroom : {0U, 4U, 8U}) {
    options_.limits.pages = 17;
    options_.headroom = headroom;
    recorders_.clear();
    Start();
    ASSERT_TRUE(Add(4, 8).ok());  // 4 pages for its prompt, then 4 for four more tokens
    ASSERT_TRUE(Add(4, 4).ok());  // 8 pages with its first token, of the 13 that are left
    Step();
    EXPECT_EQ(schedule_->counters().running, headroom == 8 ? 1U : 2U);
    while (schedule_->HasWork()) Step();
    EXPECT_EQ(schedule_->counters().preemptions_for_memory, headroom == 8 ? 0U : 1U);
  }
}

TEST_F(TurnsTest, WhoWasPreemptedOftenEnoughComesBackForGood) {
  options_.limits.slots = 3;
  options_.limits.pages = 24;
  options_.max_preemptions = 1;
  Start();
  for (int i = 0; i < 3; ++i) ASSERT_TRUE(Add(3, 20).ok());  // up to 22 entries: 24 pages
  uint32_t back = 0;
  while (schedule_->HasWork()) {
    Step();
    for (const Admission& admission : plan_.admits) {
      if (admission.limits.prompt == 3) continue;
      ++back;
      // It has pages for 22 entries in each of the four groups.
      const auto pages =
          std::count_if(plan_.pages.begin(), plan_.pages.end(),
                        [&](const PageChange& p) { return p.slot == admission.slot; });
      EXPECT_EQ(pages, 4 * 6);
    }
  }
  EXPECT_GT(back, 0U);
  for (size_t id = 0; id < 3; ++id) {
    EXPECT_LE(told(id).ending.preemptions, 1U);
    EXPECT_EQ(told(id).ending.generated_tokens, 20U);
  }
}

TEST_F(TurnsTest, TheTimeOfRecomputationIsTold) {
  options_.limits.pages = 24;
  Start();
  for (int i = 0; i < 2; ++i) ASSERT_TRUE(Add(3, 20).ok());
  for (; schedule_->HasWork(); clock_.now += milliseconds(1)) Step();
  EXPECT_EQ(told(0).ending.recompute_time, milliseconds(0));
  EXPECT_EQ(told(1).ending.preemptions, 1U);
  EXPECT_GT(told(1).ending.recomputed_tokens, 3U);
  // Chunks of 4 rows, 3 steps each.
  const auto least = milliseconds(2 * (told(1).ending.recomputed_tokens / 4));
  EXPECT_GE(told(1).ending.recompute_time, least);
  EXPECT_LE(told(1).ending.recompute_time, 3 * least);
  EXPECT_EQ(schedule_->counters().recompute_time, told(1).ending.recompute_time);
}

}  // namespace
}  // namespace recurve
