// SPDX-License-Identifier: Apache-2.0
// What the engine allocates once it has run for a while: the backend nothing, whatever the step;
// the rest of the loop nothing in steps that only generate, and little for what begins and ends
// requests. Each load is run three times over the bundled model; the last time counts.
#include "tests/engine/allocations.h"

#include <algorithm>
#include <functional>
#include <latch>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "engine/assembly.h"
#include "engine/base/status_macros.h"
#include "gtest/gtest.h"
#include "tests/engine/small_engine.h"

namespace recurve {
namespace {

constexpr int kRounds = 3;
constexpr uint32_t kSlots = 4;
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
  size_t most_evictions = 0;  // of a plan
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
    counts_.most_evictions = std::max(counts_.most_evictions, plan.evicts.size());
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

// One for each slot that makes it take memory for the attention which entries get: the first such
// sequence of a slot does, and in which slot a request runs is chance.
std::vector<Request> RequestsThatForgetInEachSlot() {
  std::vector<Request> requests;
  for (uint32_t i = 0; i < kSlots; ++i) {
    Request& request = requests.emplace_back(LongRequest(20 + i, 40, 100));
    request.kv_eviction = "attention";
    request.kv_budget = "1:32";
    request.kv_recent = 16;
  }
  return requests;
}

// Which forget in several groups in one step.
std::vector<Request> RequestsThatForgetEverywhere() {
  std::vector<Request> requests = RequestsThatForgetInEachSlot();
  for (Request& request : requests) request.kv_budget = "entry:32,1:32,2:24,3:24,exit:32";
  return requests;
}

// A prompt that begins as all of these do.
std::vector<Request> RequestsThatBeginAlike() {
  std::vector<Request> requests;
  for (uint32_t i = 0; i < 4; ++i) {
    Request& request = requests.emplace_back(LongRequest(11, 300, 80));
    std::vector<TokenId>& ids = std::get<std::vector<TokenId>>(request.prompt);
    for (size_t place = 128; place < ids.size(); ++place) ids[place] = (ids[place] + i) % 4096;
  }
  return requests;
}

struct Precisions {
  std::string of_weights, of_keys;
};

class AllocationTest : public testing::TestWithParam<Precisions> {
 protected:
  // 0 pages: those that all slots need.
  void MakeEngine(uint32_t pages) {
    EngineOptions options;
    options.model.directory = RECURVE_SOURCE_DIR "/models/demo";
    options.model.precision = GetParam().of_weights;
    options.model.kv_precision = GetParam().of_keys;
    options.model.threads = 1;
    options.schedule.slots = kSlots;
    options.schedule.areas = 2;
    options.schedule.chunk = 32;
    options.memory.max_context = 512;
    options.memory.kv_pages = pages;
    options.eviction.every = 32;
    auto assembly = Assemble(options);
    ASSERT_TRUE(assembly.ok()) << assembly.status();
    assembly->backend = std::make_unique<CountingBackend>(std::move(assembly->backend), counts_,
                                                          [this] { return BeforeStep(); });
    engine_ = recurve::MakeEngine(*std::move(assembly));
  }

  // With `urgent` one more request comes when all slots are taken, and goes before the others.
  void RunRound(std::vector<Request> requests, bool urgent) {
    std::latch all_came(1);
    all_came_ = &all_came;
    urgent_ = nullptr;
    steps_ = 0;
    waiting_steps_ = 0;
    counts_ = {};
    sinks_.clear();
    for (Request& request : requests) Start(std::move(request));
    if (urgent) urgent_ = sinks_.emplace_back(std::make_shared<Sink>(kMostTokens));
    all_came.count_down();
    for (const auto& sink : sinks_) sink->Wait();
  }

  void Start(Request request) {
    std::vector<std::shared_ptr<Sink>> sinks;
    for (uint32_t i = 0; i < request.samples; ++i) {
      sinks_.push_back(sinks.emplace_back(std::make_shared<Sink>(kMostTokens)));
    }
    const auto started = engine_->Start(std::move(request), std::make_shared<SampleSinks>(sinks));
    ASSERT_TRUE(started.ok()) << started.status();
  }

