// SPDX-License-Identifier: Apache-2.0
#include "engine/engine.h"

#include <algorithm>
#include <atomic>
#include <condition_variable>
#include <mutex>
#include <thread>
#include <unordered_map>
#include <utility>

#include "absl/strings/str_cat.h"
#include "engine/api/validate_request.h"
#include "engine/assembly.h"
#include "engine/base/check.h"
#include "engine/base/status_macros.h"
#include "engine/prepare_request.h"
#include "engine/request_output.h"
#include "engine/step_statistics.h"
#include "engine/text_encoder.h"

namespace recurve {
namespace {

int64_t NowNanoseconds() {
  return std::chrono::steady_clock::now().time_since_epoch() / std::chrono::nanoseconds(1);
}

class EngineImpl final : public Engine {
 public:
  explicit EngineImpl(Assembly assembly)
      : config_(assembly.config),
        tokenizer_(std::move(assembly.tokenizer)),
        info_(std::move(assembly.info)),
        encoder_(tokenizer_.get(), info_.max_context),
        queue_depth_(assembly.queue_depth),
        backend_(std::move(assembly.backend)),
        schedule_(std::move(assembly.schedule)),
        loop_([this] { Run(); }) {}

  ~EngineImpl() override {
    {
      const std::lock_guard<std::mutex> lock(mutex_);
      stopping_ = true;
      schedule_->EndAll(EndReason::kCancelled, absl::OkStatus());
      changed_.notify_all();
    }
    loop_.join();
  }

  absl::StatusOr<Started> Start(Request request,
                                std::vector<std::shared_ptr<RequestSink>> sinks) override;
  void Cancel(RequestId id) override;
  void Drain(SteadyTime until) override;
  absl::Status WaitForFailure() override;
  void StopWaiting() override;
  EngineSnapshot Snapshot() const override;
  const EngineInfo& Info() const override { return info_; }
  absl::StatusOr<std::vector<uint32_t>> Tokenize(std::string_view text,
                                                 bool add_special_tokens) const override {
    return encoder_.Encode(text, add_special_tokens);
  }
  absl::StatusOr<std::string> Detokenize(const std::vector<uint32_t>& ids,
                                         bool skip_special_tokens) const override;
  std::string TokenText(uint32_t id) const override;

 private:
  void Run();
  absl::Status Loop();
  // Waits for work; the next plan, or null when there is none.
  const StepPlan* NextPlan();
  void Commit(const StepResult& result);
  absl::Status Accepting() const;  // with mutex_

  const ModelConfig config_;
  const std::unique_ptr<Tokenizer> tokenizer_;
  const EngineInfo info_;
  const TextEncoder encoder_;
  const uint32_t queue_depth_;
  const std::unique_ptr<Backend> backend_;  // the loop's alone

  // Start of the step that runs, in nanoseconds of the steady clock; 0: none does.
  std::atomic<int64_t> step_started_{0};

  // Guards what follows. Held while plans are made and results committed, never while a step runs.
  mutable std::mutex mutex_;
  std::condition_variable changed_;  // work came, work ended, stopping or failed
  const std::unique_ptr<Schedule> schedule_;
  std::unordered_map<RequestId, std::unique_ptr<RequestOutput>> outputs_;
  RequestId next_id_ = 1;
  StepStatistics statistics_;
  uint64_t prompt_tokens_ = 0;  // of requests that were accepted
  bool draining_ = false;
  bool stopping_ = false;
  absl::Status failure_;
  bool waiting_stopped_ = false;  // for a failure

