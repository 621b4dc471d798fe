// SPDX-License-Identifier: Apache-2.0
// The engine's facade, over a small random model: requests from several threads, ends of every
// kind, failure.
#include "engine/engine.h"

#include <atomic>
#include <condition_variable>
#include <functional>
#include <latch>
#include <memory>
#include <mutex>
#include <numeric>
#include <random>
#include <thread>
#include <vector>

#include "absl/strings/match.h"
#include "engine/assembly.h"
#include "engine/backend/cpu/cpu_backend.h"
#include "engine/backend/model_shape.h"
#include "engine/base/status_macros.h"
#include "gtest/gtest.h"
#include "tests/engine/small_models.h"

namespace recurve {
namespace {

class Sink final : public RequestSink {
 public:
  void OnPromptLogprobs(std::vector<PositionLogprobs> logprobs) override {
    const std::lock_guard<std::mutex> lock(mutex_);
    prompt_logprobs_ = logprobs.size();
  }
  void OnTokens(std::vector<TokenEvent> more, uint32_t) override {
    const std::lock_guard<std::mutex> lock(mutex_);
    for (const TokenEvent& token : more) {
      tokens_.push_back(token.id);
      if (token.logprobs) logprobs_.push_back(token.logprobs->logprob);
    }
    changed_.notify_all();
  }
  void OnFinished(Finish finish) override {
    const std::lock_guard<std::mutex> lock(mutex_);
    EXPECT_FALSE(finish_.has_value()) << "finished twice";
    finish_ = std::move(finish);
    changed_.notify_all();
  }
  Finish Wait() {
    std::unique_lock<std::mutex> lock(mutex_);
    changed_.wait(lock, [this] { return finish_.has_value(); });
    return *finish_;
  }
  void WaitForTokens(size_t count) {
    std::unique_lock<std::mutex> lock(mutex_);
    changed_.wait(lock, [&] { return tokens_.size() >= count || finish_.has_value(); });
  }
  std::vector<uint32_t> tokens() {
    const std::lock_guard<std::mutex> lock(mutex_);
    return tokens_;
  }
  std::vector<float> logprobs() {
    const std::lock_guard<std::mutex> lock(mutex_);
    return logprobs_;
  }
  size_t prompt_logprobs() {
    const std::lock_guard<std::mutex> lock(mutex_);
    return prompt_logprobs_;
  }

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  std::vector<uint32_t> tokens_;
  std::vector<float> logprobs_;  // of the tokens
  size_t prompt_logprobs_ = 0;
  std::optional<Finish> finish_;
};

// Called before each step, with its epoch, on the engine's thread: what Submit returns if not OK.
using BeforeStep = std::function<absl::Status(uint32_t epoch)>;

class HookedBackend final : public Backend {
 public:
  HookedBackend(std::unique_ptr<Backend> backend, BeforeStep before_step)
      : backend_(std::move(backend)), before_step_(std::move(before_step)) {}
  absl::Status Submit(const StepPlan& plan) override {
    RETURN_IF_ERROR(before_step_(plan.epoch));
    return backend_->Submit(plan);
  }
  absl::Status Collect(StepResult& result) override { return backend_->Collect(result); }
  uint32_t Outstanding() const override { return backend_->Outstanding(); }

