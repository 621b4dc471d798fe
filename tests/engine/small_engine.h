// SPDX-License-Identifier: Apache-2.0
// A running engine over a small random model, and what listens to its requests.
#ifndef RECURVE_TESTS_ENGINE_SMALL_ENGINE_H_
#define RECURVE_TESTS_ENGINE_SMALL_ENGINE_H_

#include <chrono>
#include <condition_variable>
#include <functional>
#include <latch>
#include <memory>
#include <mutex>
#include <optional>
#include <utility>
#include <vector>

#include "engine/assembly.h"
#include "engine/backend/factory/make_backend.h"
#include "engine/backend/model_shape.h"
#include "engine/base/status_macros.h"
#include "gtest/gtest.h"
#include "tests/engine/small_models.h"

namespace recurve {

// Of one sample, whichever. Hearing of the first `tokens` tokens allocates nothing.
class Sink final : public RequestSink {
 public:
  explicit Sink(size_t tokens = 0) {
    tokens_.reserve(tokens);
    logprobs_.reserve(tokens);
  }
  void OnPromptLogprobs(uint32_t, std::vector<PositionLogprobs> logprobs) override {
    const std::lock_guard<std::mutex> lock(mutex_);
    prompt_logprobs_ = logprobs.size();
  }
  void OnTokens(uint32_t, std::span<const TokenEvent> more, uint32_t) override {
    const std::lock_guard<std::mutex> lock(mutex_);
    for (const TokenEvent& token : more) {
      tokens_.push_back(token.id);
      if (token.logprobs) logprobs_.push_back(token.logprobs->logprob);
    }
    changed_.notify_all();
  }
  void OnFinished(uint32_t, Finish finish) override {
    const std::lock_guard<std::mutex> lock(mutex_);
    EXPECT_FALSE(finish_.has_value()) << "finished twice";
    finish_ = std::move(finish);
    changed_.notify_all();
  }
  // No copy, which would allocate while the engine still runs others. Nothing changes it any more.
  const Finish& Wait() {
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
  bool finished() {
    const std::lock_guard<std::mutex> lock(mutex_);
    return finish_.has_value();
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

// Of several samples, each with a sink of its own.
class SampleSinks final : public RequestSink {
 public:
  explicit SampleSinks(std::vector<std::shared_ptr<Sink>> sinks) : sinks_(std::move(sinks)) {}

  void OnPromptLogprobs(uint32_t sample, std::vector<PositionLogprobs> logprobs) override {
    sinks_[sample]->OnPromptLogprobs(sample, std::move(logprobs));
  }
  void OnTokens(uint32_t sample, std::span<const TokenEvent> more, uint32_t generated) override {
    sinks_[sample]->OnTokens(sample, more, generated);
  }
  void OnFinished(uint32_t sample, Finish finish) override {
    sinks_[sample]->OnFinished(sample, std::move(finish));
  }

 private:
  const std::vector<std::shared_ptr<Sink>> sinks_;
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

inline absl::Status GoOn(uint32_t /*epoch*/) { return absl::OkStatus(); }

// Halts, until `go_on` is counted down, when some tokens have come and not a hundred.
inline BeforeStep HaltUntil(std::latch& go_on) {
  return [&go_on](uint32_t epoch) {
    if (epoch == 30) go_on.wait();
    return absl::OkStatus();
  };
}

// A running engine over the expert-choice model.
inline Assembly SmallAssembly(BeforeStep before_step, uint32_t queue_depth,
                              uint32_t max_queued_requests = 6,
                              const BackendMaker& make_backend = &MakeBackend) {
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
  options.max_queued_requests = max_queued_requests;
  options.max_queued_tokens = 512;
  Assembly assembly;
  assembly.config = model->config;
  BackendOptions backend;
  backend.precision = Precision::kF32;
  backend.threads = 1;
  assembly.backend = std::make_unique<HookedBackend>(*make_backend(model, backend, options.limits),
                                                     std::move(before_step));
  assembly.schedule = *Schedule::Create(options, ShapeOf(model->config), Clock::Steady());
  assembly.queue_depth = queue_depth;
  assembly.info.recursions = model->config.recursions();
  assembly.info.kv_pages = options.limits.pages;
  return assembly;
}

inline std::unique_ptr<Engine> MakeSmallEngine(BeforeStep before_step = GoOn,
                                               uint32_t queue_depth = 0,
                                               const BackendMaker& make_backend = &MakeBackend) {
  return MakeEngine(SmallAssembly(std::move(before_step), queue_depth,
                                  /*max_queued_requests=*/6, make_backend));
}

inline Request IdsRequest(std::vector<uint32_t> ids, uint32_t max_tokens) {
  Request request;
  request.prompt = std::move(ids);
  request.max_tokens = max_tokens;
  request.ignore_eos = true;
  request.arrival = std::chrono::steady_clock::now();
  return request;
}

}  // namespace recurve

#endif  // RECURVE_TESTS_ENGINE_SMALL_ENGINE_H_
