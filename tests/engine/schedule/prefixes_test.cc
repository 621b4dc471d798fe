// SPDX-License-Identifier: Apache-2.0
// What samples share of their prompts, in the plans; random_load.h says that it changes nothing.
#include <array>
#include <random>

#include "gtest/gtest.h"
#include "tests/engine/schedule/schedule_fixture.h"

namespace recurve {
namespace {

// Chunks of four tokens, pages of four entries in each of four groups.
class PrefixesTest : public ScheduleFixture {
 protected:
  PrefixesTest() { options_.prefix_node_tokens = 4; }

  void StepUntilEnded(size_t id) {
    for (int step = 0; step < 300 && told(id).ended == 0; ++step) Step();
    ASSERT_EQ(told(id).ended, 1);
  }
};

TEST_F(PrefixesTest, WhoeverComesNextTakesWhatIsThere) {
  Start();
  ASSERT_TRUE(Add(11, 2).ok());
  StepUntilEnded(0);
  EXPECT_EQ(schedule_->counters().pages_cached, 4U * 2);
  ASSERT_TRUE(Add(11, 2).ok());
  Step();
  ASSERT_EQ(plan_.admits.size(), 1U);
  EXPECT_EQ(plan_.admits[0].state.position, 8U);
  EXPECT_EQ(plan_.admits[0].state.count[1], 8U);
  EXPECT_EQ(plan_.tokens.front().position, 0U) << "penalties count the prefix too";
  EXPECT_TRUE(plan_.copies.empty()) << "all of its pages are full";
  StepUntilEnded(1);
  EXPECT_EQ(told(1).ending.cached_tokens, 8U);
  EXPECT_EQ(told(1).prompt_depths, told(0).prompt_depths);
  EXPECT_EQ(schedule_->counters().prefix_tokens_found, 8U);
  EXPECT_EQ(schedule_->counters().prefix_tokens_wanted, 22U);
}

TEST_F(PrefixesTest, APartlyFilledPageIsCopied) {
  options_.entries_per_page = {3, 3, 3, 3};
  Start();
  ASSERT_TRUE(Add(9, 2).ok());
  StepUntilEnded(0);
  ASSERT_TRUE(Add(9, 2).ok());
  Step();
  // Eight entries in pages of three: two pages as they are, the third as a copy, in each group.
  EXPECT_EQ(plan_.copies.size(), 4U);
  StepUntilEnded(1);
  EXPECT_EQ(told(1).tokens, told(0).tokens);
}

TEST_F(PrefixesTest, WhosePrefixIsBeingComputedIsParkedAndOthersGoOn) {
  Start();
  ASSERT_TRUE(Add(14, 2).ok());
  ASSERT_TRUE(Add(13, 2).ok());
  ScheduledSample other = MakeSample(6, 2);
  for (uint32_t& token : other.prompt) token += 20;
  ASSERT_TRUE(schedule_->Add(std::move(other)).ok());
  Step();
  EXPECT_EQ(plan_.admits.size(), 2U);
  EXPECT_EQ(told(1).started, 0);
  EXPECT_EQ(told(2).started, 1);
  EXPECT_EQ(schedule_->counters().waiting, 1U);
  StepUntilEnded(1);
  EXPECT_EQ(told(1).ending.cached_tokens, 12U);
  EXPECT_EQ(told(1).tokens.size(), 2U);
}

TEST_F(PrefixesTest, TheParkedGoOnWhenTheirLeaderLeaves) {
  Start();
  ASSERT_TRUE(Add(14, 2).ok());
  ASSERT_TRUE(Add(14, 2).ok());
  Step();
  EXPECT_EQ(told(1).started, 0);
  ASSERT_TRUE(schedule_->Cancel(0));
  Step();
  EXPECT_EQ(told(1).started, 1);
  StepUntilEnded(1);
}

TEST_F(PrefixesTest, TheParkedCanBeCancelledAndTimeOut) {
  Start();
  ASSERT_TRUE(Add(14, 2).ok());
  ASSERT_TRUE(Add(14, 2).ok());
  ScheduledSample impatient = MakeSample(14, 2);
  impatient.queue_deadline = clock_.now + std::chrono::milliseconds(5);
  ASSERT_TRUE(schedule_->Add(std::move(impatient)).ok());
  Step();
  EXPECT_EQ(schedule_->counters().waiting, 2U);
  ASSERT_TRUE(schedule_->Cancel(1));
  clock_.now += std::chrono::milliseconds(5);
  Step();
  EXPECT_EQ(told(2).ending.reason, EndReason::kQueueTimeout);
  EXPECT_EQ(schedule_->counters().waiting, 0U);
  StepUntilEnded(0);
}

TEST_F(PrefixesTest, NothingIsSharedWhereTheModelWouldDoOtherThings) {
  options_.limits.max_logprobs = 2;
  Start();
  ASSERT_TRUE(Add(12, 1).ok());
  StepUntilEnded(0);
  std::vector<ScheduledSample> others;
  others.reserve(5);
  for (int i = 0; i < 5; ++i) others.push_back(MakeSample(12, 1));
  others[0].tenant = "another";
  others[1].caps = {{0, 1}};
  others[2].threshold_logit = 1.0F;
  others[3].logprobs = 0;
  others[3].prompt_logprobs = true;
  others[4].cache_prompt = false;
  for (size_t i = 0; i < others.size(); ++i) {
    ASSERT_TRUE(schedule_->Add(std::move(others[i])).ok());
    StepUntilEnded(i + 1);
    EXPECT_EQ(told(i + 1).ending.cached_tokens, 0U) << i;
  }
  ASSERT_TRUE(Add(12, 1).ok());
  StepUntilEnded(6);
  EXPECT_EQ(told(6).ending.cached_tokens, 8U) << "a token is left to run";
}

TEST_F(PrefixesTest, CachedPrefixesGoBeforeAnybodyIsPreempted) {
  options_.limits.pages = 4 * 6;  // for 24 tokens
  Start();
  ASSERT_TRUE(Add(13, 1).ok());
  StepUntilEnded(0);
  EXPECT_EQ(schedule_->counters().pages_cached, 4U * 3);
  ScheduledSample other = MakeSample(20, 4);
  for (uint32_t& token : other.prompt) token += 20;
  ASSERT_TRUE(schedule_->Add(std::move(other)).ok());
  StepUntilEnded(1);
  EXPECT_EQ(told(1).tokens.size(), 4U);
  EXPECT_EQ(schedule_->counters().preemptions_for_memory, 0U);
}

TEST_F(PrefixesTest, WhatIsGeneratedIsKeptOnRequest) {
  Start();
  ScheduledSample sample = MakeSample(6, 8);
  sample.cache_generated = true;
  ASSERT_TRUE(schedule_->Add(std::move(sample)).ok());
  StepUntilEnded(0);
  ScheduledSample next = MakeSample(6, 2);
  next.prompt.insert(next.prompt.end(), told(0).tokens.begin(), told(0).tokens.end());
  ASSERT_TRUE(schedule_->Add(std::move(next)).ok());
  StepUntilEnded(1);
  EXPECT_EQ(told(1).ending.cached_tokens, 12U) << "the last generated token never ran";
}

// The memory of a model whose recursions r are taken by 1, 2/3 and 1/3 of the tokens is (N + 1) /
// 2N of the fixed-depth model's, in the shared block (Bae et al., "Mixture-of-Recursions", 2025).
double BlockPagesPeak(ScheduleOptions options, FakeModel model, uint32_t chunk, bool fixed) {
  options.limits.chunk = options.limits.prompt_rows = chunk;
  FakeClock clock;
  const auto schedule = Schedule::Create(options, model.shape, &clock).value();
  FakeBackend backend(model, options.limits, options.entries_per_page, 1, FakeFault::kNone);
  std::mt19937 random(5);
  std::vector<std::unique_ptr<Recorder>> recorders;
  for (uint32_t stream = 0; stream < options.limits.slots; ++stream) {
    ScheduledSample sample;
    sample.id = stream;
    const auto below = [&random](uint32_t n) { return static_cast<uint32_t>(random() % n); };
    for (uint32_t i = 0; i < 700; ++i) sample.prompt.push_back(below(options.vocab_size));
    for (uint32_t i = 0; i < 1000; ++i) sample.caps.push_back({i, fixed ? 3 : 1 + below(3)});
    sample.max_tokens = 300;
    sample.ignore_eos = true;
    recorders.push_back(std::make_unique<Recorder>(stream));
    sample.observer = recorders.back().get();
    EXPECT_TRUE(schedule->Add(std::move(sample)).ok());
  }
  StepResult result;
  while (schedule->HasWork()) {
    EXPECT_TRUE(backend.Submit(schedule->Plan()).ok() && backend.Collect(result).ok());
    schedule->Commit(result);
  }
  double pages = 0;
  for (uint32_t group = 1; group <= 3; ++group) {
    pages += schedule->counters().groups[group].filled_peak;
  }
  return pages;
}

TEST_F(PrefixesTest, RecursionsTakeTheMemoryThatThePaperComputes) {
  model_.shape = {3, 0};
  model_.vocab = options_.vocab_size = 4096;
  options_.eos_ids = {1};
  options_.entries_per_page = {0, 16, 16, 16, 0};
  options_.limits.slots = options_.limits.areas = options_.limits.ends = 4;
  options_.limits.max_positions = 1000;
  options_.limits.pages = 4 * 3 * 63;
  for (const uint32_t chunk : {1U, 48U, 256U}) {
    const double recursive = BlockPagesPeak(options_, model_, chunk, false);
    const double fixed = BlockPagesPeak(options_, model_, chunk, true);
    EXPECT_NEAR(recursive / fixed, 4.0 / 6.0, 0.03 * 4.0 / 6.0) << "chunks of " << chunk;
  }
}

}  // namespace
}  // namespace recurve
