// SPDX-License-Identifier: Apache-2.0
// How samples end, what their observers hear of it, and which samples are refused.
#include <chrono>
#include <cstdint>
#include <limits>
#include <string>
#include <vector>

#include "engine/schedule/schedule.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/engine/schedule/schedule_fixture.h"

namespace recurve {
namespace {

using std::chrono::milliseconds;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

class EndingTest : public ScheduleFixture {
 protected:
  // Runs a sequence in slot 0 that samples `token`, flagged as a stop id or not.
  void SampleFirst(uint32_t token, uint32_t flags) {
    StepWith({{.slot = 0, .ran = kRanEntry | kRanBlock, .rows = 1, .active = 0}}, {});
    StepWith({{.slot = 0, .ran = kRanExit, .token = token, .flags = flags}}, {1});
  }
};

TEST_F(EndingTest, TellsEndOfSequenceFromStopToken) {
  Start();
  const struct {
    uint32_t token;
    bool ignore_eos;
    EndReason reason;
  } cases[] = {{63, false, EndReason::kEndOfSequence},
               {9, false, EndReason::kStopToken},
               {63, true, EndReason::kStopToken}};
  for (const auto& c : cases) {
    ScheduledSample sample = MakeSample(1, 5);
    sample.stop_token_ids = {9, 63};
    sample.ignore_eos = c.ignore_eos;
    ASSERT_TRUE(schedule_->Add(sample).ok());
    SampleFirst(c.token, kStopId);
    const Recorder& heard = told(sample.id);
    EXPECT_EQ(heard.ending.reason, c.reason);
    EXPECT_THAT(heard.tokens, ElementsAre(c.token));
    EXPECT_EQ(heard.ending.generated_tokens, 1U);
  }
}

TEST_F(EndingTest, TellsLengthFromContextLimit) {
  options_.limits.max_positions = 6;
  options_.default_max_tokens = 3;
  Start();
  ASSERT_TRUE(Add(4, 2).ok());             // fills the context because it asked to
  ASSERT_TRUE(Add(4, std::nullopt).ok());  // the context leaves 2 of the default 3
  ASSERT_TRUE(Add(2, std::nullopt).ok());  // the default of 3
  while (schedule_->HasWork()) Step();
  EXPECT_EQ(told(0).ending.reason, EndReason::kLength);
  EXPECT_EQ(told(1).ending.reason, EndReason::kContextLimit);
  EXPECT_EQ(told(1).ending.generated_tokens, 2U);
  EXPECT_EQ(told(2).ending.reason, EndReason::kLength);
  EXPECT_EQ(told(2).ending.generated_tokens, 3U);
}

TEST_F(EndingTest, WhatAnEarlierStreamHadIsPartOfTheDefaultLength) {
  options_.default_max_tokens = 3;
  Start();
  for (const auto& [had, left] : {std::pair{0U, 3U}, {1U, 2U}, {2U, 1U}, {3U, 1U}, {4U, 1U}}) {
    ScheduledSample sample = MakeSample(4, 4);
    sample.max_tokens.reset();
    sample.generated_prefix = had;
    const absl::Status added = schedule_->Add(sample);
    ASSERT_TRUE(added.ok()) << added;
    while (schedule_->HasWork()) Step();
    EXPECT_EQ(told(sample.id).ending.reason, EndReason::kLength);
    EXPECT_EQ(told(sample.id).ending.generated_tokens, left) << had;
  }
}

TEST_F(EndingTest, ReportsCountsDepthsAndTimes) {
  Start();
  const SteadyTime start = clock_.now;
  ASSERT_TRUE(Add(3, 3).ok());
  for (; schedule_->HasWork(); clock_.now += milliseconds(1)) Step();
  // Two steps of the prompt, EXIT in the third; then a token every second step.
  const Ending& ending = told(0).ending;
  EXPECT_EQ(ending.prompt_tokens, 3U);
  EXPECT_EQ(ending.generated_tokens, 3U);
  EXPECT_EQ(ending.prompt_depth.rows_by_depth[1], 3U);
  // Of three tokens two became rows.
  EXPECT_THAT(ending.generated_depth.by_depth, ElementsAre(0, 3));
  EXPECT_THAT(ending.generated_depth.rows_by_depth, ElementsAre(0, 2));
  EXPECT_EQ(ending.generated_depth.Mean(), 2.0);
  EXPECT_THAT(told(0).token_depths, ElementsAre(2, 2, 2));
  EXPECT_EQ(ending.queued, start);
  EXPECT_EQ(ending.admitted, start);
  EXPECT_EQ(ending.first_token, start + milliseconds(2));
  EXPECT_EQ(ending.last_token, start + milliseconds(6));
  EXPECT_EQ(ending.ended, start + milliseconds(6));
  EXPECT_EQ(schedule_->counters().generated_tokens, 3U);
  EXPECT_EQ(schedule_->counters().prompt_depth.rows_by_depth[1], 3U);
  // After the last step, in which the sequence ended: five entries in all four groups.
  EXPECT_EQ(schedule_->counters().pages_filled_peak, 8U);
}

TEST_F(EndingTest, DeadlineAndTimeLimitEndQueuedAndRunningSamples) {
  options_.limits.slots = 1;
  Start();
  const auto add = [this](int deadline, int time_limit) {
    ScheduledSample sample = MakeSample(1, 50);
    if (deadline > 0) sample.deadline = clock_.now + milliseconds(deadline);
    if (time_limit > 0) sample.time_limit = clock_.now + milliseconds(time_limit);
    ASSERT_TRUE(schedule_->Add(sample).ok());
  };
  add(0, 5);  // runs
  add(3, 0);  // these wait
  add(0, 4);
  add(7, 7);
  for (int i = 0; i < 3; ++i, clock_.now += milliseconds(1)) Step();
  EXPECT_EQ(told(1).ended, 0);
  Step();
  EXPECT_EQ(told(1).ending.reason, EndReason::kDeadline);
  EXPECT_EQ(told(2).ended, 0);
  clock_.now += milliseconds(1);
  Step();
  EXPECT_EQ(told(2).ending.reason, EndReason::kTimeLimit);
  EXPECT_EQ(told(0).ended, 0);
  clock_.now += milliseconds(1);
  Step();
  EXPECT_EQ(told(0).ending.reason, EndReason::kTimeLimit);
  EXPECT_GT(told(0).ending.generated_tokens, 0U);
  ASSERT_EQ(plan_.drops.size(), 1U);  // and its slot goes to the next one
  EXPECT_EQ(plan_.admits.size(), 1U);
  clock_.now += milliseconds(2);
  Step();
  EXPECT_EQ(told(3).ending.reason, EndReason::kDeadline);  // the stricter of two at once
  EXPECT_FALSE(schedule_->HasWork());
}

TEST_F(EndingTest, EndAllEndsRunningAndQueuedSamples) {
  options_.limits.slots = 1;
  Start();
  ASSERT_TRUE(Add(1, 50).ok());
  ASSERT_TRUE(Add(1, 50).ok());
  Step();
  schedule_->EndAll(EndReason::kFailed, absl::UnavailableError("device is gone"));
  for (size_t i = 0; i < 2; ++i) {
    EXPECT_EQ(told(i).ended, 1);
    EXPECT_EQ(told(i).ending.reason, EndReason::kFailed);
    EXPECT_EQ(told(i).ending.status.message(), "device is gone");
  }
  EXPECT_FALSE(schedule_->HasWork());
  EXPECT_EQ(schedule_->counters().pages_reserved, 0U);
}

TEST_F(EndingTest, LogitsThatAreNotFiniteFailTheirSampleAlone) {
  Start();
  ASSERT_TRUE(Add(1, 5).ok());
  ASSERT_TRUE(Add(1, 5).ok());
  StepWith({{.slot = 0, .ran = kRanEntry | kRanBlock, .rows = 1},
            {.slot = 1, .ran = kRanEntry | kRanBlock, .rows = 1}},
           {});
  StepWith(
      {{.slot = 0, .ran = kRanExit, .flags = kNotFinite}, {.slot = 1, .ran = kRanExit, .token = 5}},
      {1, 1});
  EXPECT_EQ(told(0).ending.reason, EndReason::kFailed);
  EXPECT_EQ(told(0).ending.status.code(), absl::StatusCode::kInternal);
  EXPECT_THAT(std::string(told(0).ending.status.message()), HasSubstr("position 1"));
  EXPECT_EQ(told(1).ended, 0);
  EXPECT_THAT(told(1).tokens, ElementsAre(5));
}

class LogitsRecorder : public Recorder {
 public:
  void OnLogits(uint32_t position, std::span<const float> logits) override {
    positions.push_back(position);
    values.assign(logits.begin(), logits.end());
  }
  std::vector<uint32_t> positions;
  std::vector<float> values;
};

TEST_F(EndingTest, HandsOnRawLogits) {
  Start();
  ScheduledSample sample = MakeSample(1, 1);
  LogitsRecorder recorder;
  sample.observer = &recorder;
  sample.raw_logits = true;
  ASSERT_TRUE(schedule_->Add(sample).ok());
  plan_ = schedule_->Plan();
  EXPECT_EQ(plan_.admits[0].wants, kWantsRawLogits);
  CommitWith(1, {{.slot = 0, .ran = kRanEntry | kRanBlock, .rows = 1}}, {});
  plan_ = schedule_->Plan();
  result_.Clear();
  result_.epoch = 2;
  result_.outcomes = {{.slot = 0, .ran = kRanExit, .token = 1}};
  result_.depths = {1};
  result_.logits_rows = {{3, 7}, {0, 0}};
  result_.logits = {1.0F, 2.0F, 3.0F, 4.0F};
  schedule_->Commit(result_);
  EXPECT_THAT(recorder.positions, ElementsAre(0));
  EXPECT_THAT(recorder.values, ElementsAre(3.0F, 4.0F));
}

TEST_F(EndingTest, RefusesWhatTheQueueCannotHold) {
  options_.limits.slots = 1;
  options_.max_queued_requests = 2;
  options_.max_queued_tokens = 64;
  Start();
  ASSERT_TRUE(Add(1, 5).ok());
  Step();
  ASSERT_TRUE(Add(40, 5).ok());
  const absl::Status tokens = Add(25, 5);
  EXPECT_EQ(tokens.code(), absl::StatusCode::kResourceExhausted);
  EXPECT_EQ(tokens.message(),
            "queue is full: 40 tokens wait and the request has 25; max_queued_tokens is 64");
  ASSERT_TRUE(Add(24, 5).ok());
  const absl::Status samples = Add(1, 5);
  EXPECT_EQ(samples.code(), absl::StatusCode::kResourceExhausted);
  EXPECT_EQ(samples.message(), "queue is full: 2 requests wait; max_queued_requests is 2");
  EXPECT_EQ(told(2).ended, 0);
  EXPECT_TRUE(schedule_->Cancel(1));  // makes room at once
  EXPECT_TRUE(Add(1, 5).ok());
}

// A budget that would drop entries only once they have filled the context lets nobody go beyond it.
TEST_F(EndingTest, ABudgetThatComesTooLateEndsWithTheContext) {
  options_.limits.max_positions = 8;
  options_.default_max_tokens = 20;
  Start();
  const auto add = [this](uint32_t every, std::optional<uint32_t> tokens) {
    ScheduledSample sample = MakeSample(7, 1);
    sample.max_tokens = tokens;
    sample.budget.policy = EvictionPolicy::kWindow;
    sample.budget.every = every;
    for (GroupBudget& group : sample.budget.groups) group.entries = 2;
    return schedule_->Add(sample);
  };
  EXPECT_EQ(add(7, 2), absl::InvalidArgumentError(
                           "prompt of 7 tokens and max_tokens of 2 exceed the context of 8 tokens, "
                           "before which kv_budget cannot drop enough with evict_every of 7"));
  EXPECT_FALSE(add(16, 2).ok());
  ASSERT_TRUE(add(7, std::nullopt).ok());
  ASSERT_TRUE(add(6, std::nullopt).ok());
  while (schedule_->HasWork()) Step();
  EXPECT_EQ(told(2).ending.reason, EndReason::kContextLimit);
  EXPECT_EQ(told(2).ending.generated_tokens, 1U);
  EXPECT_EQ(told(3).ending.reason, EndReason::kLength);
  EXPECT_EQ(told(3).ending.generated_tokens, 20U);
}

TEST_F(EndingTest, RefusesWhatCouldNeverRun) {
  options_.limits.pages = 20;
  Start();
  const auto message = [this](ScheduledSample sample) {
    const absl::Status status = schedule_->Add(std::move(sample));
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
    return std::string(status.message());
  };
  EXPECT_EQ(message(MakeSample(0, 5)), "prompt has 0 tokens; expected at least 1");
  EXPECT_EQ(message(MakeSample(60, 5)),
            "prompt of 60 tokens and max_tokens of 5 exceed the context of 64 tokens");
  EXPECT_EQ(message(MakeSample(10, std::numeric_limits<uint32_t>::max())),
            "prompt of 10 tokens and max_tokens of 4294967295 exceed the context of 64 tokens");
  EXPECT_EQ(message(MakeSample(64, std::nullopt)),
            "prompt of 64 tokens leaves no new one in the context of 64 tokens");
  EXPECT_EQ(message(MakeSample(15, 7)),
            "prompt of 15 tokens and 7 new ones need up to 24 cache pages; the pool holds 20");
  EXPECT_TRUE(Add(15, 6).ok());
  EXPECT_EQ(message(MakeSample(3, 0)),
            "max_tokens is 0, which only prompt log probabilities allow");

  ScheduledSample sample = MakeSample(3, 5);
  sample.prompt[1] = 64;
  EXPECT_EQ(message(sample), "prompt token is 64; expected an id below the vocabulary's size 64");
  sample = MakeSample(3, 5);
  sample.generated_prefix = 4;
  EXPECT_EQ(message(sample), "generated_prefix is 4; expected at most 3");
  sample = MakeSample(3, 5);
  sample.generated_prefix = 2;
  sample.min_tokens = 8;
  EXPECT_EQ(message(sample), "min_tokens is 8; expected at most 7");
  sample = MakeSample(3, std::nullopt);  // the default of 8
  sample.min_tokens = 9;
  EXPECT_EQ(message(sample), "min_tokens is 9; expected at most 8");
  sample = MakeSample(3, 5);
  sample.caps = {{0, 3}};
  EXPECT_EQ(message(sample), "max_recursions is 3; expected at most 2");
  sample.caps = {{0, 0}};
  EXPECT_EQ(message(sample), "max_recursions is 0; expected at least 1");
  sample.caps = {{4, 1}, {4, 2}};
  EXPECT_EQ(message(sample), "positions of depth caps do not ascend");
  sample = MakeSample(3, 5);
  sample.prompt_logprobs = true;
  EXPECT_EQ(message(sample), "prompt_logprobs is set without logprobs");
  sample.logprobs = 21;
  EXPECT_EQ(message(sample), "logprobs is 21; expected at most 20");
  sample = MakeSample(3, 5);
  sample.biases = {{64, 1.0F}};
  EXPECT_EQ(message(sample),
            "token of logit_bias is 64; expected an id below the vocabulary's size 64");
  sample.biases.assign(1025, {1, 1.0F});
  EXPECT_EQ(message(sample), "number of entries of logit_bias is 1025; expected at most 1024");
  sample = MakeSample(3, 5);
  sample.stop_token_ids = {70};
  EXPECT_EQ(message(sample),
            "one of stop_token_ids is 70; expected an id below the vocabulary's size 64");
  sample.stop_token_ids.assign(64, 1);
  sample.ignore_eos = false;
  EXPECT_EQ(message(sample),
            "number of stop_token_ids, end-of-sequence ids included, is 65; expected at most 64");
  sample.ignore_eos = true;
  EXPECT_TRUE(schedule_->Add(sample).ok());
}

TEST_F(EndingTest, RefusesOptionsThatContradictEachOther) {
  const auto message = [this] {
    const auto schedule = Schedule::Create(options_, model_.shape, &clock_);
    EXPECT_EQ(schedule.status().code(), absl::StatusCode::kInvalidArgument);
    return std::string(schedule.status().message());
  };
  options_.limits.prompt_rows = 3;
  EXPECT_EQ(message(),
            "chunk is 4; expected at most prompt_rows, 3; lower the one or raise the other");
  options_.limits.prompt_rows = 0;
  EXPECT_EQ(message(), "prompt_rows is 0; expected 1 to 65536");
  options_.limits.prompt_rows = 4;
  options_.limits.ends = 0;
  EXPECT_EQ(message(), "ends is 0; expected 1 to 65536");
  options_.limits.ends = 1;
  options_.max_queued_tokens = 63;
  EXPECT_EQ(message(), "max_queued_tokens is 63; expected at least 64");
  options_.max_queued_tokens = 64;
  model_.shape.recursions = 15;
  EXPECT_EQ(message(), "recursions is 15; expected at most 14");
}

TEST(PolicyTest, KnowsItsNames) {
  EXPECT_EQ(Policy().ends_min(), 1U);
  EXPECT_EQ(Policy::FromName("lockstep")->ends_min(), kEndsWhenBlockEmpty);
  EXPECT_EQ(Policy::FromName("staged")->ends_min(), std::nullopt);
  EXPECT_EQ(Policy::FromName("").status().message(),
            "policy is \"\"; expected staged, depthwise or lockstep");
}

TEST(ClockTest, GoesOn) {
  const SteadyTime before = Clock::Steady()->Now();
  EXPECT_GE(Clock::Steady()->Now(), before);
}

}  // namespace
}  // namespace recurve
