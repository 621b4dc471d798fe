// SPDX-License-Identifier: Apache-2.0
// What the engine allocates once it has run for a while: the backend nothing, whatever the step;
// the rest of the loop nothing in steps that only generate, and little for what begins and ends
// requests. The load is run three times over the bundled model; the last time counts. (While a
// sequence has a slot but waits for pages, each plan looks its prefix up, which allocates: not
// here.)
#include "tests/engine/allocations.h"

#include <functional>
#include <latch>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "engine/assembly.h"
#include "engine/base/status_macros.h"
#include "gtest/gtest.h"

namespace recurve {
namespace {

constexpr int kRounds = 3;
// What one sample may allocate on the loop's thread from its arrival to its end, a preemption
// included: its sequence and place in queues and tables, its pieces of the prefix cache. Beside it
// the log probabilities of its prompt, a list for each token.
constexpr uint64_t kMostOfSample = 48;

// What a round allocated on the loop's thread.
struct Counts {
  uint64_t backend = 0;  // in Submit and Collect, the backend's other threads included
  uint64_t steady = 0;   // between steps that only generate
  uint64_t others = 0;   // between other steps
  uint32_t steady_gaps = 0;
  // What the round had in it.
  uint32_t evictions = 0, copies = 0, chunks = 0;
};

// Counts around each call of the backend. Calls `before_step` before each step, which does not
// count, and says whether requests have come meanwhile.
class CountingBackend final : public Backend {
 public:
  CountingBackend(std::unique_ptr<Backend> backend, Counts& counts,
                  std::function<bool()> before_step)
      : backend_(std::move(backend)), counts_(counts), before_step_(std::move(before_step)) {}

  absl::Status Submit(const StepPlan& plan) override {
    EndGap(plan);
    requests_came_ = before_step_();
    counts_.evictions += static_cast<uint32_t>(plan.evicts.size());
    counts_.copies += static_cast<uint32_t>(plan.copies.size());
    const uint64_t before = AllocationsOfAllThreads();
    const absl::Status status = backend_->Submit(plan);
    counts_.backend += AllocationsOfAllThreads() - before;
    return status;
  }

  absl::Status Collect(StepResult& result) override {
    const uint64_t before = AllocationsOfAllThreads();
    RETURN_IF_ERROR(backend_->Collect(result));
    counts_.backend += AllocationsOfAllThreads() - before;
    size_t exits = 0;
    for (const Outcome& outcome : result.outcomes) {
      exits += (outcome.ran & kRanExit) != 0 ? 1 : 0;
    }
    generates_ = result.depths.size() == exits;  // no span of several rows has ended
    counts_.chunks += generates_ ? 0 : 1;
    gap_begin_ = AllocationsOfThisThread();
    return absl::OkStatus();
  }

  uint32_t Outstanding() const override { return backend_->Outstanding(); }

 private:
  // From a step's result to the next plan: Commit, sinks, Plan.
  void EndGap(const StepPlan& plan) {
    const uint64_t allocations = AllocationsOfThisThread() - gap_begin_;
    if (generates_ && !requests_came_ && plan.admits.empty() && plan.drops.empty()) {
      counts_.steady += allocations;
      ++counts_.steady_gaps;
    } else {
      counts_.others += allocations;
    }
  }

  const std::unique_ptr<Backend> backend_;
  Counts& counts_;
  const std::function<bool()> before_step_;
  bool generates_ = false;
  bool requests_came_ = false;
  uint64_t gap_begin_ = 0;
};

// Hears everything and keeps nothing.
class DeafSink final : public RequestSink {
 public:
  explicit DeafSink(uint32_t samples) : ended_(samples) {}
  void OnPromptLogprobs(uint32_t, std::vector<PositionLogprobs>) override {}
  void OnTokens(uint32_t, std::span<const TokenEvent> tokens, uint32_t) override {
    tokens_ += tokens.size();
  }
  void OnFinished(uint32_t, Finish finish) override {
    EXPECT_TRUE(finish.status.ok()) << finish.status;
    preemptions_ += finish.preemptions;
    cached_tokens_ += finish.cached_tokens;
    ended_.count_down();
  }
  void Wait() { ended_.wait(); }
  uint32_t preemptions() const { return preemptions_; }
  uint32_t cached_tokens() const { return cached_tokens_; }

