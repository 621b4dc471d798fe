// SPDX-License-Identifier: Apache-2.0
// The engine's facade, over a small random model: what requests become, and which are refused.
#include "engine/engine.h"

#include <ctime>
#include <latch>
#include <memory>
#include <numeric>
#include <string>
#include <thread>
#include <vector>

#include "absl/strings/match.h"
#include "gtest/gtest.h"
#include "tests/engine/backend/make_test_backend.h"
#include "tests/engine/backend/test_backends.h"
#include "tests/engine/small_engine.h"

namespace recurve {
namespace {

class EngineOverBackendsTest : public testing::TestWithParam<TestBackend> {
 protected:
  void SetUp() override {
    const std::string why = WhySkipped(GetParam());
    if (!why.empty()) GTEST_SKIP() << why;
  }

  static std::unique_ptr<Engine> MakeSmallEngine(const BeforeStep& before_step = GoOn,
                                                 uint32_t queue_depth = 0) {
    return recurve::MakeSmallEngine(before_step, queue_depth, TestBackendMaker(GetParam()));
  }
};

INSTANTIATE_TEST_SUITE_P(Backends, EngineOverBackendsTest, testing::ValuesIn(TestTwins()),
                         NameOfParam);

TEST_P(EngineOverBackendsTest, GeneratesAndCounts) {
  const auto engine = MakeSmallEngine();
  const auto sink = std::make_shared<Sink>();
  ASSERT_TRUE(engine->Start(IdsRequest({1, 2, 3, 4, 5}, 20), {sink}).ok());
  const Finish finish = sink->Wait();
  EXPECT_TRUE(finish.status.ok());
  EXPECT_EQ(finish.reason, EndReason::kLength);
  EXPECT_EQ(finish.prompt_tokens, 5U);
  EXPECT_EQ(finish.generated_tokens, 20U);
  EXPECT_EQ(sink->tokens().size(), 20U);
  uint64_t by_depth = 0;
  for (const uint64_t count : finish.generated_depth.by_depth) by_depth += count;
  EXPECT_EQ(by_depth, 20U);
  EXPECT_GE(finish.generated_depth.Mean(), 1.0);
  const EngineSnapshot snapshot = engine->Snapshot();
  EXPECT_EQ(snapshot.prompt_tokens, 5U);
  EXPECT_EQ(snapshot.schedule.generated_tokens, 20U);
  EXPECT_EQ(snapshot.schedule.pages_free, 256U);
  EXPECT_GT(snapshot.steps.count, 20U);
  ASSERT_EQ(snapshot.schedule.groups.size(), 5U);
  EXPECT_EQ(snapshot.schedule.groups[0].name, "entry");
  EXPECT_EQ(snapshot.schedule.groups[4].name, "exit");
}

TEST_P(EngineOverBackendsTest, SameTokensAtEitherDepthOfTheStepQueue) {
  std::vector<uint32_t> expected;
  for (const uint32_t depth : {0U, 1U}) {
    const auto engine = MakeSmallEngine(GoOn, depth);
    const auto sink = std::make_shared<Sink>();
    ASSERT_TRUE(engine->Start(IdsRequest({9, 8, 7}, 40), {sink}).ok());
    sink->Wait();
    if (depth == 0) expected = sink->tokens();
    EXPECT_EQ(sink->tokens(), expected);
  }
}

// With and without the log probabilities of the prompt, which sample 0 alone computes.
TEST_P(EngineOverBackendsTest, SamplesShareThePromptAndEachIsWhatItsSeedGivesAlone) {
  for (const bool prompt_logprobs : {false, true}) {
    Request request = IdsRequest(std::vector<uint32_t>(70, 3), 12);
    request.prompt_logprobs = prompt_logprobs;
    request.cumulative_logprob = true;
    request.sampling.temperature = 1.0F;
    request.sampling.set_seed(11);
    request.samples = 3;
    const auto engine = MakeSmallEngine();
    const std::vector<std::shared_ptr<Sink>> sinks = {
        std::make_shared<Sink>(), std::make_shared<Sink>(), std::make_shared<Sink>()};
    ASSERT_TRUE(engine->Start(request, std::make_shared<SampleSinks>(sinks)).ok());
    for (const auto& sink : sinks) EXPECT_TRUE(sink->Wait().status.ok());
    const EngineSnapshot snapshot = engine->Snapshot();
    uint64_t prompt_rows = 0;
    for (const uint64_t rows : snapshot.schedule.prompt_depth.rows_by_depth) prompt_rows += rows;
    EXPECT_EQ(prompt_rows, 70U + 6U + 6U);  // all but the first 64 tokens, which are shared
    EXPECT_EQ(snapshot.prompt_tokens, 70U);
    EXPECT_EQ(snapshot.schedule.generated_tokens, 36U);
    EXPECT_NE(sinks[0]->tokens(), sinks[1]->tokens());
    EXPECT_NE(sinks[1]->tokens(), sinks[2]->tokens());
    const auto other = MakeSmallEngine();
    for (uint32_t sample = 0; sample < 3; ++sample) {
      Request single = IdsRequest(std::vector<uint32_t>(70, 3), 12);
      single.sampling.temperature = 1.0F;
      single.sampling.set_seed(SampleSeed(11, sample));
      single.logprobs = true;
      const auto alone = std::make_shared<Sink>();
      ASSERT_TRUE(other->Start(single, {alone}).ok());
      EXPECT_FALSE(alone->Wait().cumulative_logprob.has_value());
      EXPECT_EQ(sinks[sample]->tokens(), alone->tokens());
      const std::vector<float> logprobs = alone->logprobs();
      EXPECT_EQ(sinks[sample]->Wait().cumulative_logprob,
                std::accumulate(logprobs.begin(), logprobs.end(), 0.0));
      EXPECT_TRUE(sinks[sample]->logprobs().empty()) << "not asked for";
      EXPECT_EQ(sinks[sample]->prompt_logprobs(), prompt_logprobs && sample == 0 ? 69U : 0U);
    }
  }
}

TEST(EngineTest, SamplesAreRefusedTogether) {
  std::latch halted(1), go_on(1);
  const auto engine = MakeSmallEngine([&](uint32_t epoch) {
    if (epoch == 1) halted.count_down();
    go_on.wait();
    return absl::OkStatus();
  });
  std::vector<std::shared_ptr<Sink>> accepted;
  for (int i = 0; i < 6; ++i) {
    accepted.push_back(std::make_shared<Sink>());
    ASSERT_TRUE(engine->Start(IdsRequest({1, 2}, 3), {accepted.back()}).ok());
    halted.wait();  // the first has its slot, the others wait
  }
  const auto refused = std::make_shared<Sink>();
  Request request = IdsRequest({1, 2}, 3);
  request.samples = 2;
  EXPECT_EQ(engine->Start(request, refused).status().code(), absl::StatusCode::kResourceExhausted);
  EXPECT_EQ(engine->Snapshot().schedule.waiting, 5U);
  EXPECT_EQ(engine->Snapshot().schedule.waiting_tokens, 10U);
  EXPECT_EQ(refused.use_count(), 1);
  request.samples = 7;
  EXPECT_EQ(engine->Start(request, refused).status().code(), absl::StatusCode::kInvalidArgument);
  go_on.count_down();
  for (const auto& sink : accepted) EXPECT_TRUE(sink->Wait().status.ok());
}

// What a client does whose stream broke.
TEST_P(EngineOverBackendsTest, ABrokenStreamIsContinuedExactly) {
  const auto engine = MakeSmallEngine();
  Request request = IdsRequest({5, 6, 7}, 60);
  request.sampling.set_seed(11);
  request.sampling.temperature = 1.5F;
  request.sampling.repetition_penalty = 1.3F;
  request.sampling.frequency_penalty = 0.4F;
  request.sampling.presence_penalty = 0.2F;
  const auto whole = std::make_shared<Sink>();
  ASSERT_TRUE(engine->Start(request, {whole}).ok());
  EXPECT_TRUE(whole->Wait().status.ok());
  const std::vector<uint32_t> tokens = whole->tokens();
  ASSERT_EQ(tokens.size(), 60U);
  for (const uint32_t received : {1U, 20U, 59U}) {
    Request rest = request;
    std::vector<uint32_t> prompt = {5, 6, 7};
    prompt.insert(prompt.end(), tokens.begin(), tokens.begin() + received);
    rest.prompt = prompt;
    rest.generated_prefix = received;
    rest.max_tokens = 60 - received;
    const auto sink = std::make_shared<Sink>();
    ASSERT_TRUE(engine->Start(rest, {sink}).ok());
    EXPECT_TRUE(sink->Wait().status.ok());
    EXPECT_EQ(sink->tokens(), std::vector<uint32_t>(tokens.begin() + received, tokens.end()));
  }
}

TEST(EngineTest, AnIdleEngineSleeps) {
  const auto engine = MakeSmallEngine();
  const auto sink = std::make_shared<Sink>();
  ASSERT_TRUE(engine->Start(IdsRequest({1, 2}, 4), {sink}).ok());
  EXPECT_TRUE(sink->Wait().status.ok());
  std::this_thread::sleep_for(
      std::chrono::milliseconds(100));       // until the last step's threads rest
  const std::clock_t before = std::clock();  // of all threads of this process
  std::this_thread::sleep_for(std::chrono::milliseconds(500));
  EXPECT_LT(std::clock() - before, CLOCKS_PER_SEC / 10);
}

TEST(EngineTest, SeedsOfSamples) {
  EXPECT_EQ(SampleSeed(42, 0), 42U);
  // What SplitMix64, started at 1234567, gives first and second.
  EXPECT_EQ(SampleSeed(1234567, 1), 6457827717110365317U);
  EXPECT_EQ(SampleSeed(1234567, 2), 3203168211198807973U);
}

TEST(EngineTest, RefusesWhatTheModelCannotDo) {
  const auto engine = MakeSmallEngine();
  const auto sink = std::make_shared<Sink>();
  const auto expect_error = [&](const Request& request, absl::StatusCode code, const char* words) {
    const auto id = engine->Start(request, {sink});
    EXPECT_EQ(id.status().code(), code) << id.status();
    EXPECT_TRUE(absl::StrContains(id.status().message(), words)) << id.status();
  };
  constexpr auto kInvalid = absl::StatusCode::kInvalidArgument;
  Request request = IdsRequest({1, 97}, 4);
  expect_error(request, kInvalid, "97");
  request = IdsRequest({}, 4);
  expect_error(request, kInvalid, "prompt");
  request = IdsRequest({1}, 4);
  request.prompt = "text";
  expect_error(request, kInvalid, "tokenizer");
  request = IdsRequest({1}, 4);
  request.max_recursions = 4;
  expect_error(request, kInvalid, "max_recursions is 4; expected at most 3");
  request = IdsRequest({1}, 4);
  request.stop_token_ids = {200};
  expect_error(request, kInvalid, "one of stop_token_ids is 200");
  request = IdsRequest({1}, 4);
  request.logit_bias[300] = 1.0F;
  expect_error(request, kInvalid, "token of logit_bias is 300");
  request = IdsRequest({1}, 4);  // no front end has looked at it
  request.sampling.top_p = 5.0F;
  expect_error(request, kInvalid, "top_p is 5; it must be greater than 0 and at most 1");
  expect_error(IdsRequest(std::vector<uint32_t>(250, 1), 20), kInvalid, "256");
  expect_error(IdsRequest(std::vector<uint32_t>(257, 1), 1), kInvalid, "256");
}

TEST(EngineTest, FullQueueIsResourceExhausted) {
  const auto engine = MakeSmallEngine();
  std::vector<std::shared_ptr<Sink>> sinks;
  absl::Status refused;
  for (int i = 0; i < 200 && refused.ok(); ++i) {
    sinks.push_back(std::make_shared<Sink>());
    refused = engine->Start(IdsRequest(std::vector<uint32_t>(64, 5), 150), {sinks.back()}).status();
  }
  EXPECT_EQ(refused.code(), absl::StatusCode::kResourceExhausted) << refused;
  sinks.pop_back();  // hears nothing
  for (const auto& sink : sinks) EXPECT_TRUE(sink->Wait().status.ok());
}

// Judges a request by its lengths, and counts starts.
class JudgingSink final : public RequestSink {
 public:
  explicit JudgingSink(uint32_t most_tokens) : most_tokens_(most_tokens) {}

