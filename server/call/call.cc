// SPDX-License-Identifier: Apache-2.0
#include "server/call/call.h"

#include <chrono>
#include <utility>

#include "engine/api/validate_request.h"
#include "engine/base/status_macros.h"

namespace recurve {

using std::chrono::steady_clock;

Call::Call(CallContext* context, CallOrigin origin)
    : context_(context), origin_(std::move(origin)), state_(origin_, context->options->stream) {
  context_->metrics->AddOpenStreams(1);
}

Call::~Call() { context_->metrics->AddBacklog(-static_cast<double>(state_.backlog())); }

// ---- The state ----

template <typename Event>
CallActions Call::Tell(const Event& event) {
  const MutexLock lock(mutex_);
  return TellLocked(event);
}

template <typename Event>
CallActions Call::TellLocked(const Event& event) {
  const auto backlog = static_cast<double>(state_.backlog());
  CallActions actions = event(state_, steady_clock::now());
  // With the lock held, so that what is taken from the backlog was added to it before.
  Metrics* const metrics = context_->metrics;
  metrics->AddBacklog(static_cast<double>(state_.backlog()) - backlog);
  const TokenTimes& times = actions.observe;
  if (times.first) metrics->ObserveFirstToken(*times.first);
  if (times.gap) metrics->ObserveInterToken(*times.gap, times.tokens);
  return actions;
}

void Call::Perform(const CallActions& actions) {
  if (actions.record) RecordCall(origin_, *actions.record, context_->metrics, context_->log);
  if (actions.abort) {
    context_->metrics->CountStall(*actions.abort);
    Abort();
  }
  if (!actions.cancel.empty()) {
    Engine* const engine = context_->engine.load(std::memory_order_acquire);
    for (const Engine::SampleId id : actions.cancel) engine->Cancel(id);
  }
  if (actions.write) {
    if (actions.write->waited) context_->metrics->ObserveEgressDelay(*actions.write->waited);
    SendDelta(actions.write->delta, actions.write->echo);
  }
  if (actions.status) SendStatus(*actions.status);
  if (actions.wake) context_->egress->Schedule(shared_from_this());
}

// ---- Admission ----

absl::Status Call::Enter(Rejection* why) {
  if (context_->quotas == nullptr) return absl::OkStatus();
  ASSIGN_OR_RETURN(lease_, context_->quotas->Enter(origin_.tenant.value_or(""), why));
  return absl::OkStatus();
}

void Call::Admit(absl::StatusOr<Request> request) {
  Rejection why = Rejection::kInvalid;
  const absl::StatusOr<Engine::Accepted> started = Start(std::move(request), &why);
  if (started.ok()) {
    Perform(Tell([&](CallState& state, SteadyTime) { return state.Admitted(*started); }));
  } else {
    Refuse(started.status(), why);
  }
}

absl::StatusOr<Engine::Accepted> Call::Start(absl::StatusOr<Request> given, Rejection* why) {
  {
    // A prompt is long work to tokenize: not for somebody who has left.
    const MutexLock lock(mutex_);
    if (absl::Status status = state_.Wanted(steady_clock::now()); !status.ok()) {
      *why = Rejection::kAbandoned;
      return status;
    }
  }
  Engine* const engine = context_->engine.load(std::memory_order_acquire);
  if (engine == nullptr) {
    *why = Rejection::kLoading;
    return absl::UnavailableError("the model is still loading");
  }
  ASSIGN_OR_RETURN(Request request, std::move(given));
  request.id = origin_.id;
  request.deadline = origin_.deadline;
  request.tenant = origin_.tenant.value_or("");
  request.cumulative_logprob |= !origin_.streams && request.samples > 1;
  RETURN_IF_ERROR(ValidateRequest(request));  // of which the number of samples is used here
  {
    const MutexLock lock(mutex_);
    state_.Submitted(request.samples, request.sampling.seed());
  }
  samples_ = request.samples;
  auto started = engine->Start(std::move(request), shared_from_this());
  if (absl::IsResourceExhausted(started.status())) {
    *why = over_quota_ != Rejection::kInvalid ? over_quota_ : Rejection::kQueueFull;
  } else if (absl::IsUnavailable(started.status())) {
    *why = context_->draining ? Rejection::kDraining : Rejection::kFailed;
  }
  return started;
}

absl::Status Call::OnPrepared(uint32_t prompt_tokens, uint32_t new_tokens) {
  if (lease_ == nullptr) return absl::OkStatus();
  const uint64_t tokens = prompt_tokens + uint64_t{samples_} * new_tokens;
  Rejection why = Rejection::kInvalid;
  absl::Status status = lease_->Charge(samples_, tokens, &why);
  if (absl::IsResourceExhausted(status)) over_quota_ = why;
  return status;
}

void Call::Refuse(absl::Status status, Rejection why) {
  lease_.reset();  // the client may come again as soon as it knows
  context_->metrics->CountRejection(why);
  Perform(
      Tell([&](CallState& state, SteadyTime) { return state.Refused(std::move(status), why); }));
}

// ---- From the engine ----

void Call::OnStarted(uint32_t /*sample*/) {
  if (lease_ != nullptr) lease_->LeftQueue();
}

void Call::OnPromptLogprobs(uint32_t sample, std::vector<PositionLogprobs> logprobs) {
  const MutexLock lock(mutex_);
  state_.PromptLogprobsCame(sample, std::move(logprobs), steady_clock::now());
}

void Call::OnTokens(uint32_t sample, std::span<const TokenEvent> tokens,
                    uint32_t generated_tokens) {
  Perform(Tell([&](CallState& state, SteadyTime now) {
    return state.TokensCame(sample, tokens, generated_tokens, now);
  }));
}

void Call::OnFinished(uint32_t sample, Finish finish) {
  if (lease_ != nullptr) {
    // The prompt is computed once, by whichever sample runs first.
    const bool first = finish.admitted.has_value() && !std::exchange(prompt_ran_, true);
    lease_->Used(uint64_t{finish.generated_tokens} + (first ? finish.prompt_tokens : 0));
    if (--samples_ == 0) lease_.reset();
  }
  Perform(Tell(
      [&](CallState& state, SteadyTime) { return state.SampleEnded(sample, std::move(finish)); }));
}

// ---- Writing: the egress thread ----

void Call::Pump() {
  Perform(Tell([&](CallState& state, SteadyTime now) {
    if (context_->engine_stuck) state.EngineLost(now);
    return state.Next(now);
  }));
}

void Call::CheckStall(SteadyTime now) {
  MutexLock lock(mutex_);
  const CallActions actions =
      TellLocked([&](CallState& state, SteadyTime) { return state.Tick(now); });
  // Once it has the status, the transport may let go at any time, but not while the lock is held.
  if (state_.ended()) return Perform(actions);
  lock.Unlock();
  Perform(actions);
}

// ---- Reactions of the transport ----

void Call::WriteDone(bool ok) {
  Perform(Tell([&](CallState& state, SteadyTime now) {
    return state.WriteDone(ok, now, context_->cutting);
  }));
}

void Call::PeerGone() {
  Perform(Tell(
      [&](CallState& state, SteadyTime now) { return state.PeerGone(now, context_->cutting); }));
}

void Call::TransportDone() {
  Perform(Tell([&](CallState& state, SteadyTime) { return state.Done(); }));
  context_->metrics->AddOpenStreams(-1);
  context_->egress->Close(this);
}

}  // namespace recurve