 private:
  std::latch ended_;
  uint64_t tokens_ = 0;
  uint32_t preemptions_ = 0, cached_tokens_ = 0;
};

Request LongRequest(uint32_t first_id, uint32_t prompt_tokens, uint32_t max_tokens) {
  Request request;
  std::vector<TokenId> ids;
  for (uint32_t i = 0; i < prompt_tokens; ++i) ids.push_back((first_id + i * 37) % 4096);
  request.prompt = std::move(ids);
  request.max_tokens = max_tokens;
  request.ignore_eos = true;
  return request;
}

constexpr uint32_t kToldTokens = 70;  // of the prompt whose log probabilities are told

// Everything that a request may ask of a step.
std::vector<Request> Requests() {
  std::vector<Request> requests;
  requests.push_back(LongRequest(1, 40, 100));
  Request& chosen = requests.emplace_back(LongRequest(2, 150, 100));
  chosen.sampling.temperature = 0.9F;
  chosen.sampling.top_p = 0.9F;
  chosen.sampling.top_k = 50;
  chosen.sampling.min_p = 0.01F;
  chosen.sampling.frequency_penalty = 0.3F;
  chosen.sampling.repetition_penalty = 1.1F;
  chosen.sampling.set_seed(4);
  chosen.logit_bias = {{5, 1.0F}, {6, -1.0F}};
  chosen.stop_token_ids = {4095};
  Request& told = requests.emplace_back(LongRequest(3, kToldTokens, 40));
  told.top_logprobs = 5;
  told.prompt_logprobs = true;
  told.prompt_depths = true;
  told.stop_strings = {"a string that is never there", "another one"};
  requests.push_back(LongRequest(2, 150, 60));  // begins as the one before
  Request& several = requests.emplace_back(LongRequest(5, 70, 40));
  several.samples = 3;
  several.sampling.temperature = 1.0F;
  several.sampling.set_seed(5);
  for (const char* policy : {"window", "attention", "router"}) {
    Request& forgets = requests.emplace_back(LongRequest(5, 130, 80));
    forgets.kv_eviction = policy;
    forgets.kv_budget = "entry:64,1:64,2:48,3:48,exit:64";
    forgets.kv_recent = 16;
  }
  requests.push_back(LongRequest(8, 200, 150));
  requests.push_back(LongRequest(9, 200, 150));
  return requests;
}

class AllocationTest : public testing::TestWithParam<std::string> {
 protected:
  void SetUp() override {
    EngineOptions options;
    options.model.directory = RECURVE_SOURCE_DIR "/models/demo";
    options.model.precision = GetParam();
    options.model.threads = 1;
    options.schedule.slots = 4;
    options.schedule.areas = 2;
    options.schedule.chunk = 32;
    options.memory.max_context = 512;
    options.eviction.every = 32;
    auto assembly = Assemble(options);
    ASSERT_TRUE(assembly.ok()) << assembly.status();
    assembly->backend = std::make_unique<CountingBackend>(std::move(assembly->backend), counts_,
                                                          [this] { return BeforeStep(); });
    engine_ = MakeEngine(*std::move(assembly));
  }

  void RunRound() {
    std::latch all_came(1);
    all_came_ = &all_came;
    steps_ = 0;
    counts_ = {};
    sinks_.clear();
    for (Request& request : Requests()) Start(std::move(request));
    sinks_.push_back(std::make_shared<DeafSink>(1));  // of the one that comes later
    all_came.count_down();
    for (const auto& sink : sinks_) sink->Wait();
  }

  void Start(Request request) {
    sinks_.push_back(std::make_shared<DeafSink>(request.samples));
    const auto started = engine_->Start(std::move(request), sinks_.back());
    ASSERT_TRUE(started.ok()) << started.status();
  }

  // On the loop's thread. A round begins when all its requests have come, but for one, which comes
  // when all slots are taken and goes before the others.
  bool BeforeStep() {
    if (++steps_ == 1) all_came_->wait();
    if (steps_ != 100) return steps_ == 1;
    Request urgent = LongRequest(7, 30, 50);
    urgent.priority = Priority::kHigh;
    EXPECT_TRUE(engine_->Start(std::move(urgent), sinks_.back()).ok());
    return true;
  }

  Counts counts_;
  std::latch* all_came_ = nullptr;
  uint32_t steps_ = 0;  // of the round
  std::vector<std::shared_ptr<DeafSink>> sinks_;
  std::unique_ptr<Engine> engine_;
};

TEST_P(AllocationTest, ASteadyEngineAllocatesNothing) {
  for (int round = 0; round < kRounds; ++round) RunRound();
  EXPECT_EQ(counts_.backend, 0U);
  EXPECT_EQ(counts_.steady, 0U);
  uint32_t samples = 1, preemptions = 0, cached_tokens = 0;
  for (const Request& request : Requests()) samples += request.samples;
  for (const auto& sink : sinks_) {
    preemptions += sink->preemptions();
    cached_tokens += sink->cached_tokens();
  }
  EXPECT_LE(counts_.others, samples * kMostOfSample + kToldTokens);
  // All that the round was to have.
  EXPECT_GT(counts_.steady_gaps, 300U);
  EXPECT_GT(counts_.chunks, 20U);
  EXPECT_GT(counts_.evictions, 20U);
  EXPECT_GT(counts_.copies, 0U);
  EXPECT_GT(preemptions, 0U);
  EXPECT_GT(cached_tokens, 100U);
}

INSTANTIATE_TEST_SUITE_P(Precisions, AllocationTest, testing::Values("bf16", "f32"),
                         [](const auto& precision) { return precision.param; });

}  // namespace
}  // namespace recurve
