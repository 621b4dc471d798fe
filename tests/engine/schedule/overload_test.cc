// SPDX-License-Identifier: Apache-2.0
// More work than memory: every sample still gets what it gets alone, and little is computed twice.
#include <algorithm>
#include <memory>
#include <random>
#include <vector>

#include "gtest/gtest.h"
#include "tests/engine/schedule/schedule_fixture.h"

namespace recurve {
namespace {

class OverloadTest : public ScheduleFixture {
 protected:
  struct Figures {
    uint32_t peak = 0;  // pages
    uint64_t rows = 0;  // each counted once
    uint64_t recomputed = 0;
    uint64_t preemptions = 0;
  };

  // Sixty samples that come one by one, faster than they can be served.
  std::vector<ScheduledSample> DrawLoad(uint64_t seed) {
    std::mt19937_64 random(seed);
    std::vector<ScheduledSample> load;
    for (int i = 0; i < 60; ++i) {
      const auto prompt = static_cast<uint32_t>(1 + random() % 120);
      ScheduledSample sample = MakeSample(0, static_cast<uint32_t>(1 + random() % 120));
      for (uint32_t p = 0; p < prompt; ++p) {
        sample.prompt.push_back(static_cast<uint32_t>(random() % 64));
      }
      load.push_back(std::move(sample));
    }
    return load;
  }

  Figures Run(const std::vector<ScheduledSample>& load, uint32_t pages) {
    options_.limits.pages = pages;
    options_.headroom = 16;  // with more nobody would be preempted here
    Start();
    size_t next = 0;
    for (uint64_t step = 0; next < load.size() || schedule_->HasWork(); ++step) {
      if (step % 4 == 0 && next < load.size()) {
        ScheduledSample sample = load[next++];
        EXPECT_TRUE(schedule_->Add(std::move(sample)).ok());
      }
      Step();
    }
    Figures figures;
    const ScheduleCounters counters = schedule_->counters();
    figures.peak = counters.pages_filled_peak;
    figures.recomputed = counters.recomputed_tokens;
    figures.preemptions = counters.preemptions_for_memory;
    for (const DepthCounts* depth : {&counters.prompt_depth, &counters.generated_depth}) {
      for (const uint64_t rows : depth->rows_by_depth) figures.rows += rows;
    }
    return figures;
  }
};

TEST_F(OverloadTest, HalfThePeakIsEnough) {
  BackendLimits& limits = options_.limits;
  limits.slots = 16;
  limits.areas = 4;
  limits.chunk = 16;
  limits.ends = 16;
  limits.block_rows = 16;
  limits.prompt_rows = 32;
  limits.max_positions = 256;
  options_.max_queued_requests = 60;
  options_.max_queued_tokens = 60 * 120;
  model_.shape = {3, 0};
  model_.routing = FakeModel::Routing::kExpertChoice;
  options_.entries_per_page = {8, 4, 4, 4, 8};
  uint64_t preemptions = 0;
  for (uint64_t seed = 1; seed <= 3; ++seed) {
    recorders_.clear();
    const std::vector<ScheduledSample> load = DrawLoad(seed);
    const Figures roomy = Run(load, 10'000);
    EXPECT_EQ(roomy.recomputed, 0U);
    std::vector<std::unique_ptr<Recorder>> alone = std::move(recorders_);
    recorders_.clear();
    const std::vector<ScheduledSample> again = DrawLoad(seed);
    const Figures tight = Run(again, roomy.peak / 2);
    preemptions += tight.preemptions;
    for (size_t id = 0; id < load.size(); ++id) {
      ASSERT_EQ(told(id).ended, 1);
      EXPECT_EQ(told(id).tokens, alone[id]->tokens) << "seed " << seed << ", request " << id;
      EXPECT_EQ(told(id).ending.reason, alone[id]->ending.reason);
    }
    EXPECT_EQ(tight.rows, roomy.rows);
    const double share =
        static_cast<double>(tight.rows) / static_cast<double>(tight.rows + tight.recomputed);
    EXPECT_GE(share, 0.8) << "seed " << seed << ": " << tight.preemptions << " preemptions, "
                          << tight.recomputed << " of " << tight.rows + tight.recomputed
                          << " rows computed again";
  }
  EXPECT_GT(preemptions, 0U);  // else the memory was not tight
}

TEST_F(OverloadTest, APromptWaitsUntilThoseThatRunCanBeFinished) {
  options_.limits.pages = 60;
  Start();
  ASSERT_TRUE(Add(40, 1).ok());  // forty pages
  ASSERT_TRUE(Add(40, 1).ok());
  while (schedule_->HasWork()) Step();
  EXPECT_EQ(schedule_->counters().preemptions_for_memory, 0U);
  EXPECT_EQ(schedule_->counters().recomputed_tokens, 0U);
}

}  // namespace
}  // namespace recurve