  std::thread loop_;  // last: it uses all of the above
};

absl::Status EngineImpl::Accepting() const {
  if (!failure_.ok()) {
    return absl::UnavailableError(absl::StrCat("the engine has failed: ", failure_.message()));
  }
  if (draining_ || stopping_) return absl::UnavailableError("the engine is shutting down");
  return absl::OkStatus();
}

absl::StatusOr<Engine::Started> EngineImpl::Start(Request request,
                                                  std::vector<std::shared_ptr<RequestSink>> sinks) {
  RETURN_IF_ERROR(ValidateRequest(request));
  RECURVE_CHECK(sinks.size() == request.samples);
  {
    // A full queue refuses before the prompt is tokenized, which may cost more than all the rest.
    const std::lock_guard<std::mutex> lock(mutex_);
    RETURN_IF_ERROR(Accepting());
    RETURN_IF_ERROR(schedule_->CheckQueue(request.samples, 0));
  }
  ASSIGN_OR_RETURN(std::vector<ScheduledRequest> samples,
                   PrepareSamples(request, config_, info_.options.eviction, encoder_));
  const auto prompt_tokens = static_cast<uint32_t>(samples.front().prompt.size());

  const std::lock_guard<std::mutex> lock(mutex_);
  RETURN_IF_ERROR(Accepting());
  const RequestId first = next_id_;
  next_id_ += samples.size();
  std::vector<std::unique_ptr<RequestOutput>> outputs;
  for (size_t i = 0; i < samples.size(); ++i) {
    const RequestId id = first + i;
    request.prompt_logprobs = samples[i].prompt_logprobs;
    ASSIGN_OR_RETURN(std::unique_ptr<RequestOutput> output,
                     RequestOutput::Create(request, tokenizer_.get(), std::move(sinks[i]),
                                           [this, id] { outputs_.erase(id); }));
    samples[i].id = id;
    samples[i].observer = output.get();
    outputs.push_back(std::move(output));
  }
  RETURN_IF_ERROR(schedule_->AddAll(std::move(samples)));
  for (size_t i = 0; i < outputs.size(); ++i) outputs_[first + i] = std::move(outputs[i]);
  prompt_tokens_ += prompt_tokens;
  changed_.notify_all();
  return Started{first, prompt_tokens};
}

void EngineImpl::Cancel(RequestId id) {
  const std::lock_guard<std::mutex> lock(mutex_);
  schedule_->Cancel(id);
  changed_.notify_all();
}

void EngineImpl::Drain(SteadyTime until) {
  std::unique_lock<std::mutex> lock(mutex_);
  draining_ = true;
  changed_.wait_until(lock, until, [this] { return !schedule_->HasWork(); });
  schedule_->EndAll(EndReason::kDrained, absl::OkStatus());
}

absl::Status EngineImpl::WaitForFailure() {
  std::unique_lock<std::mutex> lock(mutex_);
  changed_.wait(lock, [this] { return waiting_stopped_ || !failure_.ok(); });
  return failure_;
}

void EngineImpl::StopWaiting() {
  const std::lock_guard<std::mutex> lock(mutex_);
  waiting_stopped_ = true;
  changed_.notify_all();
}

void EngineImpl::Run() {
  const absl::Status status = Loop();
  if (status.ok()) return;
  const std::lock_guard<std::mutex> lock(mutex_);
  failure_ = status;
  schedule_->EndAll(EndReason::kFailed, absl::UnavailableError(absl::StrCat(
                                            "the engine has failed: ", status.message())));
  changed_.notify_all();
}

absl::Status EngineImpl::Loop() {
  StepResult result;
  while (true) {
    const StepPlan* plan = NextPlan();
    if (plan != nullptr) {
      int64_t idle = 0;
      step_started_.compare_exchange_strong(idle, NowNanoseconds());
      RETURN_IF_ERROR(backend_->Submit(*plan));
    } else if (backend_->Outstanding() == 0) {
      return absl::OkStatus();
    }
    if (backend_->Outstanding() > (plan != nullptr ? queue_depth_ : 0)) {
      RETURN_IF_ERROR(backend_->Collect(result));
      Commit(result);
      step_started_ = backend_->Outstanding() > 0 ? NowNanoseconds() : 0;
    }
  }
}

const StepPlan* EngineImpl::NextPlan() {
  std::unique_lock<std::mutex> lock(mutex_);
  if (backend_->Outstanding() == 0) {
    changed_.wait(lock, [this] { return stopping_ || schedule_->HasWork(); });
  }
  return schedule_->HasWork() ? &schedule_->Plan() : nullptr;
}

void EngineImpl::Commit(const StepResult& result) {
  const std::lock_guard<std::mutex> lock(mutex_);
  statistics_.Add(result);
  schedule_->Commit(result);
  if (!schedule_->HasWork()) changed_.notify_all();  // Drain waits for it
}

EngineSnapshot EngineImpl::Snapshot() const {
  EngineSnapshot snapshot;
  const int64_t started = step_started_;
  if (started != 0) {
    snapshot.step_age = std::chrono::nanoseconds(std::max<int64_t>(0, NowNanoseconds() - started));
  }
  snapshot.encoded_bytes = encoder_.encoded_bytes();
  const std::lock_guard<std::mutex> lock(mutex_);
  snapshot.schedule = schedule_->counters();
  snapshot.steps = statistics_.totals();
  snapshot.failed = !failure_.ok();
  snapshot.draining = draining_;
  snapshot.prompt_tokens = prompt_tokens_;
  return snapshot;
}

absl::StatusOr<std::string> EngineImpl::Detokenize(const std::vector<uint32_t>& ids,
                                                   bool skip_special_tokens) const {
  if (tokenizer_ == nullptr) {
    return absl::InvalidArgumentError("this model directory has no tokenizer.json");
  }
  for (const uint32_t id : ids) {
    if (id >= config_.vocab_size) {
      return absl::InvalidArgumentError(absl::StrCat(
          "ids holds ", id, "; the model's vocabulary has ", config_.vocab_size, " tokens"));
    }
  }
  return tokenizer_->Decode(std::vector<int32_t>(ids.begin(), ids.end()), skip_special_tokens);
}

std::string EngineImpl::TokenText(uint32_t id) const {
  if (tokenizer_ == nullptr || id >= config_.vocab_size) return "";
  const int32_t ids[] = {static_cast<int32_t>(id)};
  return tokenizer_->Decode(ids, /*skip_special_tokens=*/false);
}

}  // namespace

std::unique_ptr<Engine> MakeEngine(Assembly assembly) {
  return std::make_unique<EngineImpl>(std::move(assembly));
}

absl::StatusOr<std::unique_ptr<Engine>> Engine::Create(const EngineOptions& options) {
  ASSIGN_OR_RETURN(Assembly assembly, Assemble(options));
  return MakeEngine(std::move(assembly));
}

}  // namespace recurve