  absl::Status OnPrepared(uint32_t prompt_tokens, uint32_t new_tokens) override {
    if (prompt_tokens + new_tokens <= most_tokens_) return absl::OkStatus();
    return absl::ResourceExhaustedError(absl::StrCat(prompt_tokens, " and ", new_tokens));
  }
  void OnStarted(uint32_t /*sample*/) override { ++starts_; }
  void OnPromptLogprobs(uint32_t, std::vector<PositionLogprobs>) override {}
  void OnTokens(uint32_t, std::span<const TokenEvent>, uint32_t) override {}
  void OnFinished(uint32_t, Finish) override { ended_.count_down(); }

  int WaitForStarts() {
    ended_.wait();
    return starts_;
  }

 private:
  const uint32_t most_tokens_;
  int starts_ = 0;
  std::latch ended_{2};
};

TEST(EngineTest, TheSinkIsAskedOnceLengthsAreKnownAndHearsOfStarts) {
  const auto engine = MakeSmallEngine();
  const auto sink = std::make_shared<JudgingSink>(10);
  Request request = IdsRequest({1, 2, 3}, 8);
  request.samples = 2;
  EXPECT_EQ(engine->Start(request, sink).status(), absl::ResourceExhaustedError("3 and 8"));
  EXPECT_EQ(engine->Snapshot().prompt_tokens, 0U);
  request.max_tokens = 7;
  ASSERT_TRUE(engine->Start(request, sink).ok());
  EXPECT_EQ(sink->WaitForStarts(), 2);
}

TEST_P(EngineOverBackendsTest, CancelDeadlineAndTimeLimitGiveEverythingBack) {
  std::latch go_on(1);
  const auto engine = MakeSmallEngine(HaltUntil(go_on));
  const auto cancelled = std::make_shared<Sink>();
  const auto id = engine->Start(IdsRequest({1, 2}, 200), {cancelled});
  ASSERT_TRUE(id.ok());
  cancelled->WaitForTokens(3);
  engine->Cancel(id->id);
  go_on.count_down();
  EXPECT_EQ(cancelled->Wait().status.code(), absl::StatusCode::kCancelled);
  engine->Cancel(id->id);  // ended: ignored

  Request late = IdsRequest({1, 2}, 200);
  late.deadline = std::chrono::steady_clock::now();
  const auto too_late = std::make_shared<Sink>();
  ASSERT_TRUE(engine->Start(late, {too_late}).ok());
  EXPECT_EQ(too_late->Wait().status.code(), absl::StatusCode::kDeadlineExceeded);

  Request limited = IdsRequest({1, 2}, 200);
  limited.time_limit = std::chrono::steady_clock::now();
  const auto ended = std::make_shared<Sink>();
  ASSERT_TRUE(engine->Start(limited, {ended}).ok());
  const Finish finish = ended->Wait();
  EXPECT_TRUE(finish.status.ok());
  EXPECT_EQ(finish.reason, EndReason::kTimeLimit);
  EXPECT_EQ(engine->Snapshot().schedule.pages_free, 256U);
  EXPECT_EQ(engine->Snapshot().schedule.running, 0U);
}

TEST(EngineTest, CreateNamesTheOption) {
  EngineOptions options;
  options.model.directory = "/nonexistent";
  EXPECT_TRUE(absl::StrContains(Engine::Create(options).status().message(), "/nonexistent"));
  options.model.backend = "cuda";
  EXPECT_TRUE(absl::StrContains(Engine::Create(options).status().message(), "--backend"));
  options.model.backend = "cpu";
  options.model.precision = "int4";
  EXPECT_TRUE(absl::StrContains(Engine::Create(options).status().message(), "--precision"));
  options.model.precision = "bf16";
  options.model.kv_precision = "fp8";
  EXPECT_EQ(Engine::Create(options).status(),
            absl::InvalidArgumentError(
                "--kv_precision is 'fp8'; this version has auto, f32, bf16 and int8"));
}

}  // namespace
}  // namespace recurve
