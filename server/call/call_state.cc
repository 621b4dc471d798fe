// SPDX-License-Identifier: Apache-2.0
#include "server/call/call_state.h"

#include <utility>

namespace recurve {
namespace {

// At its deadline the client itself cancels the call, and that news overtakes our own reckoning:
// the time left was rounded up, and counted from when the call had arrived.
constexpr Milliseconds kDeadlineSlack(100);

absl::Status DeadlinePassed() {
  return absl::DeadlineExceededError("the call's deadline has passed");
}

}  // namespace

CallState::CallState(const CallOrigin& origin, const StreamOptions& limits)
    : origin_(origin), limits_(limits) {}

absl::Status CallState::Wanted(SteadyTime now) const {
  if (client_ == Client::kGone) return gone_;
  return origin_.deadline && now >= *origin_.deadline ? DeadlinePassed() : absl::OkStatus();
}

// ---- The request ----

void CallState::Submitted(uint32_t samples, uint64_t seed) {
  seed_ = seed;
  samples_.resize(samples);
  unfinished_ = samples;
}

CallActions CallState::Admitted(const Engine::Accepted& started) {
  request_ = RequestState::kAdmitted;
  engine_id_ = started.id;
  prompt_tokens_ = started.prompt_tokens;
  CallActions actions;
  if (client_ == Client::kGone) actions.cancel = CancelRunning();
  actions.wake = true;
  return actions;
}

CallActions CallState::Refused(absl::Status status, Rejection why) {
  request_ = RequestState::kRefused;
  refusal_ = std::move(status);
  rejection_ = why;
  CallActions actions;
  actions.wake = true;
  return actions;
}

void CallState::PromptLogprobsCame(uint32_t sample, std::vector<PositionLogprobs> logprobs,
                                   SteadyTime now) {
  Mailbox& mailbox = samples_[sample];
  mailbox.prompt_logprobs = std::move(logprobs);
  if (!mailbox.oldest) mailbox.oldest = now;
  // Nothing is sent now: the prompt's log probabilities go out with the first token or the end, of
  // which the engine tells at once.
}

CallActions CallState::TokensCame(uint32_t sample, std::span<const TokenEvent> tokens,
                                  uint32_t generated_tokens, SteadyTime now) {
  Mailbox& mailbox = samples_[sample];
  CallActions actions;
  actions.observe = NoteTimes(mailbox, generated_tokens, now);
  mailbox.last_token = now;
  mailbox.generated_tokens = generated_tokens;
  if (ended() || client_ != Client::kThere) return actions;  // nobody reads
  if (origin_.streams) backlog_ += tokens.size();
  mailbox.Add(tokens);
  if (!mailbox.oldest) mailbox.oldest = now;
  // Without a write in progress it is us who are slow.
  const bool writing = transport_ == Transport::kWriting;
  if (writing && backlog_ > limits_.buffer_tokens) GiveUp(StallCause::kBuffer);
  // Otherwise the end of the write in progress, or of the request, wakes the egress thread.
  actions.wake = client_ == Client::kStalled || (origin_.streams && !writing);
  return actions;
}

TokenTimes CallState::NoteTimes(const Mailbox& mailbox, uint32_t generated_tokens, SteadyTime now) {
  TokenTimes times;
  if (!first_token_) {
    first_token_ = now;
    times.first = now - origin_.arrival;
  }
  if (mailbox.last_token && generated_tokens > mailbox.generated_tokens) {
    // Tokens whose text was held back arrive together: the time since the last arrival is shared.
    times.gap = now - *mailbox.last_token;
    times.tokens = generated_tokens - mailbox.generated_tokens;
  }
  return times;
}

CallActions CallState::SampleEnded(uint32_t sample, Finish finish) {
  Mailbox& mailbox = samples_[sample];
  if (mailbox.finish) return {};  // EngineLost has ended it
  mailbox.generated_tokens = finish.generated_tokens;
  if (absl::IsCancelled(finish.status)) DropMail(&mailbox);  // no message for a cancelled stream
  if (failure_.ok()) failure_ = finish.status;
  mailbox.finish = std::move(finish);
  --unfinished_;
  CallActions actions;
  actions.wake = true;
  return actions;
}

void CallState::EngineLost(SteadyTime now) {
  if (request_ != RequestState::kAdmitted) return;  // the engine refuses it
  for (Mailbox& mailbox : samples_) {
    if (mailbox.finish) continue;
    Finish& finish = mailbox.finish.emplace();
    finish.reason = EndReason::kFailed;
    finish.status = absl::UnavailableError("the engine has failed: a step has not come back");
    finish.prompt_tokens = prompt_tokens_;
    finish.generated_tokens = mailbox.generated_tokens;
    finish.queued = origin_.arrival;
    finish.first_token = first_token_;
    finish.last_token = mailbox.last_token;
    finish.ended = now;
    if (failure_.ok()) failure_ = finish.status;
    --unfinished_;
  }
}

// ---- Transport and client ----

CallActions CallState::WriteDone(bool ok, SteadyTime now, bool cut) {
  transport_ = Transport::kIdle;
  // A failed write may be told of before the cancellation that failed it.
  if (!ok) return PeerGone(now, cut);
  CallActions actions;
  actions.wake = client_ != Client::kThere || unfinished_ == 0 || NextSample();
  return actions;
}

CallActions CallState::PeerGone(SteadyTime now, bool cut) {
  const bool aborted = client_ == Client::kAborted || (client_ == Client::kGone && stalled_);
  if (!aborted) stalled_.reset();  // it left before we acted
  if (origin_.deadline && !aborted && now + kDeadlineSlack >= *origin_.deadline) {
    gone_ = DeadlinePassed();
  } else if (cut) {
    // The transport cuts calls with this code, whatever we say of them.
    gone_ = absl::UnavailableError("the server has stopped");
  } else {
    gone_ = absl::CancelledError("the call was cancelled");
  }
  client_ = Client::kGone;
  if (ended() && !recorded_) code_ = gone_.code();  // the status was sent, but will not arrive
  DropAllMail();
  CallActions actions;
  actions.cancel = CancelRunning();
  actions.wake = true;
  return actions;
}

CallActions CallState::Done() {
  transport_ = Transport::kDone;
  CallActions actions;
  actions.record = TakeRecord();
  return actions;
}

void CallState::GiveUp(StallCause cause) {
  client_ = Client::kStalled;
  stalled_ = cause;
  DropAllMail();
}

// ---- The egress thread ----

CallActions CallState::Next(SteadyTime now) {
  CallActions actions;
  if (request_ == RequestState::kArrived) return actions;
  if (ended()) {
    actions.record = TakeRecord();
    return actions;
  }
  if (client_ == Client::kStalled) {
    client_ = Client::kAborted;
    actions.abort = stalled_;
  }
  if (client_ == Client::kAborted || !failure_.ok()) actions.cancel = CancelRunning();
  if (transport_ == Transport::kWriting || client_ == Client::kAborted) return actions;
  if (client_ == Client::kGone) {
    End(gone_, now, &actions);
  } else if (request_ == RequestState::kRefused) {
    End(refusal_, now, &actions);
  } else {
    if (const auto sample = NextSample()) Write(*sample, now, &actions);
    const bool written = transport_ == Transport::kIdle;
    if (written && unfinished_ == 0) End(failure_, now, &actions);
  }
  return actions;
}

CallActions CallState::Tick(SteadyTime now) {
  const bool handed_over = transport_ == Transport::kWriting || transport_ == Transport::kEnded;
  if (!handed_over || client_ != Client::kThere || now - handed_over_ < limits_.stall_timeout) {
    return {};
  }
  GiveUp(StallCause::kTimeout);
  if (!ended()) return Next(now);
  CallActions actions;
  client_ = Client::kAborted;
  actions.abort = stalled_;
  return actions;
}

void CallState::Write(uint32_t sample, SteadyTime now, CallActions* actions) {
  Message& message = actions->write.emplace();
  Mailbox& mailbox = samples_[sample];
  if (origin_.streams) {
    transport_ = Transport::kWriting;
    backlog_ -= mailbox.tokens.size();
    if (mailbox.oldest) message.waited = now - *mailbox.oldest;
  }
  mailbox.Take(&message.delta);
  // The prompt's log probabilities, which sample 0 has, go into the only message.
  if (!origin_.streams && sample > 0) {
    message.delta.prompt_logprobs.swap(samples_[0].prompt_logprobs);
  }
  message.delta.sample = told_ = sample;
  message.delta.prompt_tokens = prompt_tokens_;
  message.echo = {SampleSeed(seed_, sample), origin_.arrival};
  handed_over_ = now;
}

void CallState::End(absl::Status status, SteadyTime now, CallActions* actions) {
  transport_ = Transport::kEnded;
  handed_over_ = now;
  code_ = status.code();
  actions->record = TakeRecord();
  actions->status = std::move(status);
}

std::vector<Engine::SampleId> CallState::CancelRunning() {
  if (request_ != RequestState::kAdmitted || std::exchange(cancelled_, true)) return {};
  std::vector<Engine::SampleId> running;
  for (size_t sample = 0; sample < samples_.size(); ++sample) {
    if (!samples_[sample].finish) running.push_back(engine_id_ + sample);
  }
  return running;
}

std::optional<CallRecord> CallState::TakeRecord() {
  const bool admitted = request_ == RequestState::kAdmitted;
  if (!ended() || recorded_ || (admitted && unfinished_ > 0)) return std::nullopt;
  if (!origin_.streams && transport_ != Transport::kDone) return std::nullopt;
  recorded_ = true;
  CallRecord record;
  record.code = *code_;
  if (admitted) {
    record.error = failure_;
    record.reason = TerminalReason();
    for (const Mailbox& sample : samples_) record.samples.push_back(*sample.finish);
    record.first_token = first_token_;
  } else {
    record.error = refusal_;
    record.refusal = rejection_;
  }
  return record;
}

// By what the client got, whatever the engine had made of the request. Of several samples that of
// the answer, of a stream that of sample 0.
std::string_view CallState::TerminalReason() const {
  switch (*code_) {
    case absl::StatusCode::kOk:
      return EndReasonName(samples_[origin_.streams ? 0 : told_].finish->reason);
    case absl::StatusCode::kCancelled:
      return stalled_ ? kReasonSlowReader : EndReasonName(EndReason::kCancelled);
    case absl::StatusCode::kDeadlineExceeded:
      return EndReasonName(EndReason::kDeadline);
    case absl::StatusCode::kResourceExhausted:
      return EndReasonName(EndReason::kQueueTimeout);
    case absl::StatusCode::kUnavailable:
      return kReasonUnavailable;
    default:
      return kReasonInternal;
  }
}

// ---- Mail ----

// Whose news go out next.
std::optional<uint32_t> CallState::NextSample() const {
  const auto samples = static_cast<uint32_t>(samples_.size());
  if (!origin_.streams) {
    const bool whole = failure_.ok() && unfinished_ == 0 && !samples_[told_].final_sent;
    return whole ? std::optional(MostLikely(samples_)) : std::nullopt;
  }
  for (uint32_t turn = 1; turn <= samples; ++turn) {
    const uint32_t sample = (told_ + turn) % samples;
    if (samples_[sample].HasNews()) return sample;
  }
  return std::nullopt;
}

void CallState::DropMail(Mailbox* mailbox) {
  if (origin_.streams) backlog_ -= mailbox->tokens.size();
  mailbox->Clear();
}

void CallState::DropAllMail() {
  for (Mailbox& mailbox : samples_) DropMail(&mailbox);
}

}  // namespace recurve