 private:
  const std::unique_ptr<Backend> backend_;
  const BeforeStep before_step_;
};

absl::Status GoOn(uint32_t /*epoch*/) { return absl::OkStatus(); }

// Halts, until `go_on` is counted down, when some tokens have come and not a hundred.
BeforeStep HaltUntil(std::latch& go_on) {
  return [&go_on](uint32_t epoch) {
    if (epoch == 30) go_on.wait();
    return absl::OkStatus();
  };
}

// A running engine over the expert-choice model.
std::unique_ptr<Engine> MakeSmallEngine(BeforeStep before_step = GoOn, uint32_t queue_depth = 0) {
  const std::shared_ptr<const Model> model = SmallModels()[3].model;
  ScheduleOptions options;
  options.limits.slots = 4;
  options.limits.areas = 2;
  options.limits.chunk = 16;
  options.limits.ends = 4;
  options.limits.block_rows = 4;
  options.limits.prompt_rows = 32;
  options.limits.max_positions = model->config.max_positions;
  options.limits.pages = 256;
  options.entries_per_page = PageEntries(model->config);
  options.vocab_size = model->config.vocab_size;
  options.eos_ids = model->config.eos_token_ids;
  options.max_queued_requests = 6;
  options.max_queued_tokens = 512;
  Assembly assembly;
  assembly.config = model->config;
  CpuBackendOptions backend;
  backend.limits = options.limits;
  backend.precision = Precision::kF32;
  assembly.backend =
      std::make_unique<HookedBackend>(*CpuBackend::Create(model, backend), std::move(before_step));
  assembly.schedule = *Schedule::Create(options, ShapeOf(model->config), Clock::Steady());
  assembly.queue_depth = queue_depth;
  assembly.info.recursions = model->config.recursions();
  assembly.info.kv_pages = options.limits.pages;
  return MakeEngine(std::move(assembly));
}

Request IdsRequest(std::vector<uint32_t> ids, uint32_t max_tokens) {
  Request request;
  request.prompt = std::move(ids);
  request.max_tokens = max_tokens;
  request.ignore_eos = true;
  request.arrival = std::chrono::steady_clock::now();
  return request;
}

TEST(EngineTest, GeneratesAndCounts) {
  const auto engine = MakeSmallEngine();
  const auto sink = std::make_shared<Sink>();
  ASSERT_TRUE(engine->Start(IdsRequest({1, 2, 3, 4, 5}, 20), {sink}).ok());
  const Finish finish = sink->Wait();
  EXPECT_TRUE(finish.status.ok());
  EXPECT_EQ(finish.reason, FinishReason::kLength);
  EXPECT_EQ(finish.prompt_tokens, 5U);
  EXPECT_EQ(finish.generated_tokens, 20U);
  EXPECT_EQ(sink->tokens().size(), 20U);
  uint64_t by_depth = 0;
  for (const uint64_t count : finish.generated_depth.by_depth) by_depth += count;
  EXPECT_EQ(by_depth, 20U);
  EXPECT_GE(finish.generated_depth.Mean(), 1.0);
  const EngineSnapshot snapshot = engine->Snapshot();
  EXPECT_EQ(snapshot.prompt_tokens, 5U);
  EXPECT_EQ(snapshot.generated_tokens, 20U);
  EXPECT_EQ(snapshot.pages_free, 256U);
  EXPECT_GT(snapshot.steps, 20U);
  ASSERT_EQ(snapshot.groups.size(), 5U);
  EXPECT_EQ(snapshot.groups[0].name, "entry");
  EXPECT_EQ(snapshot.groups[4].name, "exit");
}

TEST(EngineTest, SameTokensAtEitherDepthOfTheStepQueue) {
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
TEST(EngineTest, SamplesShareThePromptAndEachIsWhatItsSeedGivesAlone) {
  for (const bool prompt_logprobs : {false, true}) {
    Request request = IdsRequest(std::vector<uint32_t>(70, 3), 12);
    request.prompt_logprobs = prompt_logprobs;
    request.cumulative_logprob = true;
    request.temperature = 1.0F;
    request.seed = 11;
    request.samples = 3;
    const auto engine = MakeSmallEngine();
    const std::vector<std::shared_ptr<Sink>> sinks = {
        std::make_shared<Sink>(), std::make_shared<Sink>(), std::make_shared<Sink>()};
    ASSERT_TRUE(engine->Start(request, {sinks.begin(), sinks.end()}).ok());
    for (const auto& sink : sinks) EXPECT_TRUE(sink->Wait().status.ok());
    const EngineSnapshot snapshot = engine->Snapshot();
    uint64_t prompt_rows = 0;
    for (const uint64_t rows : snapshot.prompt_depth.rows_by_depth) prompt_rows += rows;
    EXPECT_EQ(prompt_rows, 70U + 6U + 6U);  // all but the first 64 tokens, which are shared
    EXPECT_EQ(snapshot.prompt_tokens, 70U);
    EXPECT_EQ(snapshot.generated_tokens, 36U);
    EXPECT_NE(sinks[0]->tokens(), sinks[1]->tokens());
    EXPECT_NE(sinks[1]->tokens(), sinks[2]->tokens());
    const auto other = MakeSmallEngine();
    for (uint32_t sample = 0; sample < 3; ++sample) {
      Request single = IdsRequest(std::vector<uint32_t>(70, 3), 12);
      single.temperature = 1.0F;
      single.seed = SampleSeed(11, sample);
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
  EXPECT_EQ(engine->Start(request, {refused, refused}).status().code(),
            absl::StatusCode::kResourceExhausted);
  EXPECT_EQ(engine->Snapshot().requests_waiting, 5U);
  EXPECT_EQ(engine->Snapshot().waiting_tokens, 10U);
  EXPECT_EQ(refused.use_count(), 1);
  request.samples = 7;
  EXPECT_EQ(
      engine->Start(request, std::vector<std::shared_ptr<RequestSink>>(7, refused)).status().code(),
      absl::StatusCode::kInvalidArgument);
  go_on.count_down();
  for (const auto& sink : accepted) EXPECT_TRUE(sink->Wait().status.ok());
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

TEST(EngineTest, CancelDeadlineAndTimeLimitGiveEverythingBack) {
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
  EXPECT_EQ(finish.reason, FinishReason::kTimeLimit);
  EXPECT_EQ(engine->Snapshot().pages_free, 256U);
  EXPECT_EQ(engine->Snapshot().requests_running, 0U);
}

TEST(EngineTest, DrainEndsWhatIsLeftAndRefusesMore) {
  const auto engine = MakeSmallEngine();
  const auto sink = std::make_shared<Sink>();
  ASSERT_TRUE(engine->Start(IdsRequest({1, 2}, 250), {sink}).ok());
  sink->WaitForTokens(1);
  engine->Drain(std::chrono::steady_clock::now());
  const Finish finish = sink->Wait();
  EXPECT_TRUE(finish.status.ok());
  EXPECT_TRUE(finish.reason == FinishReason::kDrained || finish.generated_tokens == 250);
  EXPECT_TRUE(engine->Snapshot().draining);
  EXPECT_EQ(engine->Start(IdsRequest({1}, 1), {sink}).status().code(),
            absl::StatusCode::kUnavailable);
}

TEST(EngineTest, AFailedStepEndsEverything) {
  const auto engine = MakeSmallEngine([](uint32_t epoch) {
    return epoch < 10 ? absl::OkStatus() : absl::InternalError("the card fell off the bus");
  });
  std::vector<std::shared_ptr<Sink>> sinks;
  for (int i = 0; i < 6; ++i) {
    sinks.push_back(std::make_shared<Sink>());
    const auto id = engine->Start(IdsRequest({1, 2, 3}, 200), {sinks.back()});
    if (!id.ok()) {  // it had already failed
      EXPECT_EQ(id.status().code(), absl::StatusCode::kUnavailable);
      sinks.pop_back();
    }
  }
  for (const auto& sink : sinks) {
    EXPECT_EQ(sink->Wait().status.code(), absl::StatusCode::kUnavailable);
  }
  EXPECT_EQ(engine->WaitForFailure().code(), absl::StatusCode::kInternal);
  EXPECT_TRUE(engine->Snapshot().failed);
  const auto sink = std::make_shared<Sink>();
  EXPECT_EQ(engine->Start(IdsRequest({1}, 1), {sink}).status().code(),
            absl::StatusCode::kUnavailable);
}

TEST(EngineTest, DestructionCancelsWhatRuns) {
  std::latch go_on(1);
  const auto sink = std::make_shared<Sink>();
  auto engine = MakeSmallEngine(HaltUntil(go_on));
  ASSERT_TRUE(engine->Start(IdsRequest({1, 2, 3}, 250), {sink}).ok());
  std::thread destroyer([&engine] { engine.reset(); });
  EXPECT_EQ(sink->Wait().status.code(), absl::StatusCode::kCancelled);
  go_on.count_down();
  destroyer.join();
}

TEST(EngineTest, ManyThreadsStartAndCancel) {
  const auto engine = MakeSmallEngine();
  std::atomic<int> started = 0;
  std::vector<std::thread> threads;
  for (uint32_t t = 0; t < 4; ++t) {
    threads.emplace_back([&, t] {
      std::mt19937 random(t);
      for (int i = 0; i < 40; ++i) {
        const auto sink = std::make_shared<Sink>();
        const auto id = engine->Start(IdsRequest({t, 2, 3}, 1 + random() % 30), {sink});
        if (!id.ok()) {
          EXPECT_EQ(id.status().code(), absl::StatusCode::kResourceExhausted);
          continue;
        }
        ++started;
        if (random() % 2 == 0) engine->Cancel(id->id);
        const Finish finish = sink->Wait();
        EXPECT_TRUE(finish.status.ok() || absl::IsCancelled(finish.status));
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_GT(started, 40);
  const EngineSnapshot snapshot = engine->Snapshot();
  EXPECT_EQ(snapshot.pages_free, 256U);
  EXPECT_EQ(snapshot.requests_running + snapshot.requests_waiting, 0U);
}

TEST(EngineTest, CreateNamesTheOption) {
  EngineOptions options;
  options.model.directory = "/nonexistent";
  EXPECT_TRUE(absl::StrContains(Engine::Create(options).status().message(), "/nonexistent"));
  options.model.backend = "cuda";
  EXPECT_TRUE(absl::StrContains(Engine::Create(options).status().message(), "--backend"));
  options.model.backend = "cpu";
  options.model.precision = "int8";
  EXPECT_TRUE(absl::StrContains(Engine::Create(options).status().message(), "--precision"));
}

}  // namespace
}  // namespace recurve