  // On the loop's thread. A round begins when all its requests have come.
  bool BeforeStep() {
    if (++steps_ == 1) all_came_->wait();
    const ScheduleCounters counters = engine_->Snapshot().schedule;
    if (counters.waiting > 0 && counters.running < kSlots) ++waiting_steps_;
    if (steps_ != 100 || urgent_ == nullptr) return steps_ == 1;
    Request urgent = LongRequest(7, 30, 50);
    urgent.priority = Priority::kHigh;
    EXPECT_TRUE(engine_->Start(std::move(urgent), urgent_).ok());
    return true;
  }

  static constexpr size_t kMostTokens = 150;  // of a sample
  Counts counts_;
  std::latch* all_came_ = nullptr;
  // Of the round.
  uint32_t steps_ = 0, waiting_steps_ = 0;
  std::vector<std::shared_ptr<Sink>> sinks_;
  std::shared_ptr<Sink> urgent_;
  std::unique_ptr<Engine> engine_;
};

TEST_P(AllocationTest, ASteadyEngineAllocatesNothing) {
  MakeEngine(0);
  RunRound(RequestsThatForgetInEachSlot(), /*urgent=*/false);
  for (int round = 0; round < kRounds; ++round) RunRound(Requests(), /*urgent=*/true);
  EXPECT_EQ(counts_.backend, 0U);
  EXPECT_EQ(counts_.steady, 0U);
  uint32_t preemptions = 0, cached_tokens = 0;
  for (const auto& sink : sinks_) {
    const Finish& finish = sink->Wait();
    EXPECT_TRUE(finish.status.ok()) << finish.status;
    preemptions += finish.preemptions;
    cached_tokens += finish.cached_tokens;
  }
  EXPECT_LE(counts_.others, sinks_.size() * kMostOfSample + kToldTokens);
  // All that the round was to have.
  EXPECT_GT(counts_.steady_gaps, 300U);
  EXPECT_GT(counts_.chunks, 20U);
  EXPECT_GT(counts_.evictions, 20U);
  EXPECT_GT(counts_.copies, 0U);
  EXPECT_GT(preemptions, 0U);
  EXPECT_GT(cached_tokens, 100U);
}

// What comes together in a plan, or ends with a step, is chance: it may be more than ever before.
TEST_P(AllocationTest, MoreAtOnceThanEverBeforeAllocatesNothing) {
  MakeEngine(0);
  RunRound(RequestsThatForgetInEachSlot(), /*urgent=*/false);
  EXPECT_EQ(counts_.steady, 0U);
  const size_t most_evictions = counts_.most_evictions;
  RunRound(RequestsThatForgetEverywhere(), /*urgent=*/false);
  EXPECT_EQ(counts_.steady, 0U);
  EXPECT_GT(counts_.most_evictions, most_evictions);
}

// While a request has a slot to go to but waits for pages, each plan looks up what is cached of it.
TEST_P(AllocationTest, WaitingForPagesAllocatesNothing) {
  MakeEngine(0);
  const uint32_t of_one = engine_->Info().kv_pages / kSlots;
  MakeEngine(of_one * 7 / 5);
  for (int round = 0; round < kRounds; ++round) RunRound(RequestsThatBeginAlike(), false);
  EXPECT_EQ(counts_.backend, 0U);
  EXPECT_EQ(counts_.steady, 0U);
  uint32_t cached_tokens = 0;
  for (const auto& sink : sinks_) cached_tokens += sink->Wait().cached_tokens;
  EXPECT_GT(counts_.steady_gaps, 100U);
  EXPECT_GT(waiting_steps_, 100U);
  EXPECT_GT(cached_tokens, 128U);
}

INSTANTIATE_TEST_SUITE_P(Precisions, AllocationTest,
                         testing::Values(Precisions{"bf16", "auto"}, Precisions{"f32", "auto"},
                                         Precisions{"bf16", "int8"}, Precisions{"int8", "auto"}),
                         [](const auto& param) {
                           return param.param.of_weights + "_" + param.param.of_keys;
                         });

}  // namespace
}  // namespace recurve
