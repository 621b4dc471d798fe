// SPDX-License-Identifier: Apache-2.0
#include "engine/engine.h"

#include <algorithm>
#include <thread>
#include <utility>

#include "absl/strings/str_cat.h"
#include "engine/api/validate_request.h"
#include "engine/assembly.h"
#include "engine/base/status_macros.h"
#include "engine/engine_loop.h"
#include "engine/inbox.h"
#include "engine/prepare_samples.h"
#include "engine/sample_output.h"
#include "engine/step_watch.h"
#include "engine/text_encoder.h"

namespace recurve {
namespace {

class EngineImpl final : public Engine {
 public:
  explicit EngineImpl(Assembly assembly)
      : config_(assembly.config),
        limits_(assembly.schedule->options()),
        shape_(assembly.schedule->shape()),
        tokenizer_(std::move(assembly.tokenizer)),
        info_(std::move(assembly.info)),
        encoder_(tokenizer_.get(), info_.max_context),
        clock_(assembly.clock),
        inbox_(limits_.most_queued()),
        watch_(assembly.step_timeout),
        loop_(std::move(assembly.backend), std::move(assembly.schedule), assembly.queue_depth,
              clock_, &inbox_, &watch_),
        loop_thread_([this] { loop_.Run(); }),
        watch_thread_([this] { Watch(); }) {}

  ~EngineImpl() override {
    inbox_.Close();
    inbox_.EndAll(EndReason::kCancelled);
    inbox_.Stop();
    watch_thread_.join();
    loop_thread_.join();
  }

  absl::StatusOr<Accepted> Start(Request request, std::shared_ptr<RequestSink> sink) override;
  void Cancel(SampleId id) override { inbox_.Cancel(id); }
  void Drain(SteadyTime until) override;
  absl::Status WaitForFailure() override { return inbox_.WaitForFailure(); }
  void StopWaiting() override { inbox_.StopWaiting(); }
  EngineSnapshot Snapshot() const override;
  const EngineInfo& Info() const override { return info_; }
  absl::StatusOr<std::vector<TokenId>> Tokenize(std::string_view text,
                                                bool add_special_tokens) const override {
    return encoder_.Encode(text, add_special_tokens);
  }
  absl::StatusOr<std::string> Detokenize(const std::vector<TokenId>& ids,
                                         bool skip_special_tokens) const override;
  std::string TokenText(TokenId id) const override;

 private:
  void Watch();

  const ModelConfig config_;
  const ScheduleOptions limits_;  // what requests are checked against
  const StepShape shape_;
  const std::unique_ptr<Tokenizer> tokenizer_;
  const EngineInfo info_;
  const TextEncoder encoder_;
  const Clock* const clock_;
  Inbox inbox_;
  StepWatch watch_;
  EngineLoop loop_;

  std::thread loop_thread_, watch_thread_;  // last: they use all of the above
};

absl::StatusOr<Engine::Accepted> EngineImpl::Start(Request request,
                                                   std::shared_ptr<RequestSink> sink) {
  RETURN_IF_ERROR(ValidateRequest(request));
  // A full queue refuses before the prompt is tokenized, which may cost more than all the rest.
  RETURN_IF_ERROR(inbox_.CheckOpen(request.samples));
  Arrival arrival;
  ASSIGN_OR_RETURN(arrival.samples,
                   PrepareSamples(request, config_, info_.options.eviction, encoder_));
  const auto prompt_tokens = static_cast<uint32_t>(arrival.samples.front().prompt.size());
  for (uint32_t sample = 0; sample < request.samples; ++sample) {
    RETURN_IF_ERROR(CheckCanRun(arrival.samples[sample], limits_, shape_));
    ASSIGN_OR_RETURN(std::unique_ptr<SampleOutput> output,
                     SampleOutput::Create(request, sample, tokenizer_.get(), sink));
    arrival.outputs.push_back(std::move(output));
  }
  RETURN_IF_ERROR(sink->OnPrepared(prompt_tokens, NewTokens(arrival.samples.front(), limits_)));
  arrival.queued = clock_->Now();
  ASSIGN_OR_RETURN(const SampleId first, inbox_.Add(std::move(arrival)));
  return Accepted{first, prompt_tokens};
}

void EngineImpl::Drain(SteadyTime until) {
  inbox_.Close();
  if (inbox_.WaitUntilAllEnded(until)) return;
  inbox_.EndAll(EndReason::kDrained);
  inbox_.WaitUntilAllEnded(SteadyTime::max());
}

// Looks, by the machine's own time, so often that a step is noticed an eighth of the timeout late,
// or a second; what is too late is said by the engine's clock.
void EngineImpl::Watch() {
  const auto every = std::clamp<std::chrono::nanoseconds>(
      watch_.timeout() / 8, std::chrono::milliseconds(1), std::chrono::seconds(1));
  while (!inbox_.WaitForStop(every)) {
    if (!watch_.Expire(clock_->Now())) continue;
    const auto timeout =
        std::chrono::duration_cast<std::chrono::milliseconds>(watch_.timeout()).count();
    inbox_.Fail(absl::DeadlineExceededError(
        absl::StrCat("a step has not come back within --step_timeout=", timeout, "ms")));
    return;
  }
}

EngineSnapshot EngineImpl::Snapshot() const {
  EngineSnapshot snapshot;
  loop_.Describe(&snapshot);
  const Inbox::State state = inbox_.state();
  snapshot.schedule.waiting = state.waiting.samples;
  snapshot.schedule.waiting_tokens = state.waiting.tokens;
  snapshot.failed = state.failed;
  snapshot.stuck = watch_.expired();
  snapshot.draining = state.closed;
  snapshot.prompt_tokens = state.prompt_tokens;
  snapshot.step_age = watch_.Age(clock_->Now());
  snapshot.encoded_bytes = encoder_.encoded_bytes();
  return snapshot;
}

absl::StatusOr<std::string> EngineImpl::Detokenize(const std::vector<TokenId>& ids,
                                                   bool skip_special_tokens) const {
  if (tokenizer_ == nullptr) {
    return absl::InvalidArgumentError("this model directory has no tokenizer.json");
  }
  for (const TokenId id : ids) {
    if (id >= config_.vocab_size) {
      return absl::InvalidArgumentError(absl::StrCat(
          "ids holds ", id, "; the model's vocabulary has ", config_.vocab_size, " tokens"));
    }
  }
  return tokenizer_->Decode(ids, skip_special_tokens);
}

std::string EngineImpl::TokenText(TokenId id) const {
  if (tokenizer_ == nullptr || id >= config_.vocab_size) return "";
  return tokenizer_->Decode({&id, 1}, /*skip_special_tokens=*/false);
}

}  // namespace

std::unique_ptr<Engine> MakeEngine(Assembly assembly) {
  return std::make_unique<EngineImpl>(std::move(assembly));
}

absl::StatusOr<std::unique_ptr<Engine>> Engine::Create(const EngineOptions& options,
                                                       std::shared_ptr<Progress> progress) {
  ASSIGN_OR_RETURN(Assembly assembly, Assemble(options, &OpenBackend, std::move(progress)));
  return MakeEngine(std::move(assembly));
}

}  // namespace recurve
