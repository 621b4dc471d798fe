// SPDX-License-Identifier: Apache-2.0
// Samples that come together: samples of one prompt.
#include <utility>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/engine/schedule/schedule_fixture.h"

namespace recurve {
namespace {

using testing::IsEmpty;
using testing::SizeIs;

class SamplesTest : public ScheduleFixture {
 protected:
  SamplesTest() { options_.prefix_node_tokens = 4; }

  std::vector<ScheduledSample> MakeSamples(int count, uint32_t prompt, uint32_t max_tokens) {
    std::vector<ScheduledSample> samples;
    samples.reserve(static_cast<size_t>(count));
    for (int i = 0; i < count; ++i) samples.push_back(MakeSample(prompt, max_tokens));
    return samples;
  }
  // Runs three samples of a prompt of 10 tokens of which the first wants its log probabilities.
  void RunWithPromptLogprobs(bool store_prompt) {
    Start();
    std::vector<ScheduledSample> samples = MakeSamples(3, 10, 5);
    samples[0].logprobs = 0;
    samples[0].prompt_logprobs = true;
    samples[0].store_prompt = store_prompt;
    ASSERT_TRUE(schedule_->AddAll(std::move(samples)).ok());
    while (schedule_->HasWork()) Step();
    EXPECT_THAT(told(0).prompt_logprobs, SizeIs(9));
    EXPECT_EQ(told(0).ending.cached_tokens, 0U);
    for (size_t i = 0; i < 3; ++i) {
      EXPECT_THAT(told(i).prompt_depths, SizeIs(10));
      EXPECT_EQ(told(i).tokens, told(0).tokens);
    }
  }
};

TEST_F(SamplesTest, AllAreQueuedOrNone) {
  options_.limits.slots = 1;
  options_.max_queued_requests = 3;
  options_.max_queued_tokens = 64;
  Start();
  ASSERT_TRUE(Add(1, 5).ok());
  Step();
  ASSERT_TRUE(Add(1, 5).ok());
  const absl::Status too_many = schedule_->AddAll(MakeSamples(3, 2, 5));
  EXPECT_EQ(too_many.code(), absl::StatusCode::kResourceExhausted);
  EXPECT_EQ(too_many.message(),
            "queue is full: 1 requests wait and 3 come; max_queued_requests is 3");
  const absl::Status tokens = schedule_->AddAll(MakeSamples(2, 32, 5));
  EXPECT_EQ(tokens.code(), absl::StatusCode::kResourceExhausted);
  std::vector<ScheduledSample> samples = MakeSamples(2, 4, 5);
  samples[1].stop_token_ids = {1000};
  EXPECT_EQ(schedule_->AddAll(std::move(samples)).code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(schedule_->counters().waiting, 1U);
  EXPECT_EQ(schedule_->counters().waiting_tokens, 1U);
  ASSERT_TRUE(schedule_->AddAll(MakeSamples(2, 31, 5)).ok());
  EXPECT_EQ(schedule_->counters().waiting, 3U);
  EXPECT_EQ(schedule_->counters().waiting_tokens, 63U);
}

TEST_F(SamplesTest, WhatCanNeverWaitTogetherIsInvalid) {
  options_.max_queued_requests = 3;
  options_.max_queued_tokens = 64;
  Start();
  const absl::Status samples = schedule_->AddAll(MakeSamples(4, 2, 5));
  EXPECT_EQ(samples.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(samples.message(), "4 samples can never wait together; max_queued_requests is 3");
  const absl::Status tokens = schedule_->AddAll(MakeSamples(3, 22, 5));
  EXPECT_EQ(tokens.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(tokens.message(),
            "prompts of 66 tokens, all samples together, can never wait; max_queued_tokens is 64");
}

TEST_F(SamplesTest, TheFirstComputesThePromptOfAll) {
  Start();
  ASSERT_TRUE(schedule_->AddAll(MakeSamples(3, 10, 5)).ok());
  while (schedule_->HasWork()) Step();
  EXPECT_EQ(told(0).ending.cached_tokens, 0U);
  EXPECT_EQ(told(1).ending.cached_tokens, 8U);
  EXPECT_EQ(told(2).ending.cached_tokens, 8U);
  uint32_t prompt_rows = 0;
  for (const uint32_t rows : schedule_->counters().prompt_depth.rows_by_depth) prompt_rows += rows;
  EXPECT_EQ(prompt_rows, 10U + 2U + 2U);
}

// Whom a token paid attention to is not kept.
TEST_F(SamplesTest, EvictionByAttentionSharesNothing) {
  Start();
  std::vector<ScheduledSample> samples = MakeSamples(2, 10, 5);
  for (ScheduledSample& sample : samples) sample.budget.policy = EvictionPolicy::kAttention;
  ASSERT_TRUE(schedule_->AddAll(std::move(samples)).ok());
  while (schedule_->HasWork()) Step();
  EXPECT_EQ(told(1).ending.cached_tokens, 0U);
  EXPECT_EQ(told(1).tokens, told(0).tokens);
}

TEST_F(SamplesTest, WithoutACacheEachComputesThePrompt) {
  options_.prefix_cache = false;
  Start();
  ASSERT_TRUE(schedule_->AddAll(MakeSamples(2, 10, 5)).ok());
  while (schedule_->HasWork()) Step();
  EXPECT_EQ(told(1).ending.cached_tokens, 0U);
  EXPECT_EQ(told(1).tokens, told(0).tokens);
}

TEST_F(SamplesTest, ThePromptIsSharedThoughTheFirstWantsItsLogprobs) {
  RunWithPromptLogprobs(/*store_prompt=*/true);
  EXPECT_EQ(told(1).ending.cached_tokens, 8U);
  EXPECT_EQ(told(2).ending.cached_tokens, 8U);
}

TEST_F(SamplesTest, APromptWithLogprobsIsNotStoredUnasked) {
  RunWithPromptLogprobs(/*store_prompt=*/false);
  EXPECT_EQ(told(1).ending.cached_tokens + told(2).ending.cached_tokens, 8U);
}

TEST_F(SamplesTest, TheOthersGoOnWhenTheFirstIsCancelled) {
  Start();
  ASSERT_TRUE(schedule_->AddAll(MakeSamples(3, 10, 5)).ok());
  Step();
  EXPECT_TRUE(schedule_->Cancel(0));
  while (schedule_->HasWork()) Step();
  EXPECT_THAT(told(0).tokens, IsEmpty());
  EXPECT_THAT(told(1).tokens, SizeIs(5));
  EXPECT_EQ(told(2).tokens, told(1).tokens);
}

}  // namespace
}  // namespace recurve
