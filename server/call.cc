// SPDX-License-Identifier: Apache-2.0
#include "server/call.h"

#include <algorithm>
#include <iterator>
#include <utility>

#include "absl/strings/str_cat.h"
#include "engine/base/status_macros.h"
#include "recurve/v1/generation.pb.h"
#include "server/ids.h"
#include "server/request_from_proto.h"

namespace recurve {

using std::chrono::steady_clock;

namespace {

// At its deadline the client itself cancels the call, and that news overtakes our own reckoning:
// the time left was rounded up, and counted from when the call had arrived.
constexpr Milliseconds kDeadlineSlack(100);

std::string ChooseId(const std::optional<std::string>& given) {
  return given && IsValidName(*given, kMaxRequestIdBytes) ? *given : MakeRequestId();
}

double MillisecondsBetween(std::optional<SteadyTime> from, std::optional<SteadyTime> to) {
  if (!from || !to || *to < *from) return 0.0;
  return std::chrono::duration<double, std::milli>(*to - *from).count();
}

}  // namespace

Call::Call(CallContext* context, Origin origin)
    : context_(context), origin_(std::move(origin)), id_(ChooseId(origin_.id)) {
  context_->metrics->AddOpenStreams(1);
}

Call::~Call() { DropMailbox(); }

// ---- Admission ----

void Call::Admit(const v1::GenerateRequest& proto) {
  Rejection why = Rejection::kInvalid;
  absl::StatusOr<Engine::Started> started = Start(proto, &why);
  if (!started.ok()) {
    Refuse(started.status(), why);
    return;
  }
  bool abandoned = false;
  {
    const std::lock_guard lock(mutex_);
    phase_ = Phase::kAdmitted;
    engine_id_ = started->id;
    prompt_tokens_ = started->prompt_tokens;
    abandoned = peer_gone_;
  }
  if (abandoned) Abandon();
  context_->egress->Schedule(shared_from_this());
}

// A prompt is long work to tokenize: not for somebody who has left.
absl::Status Call::CheckStillWanted() {
  const std::lock_guard lock(mutex_);
  if (peer_gone_) return GoneStatus();
  if (origin_.deadline && steady_clock::now() >= *origin_.deadline) {
    return absl::DeadlineExceededError("the call's deadline has passed");
  }
  return absl::OkStatus();
}

absl::StatusOr<Engine::Started> Call::Start(const v1::GenerateRequest& proto, Rejection* why) {
  if (absl::Status status = CheckStillWanted(); !status.ok()) {
    *why = Rejection::kAbandoned;
    return status;
  }
  if (origin_.id && !IsValidName(*origin_.id, kMaxRequestIdBytes)) {
    return absl::InvalidArgumentError(absl::StrCat("x-request-id has ", origin_.id->size(),
                                                   " characters; it must have from 1 to ",
                                                   kMaxRequestIdBytes, " printable ones"));
  }
  if (origin_.tenant && !IsValidName(*origin_.tenant, kMaxTenantBytes)) {
    return absl::InvalidArgumentError(absl::StrCat("x-recurve-tenant has ", origin_.tenant->size(),
                                                   " characters; it must have from 1 to ",
                                                   kMaxTenantBytes, " printable ones"));
  }
  Engine* const engine = context_->engine.load(std::memory_order_acquire);
  if (engine == nullptr) {
    *why = Rejection::kLoading;
    return absl::UnavailableError("the model is still loading");
  }
  ASSIGN_OR_RETURN(Request request, RequestFromProto(proto, origin_.arrival));
  request.id = id_;
  request.deadline = origin_.deadline;
  request.tenant = origin_.tenant.value_or("");
  {
    const std::lock_guard lock(mutex_);
    seed_ = request.seed;
  }
  auto started = engine->Start(std::move(request), shared_from_this());
  if (absl::IsResourceExhausted(started.status())) {
    *why = Rejection::kQueueFull;
  } else if (absl::IsUnavailable(started.status())) {
    *why = context_->draining ? Rejection::kDraining : Rejection::kFailed;
  }
  return started;
}

void Call::Refuse(absl::Status status, Rejection why) {
  context_->metrics->CountRejection(why);
  {
    const std::lock_guard lock(mutex_);
    phase_ = Phase::kRefused;
    refusal_ = std::move(status);
    rejection_ = why;
  }
  context_->egress->Schedule(shared_from_this());
}

// ---- From the engine ----

void Call::OnPromptLogprobs(std::vector<PositionLogprobs> logprobs) {
  const std::lock_guard lock(mutex_);
  prompt_logprobs_ = std::move(logprobs);
  if (!oldest_) oldest_ = steady_clock::now();
  // They go out with the first token or the end, of which the engine tells at once.
}

void Call::OnTokens(std::vector<TokenEvent> tokens, uint32_t generated_tokens) {
  const SteadyTime now = steady_clock::now();
  bool wake = false;
  {
    const std::lock_guard lock(mutex_);
    ObserveTokens(now, generated_tokens);
    generated_tokens_ = generated_tokens;
    if (ended_ || peer_gone_ || stalled_) return;  // nobody reads
    AddBacklog(static_cast<double>(tokens.size()));
    tokens_.insert(tokens_.end(), std::make_move_iterator(tokens.begin()),
                   std::make_move_iterator(tokens.end()));
    if (!oldest_) oldest_ = now;
    // Without a write in progress it is us who are slow.
    if (writing_ && tokens_.size() > context_->options->stream.buffer_tokens) {
      stalled_ = StallCause::kBuffer;
      DropMailbox();
    }
    // Otherwise the end of the write in progress, or of the request, wakes the egress thread.
    wake = stalled_ || (origin_.streams && !writing_);
  }
  if (wake) context_->egress->Schedule(shared_from_this());
}

void Call::ObserveTokens(SteadyTime now, uint32_t generated_tokens) {
  if (!first_token_) {
    first_token_ = now;
    context_->metrics->ObserveFirstToken(now - origin_.arrival);
  } else if (generated_tokens > generated_tokens_) {
    // Tokens whose text was held back arrive together: the time since the last arrival is shared.
    context_->metrics->ObserveInterToken(now - *last_token_, generated_tokens - generated_tokens_);
  }
  last_token_ = now;
}

void Call::OnFinished(Finish finish) {
  {
    const std::lock_guard lock(mutex_);
    generated_tokens_ = finish.generated_tokens;
    if (absl::IsCancelled(finish.status)) DropMailbox();  // a cancelled stream gets no message
    finish_ = std::move(finish);
  }
  context_->egress->Schedule(shared_from_this());
}

// ---- Writing: the egress thread ----

void Call::Pump() {
  while (true) {
    Delta delta;
    absl::Status status;
    Echo echo;
    Step step = Step::kNothing;
    {
      const std::lock_guard lock(mutex_);
      echo = {seed_, origin_.arrival};
      step = NextStep(&delta, &status);
    }
    switch (step) {
      case Step::kWrite:
        SendDelta(delta, echo);
        if (origin_.streams) return;  // WriteDone goes on
        break;
      case Step::kEnd:
        RecordEnd();
        SendStatus(status);
        break;
      case Step::kAbort:
        Abort();
        Abandon();
        break;
      case Step::kNothing:
        RecordEnd();
        return;
    }
  }
}

// Decides with the lock held what Pump does without it.
Call::Step Call::NextStep(Delta* delta, absl::Status* status) {
  if (phase_ == Phase::kArrived || ended_) return Step::kNothing;
  if (stalled_ && !aborted_) {
    aborted_ = true;
    context_->metrics->CountStall(*stalled_);
    return Step::kAbort;
  }
  if (writing_ || (aborted_ && !peer_gone_)) return Step::kNothing;  // a reaction comes
  if (peer_gone_) {
    *status = GoneStatus();
  } else if (phase_ == Phase::kRefused) {
    *status = refusal_;
  } else {
    const bool whole = finish_ && finish_->status.ok();
    const bool mail = origin_.streams && HasMail();
    if (mail || (whole && !final_sent_)) {
      TakeMailbox(delta);
      writing_ = origin_.streams;
      handed_over_ = steady_clock::now();
      return Step::kWrite;
    }
    if (!finish_) return Step::kNothing;
    *status = finish_->status;
  }
  ended_ = true;
  handed_over_ = steady_clock::now();
  code_ = status->code();
  return Step::kEnd;
}

absl::Status Call::GoneStatus() const {
  return deadline_passed_ ? absl::DeadlineExceededError("the call's deadline has passed")
                          : absl::CancelledError("the call was cancelled");
}

bool Call::HasMail() const { return !tokens_.empty() || prompt_logprobs_; }

// Only streams have one: the tokens of a Complete call wait for the last, not for the network.
void Call::AddBacklog(double tokens) {
  if (origin_.streams) context_->metrics->AddBacklog(tokens);
}

void Call::TakeMailbox(Delta* delta) {
  AddBacklog(-static_cast<double>(tokens_.size()));
  if (oldest_ && origin_.streams) {
    context_->metrics->ObserveEgressDelay(steady_clock::now() - *oldest_);
  }
  oldest_.reset();
  delta->tokens.swap(tokens_);
  delta->prompt_logprobs = std::exchange(prompt_logprobs_, std::nullopt);
  delta->prompt_tokens = prompt_tokens_;
  delta->generated_tokens = generated_tokens_;
  if (finish_ && finish_->status.ok()) {
    delta->finish = finish_;
    final_sent_ = true;
  }
}

void Call::DropMailbox() {
  AddBacklog(-static_cast<double>(tokens_.size()));
  tokens_.clear();
  prompt_logprobs_.reset();
  oldest_.reset();
}

void Call::CheckStall(SteadyTime now) {
  {
    const std::lock_guard lock(mutex_);
    const bool ending = ended_ && !done_ && !peer_gone_;
    if (!(writing_ || ending) || stalled_ ||
        now - handed_over_ < context_->options->stream.stall_timeout) {
      return;
    }
    stalled_ = StallCause::kTimeout;
    DropMailbox();
    if (ending) {  // nothing is left to pump; the answer of Complete goes out with its status
      context_->metrics->CountStall(*stalled_);
      Abort();
      return;
    }
  }
  Pump();
}

// Tells the engine that nobody reads any more.
void Call::Abandon() {
  std::optional<Engine::RequestId> running;
  {
    const std::lock_guard lock(mutex_);
    if (phase_ == Phase::kAdmitted && !finish_) running = engine_id_;
  }
  Engine* const engine = context_->engine.load(std::memory_order_acquire);
  if (running) engine->Cancel(*running);
}

// ---- Reactions of the transport ----

void Call::WriteDone(bool ok) {
  bool more = false;
  {
    const std::lock_guard lock(mutex_);
    writing_ = false;
    // A failed write may be told of before the cancellation that failed it.
    if (!ok) peer_gone_ = true;
    more = !ok || HasMail() || finish_ || stalled_;
  }
  if (!ok) PeerGone();
  if (more) context_->egress->Schedule(shared_from_this());
}

void Call::PeerGone() {
  {
    const std::lock_guard lock(mutex_);
    peer_gone_ = true;
    deadline_passed_ =
        origin_.deadline && !stalled_ && steady_clock::now() + kDeadlineSlack >= *origin_.deadline;
    // The status was sent, but will not arrive.
    if (ended_ && !recorded_) code_ = GoneStatus().code();
    DropMailbox();
  }
  Abandon();
  context_->egress->Schedule(shared_from_this());
}

void Call::TransportDone() {
  {
    const std::lock_guard lock(mutex_);
    done_ = true;
  }
  RecordEnd();
  context_->metrics->AddOpenStreams(-1);
  context_->egress->Close(this);
}

// ---- The record: one log line, one terminal reason ----

// By what the client got, whatever the engine had made of the request.
std::string_view Call::TerminalReason() const {
  switch (code_) {
    case absl::StatusCode::kOk:
      return FinishReasonName(finish_->reason);
    case absl::StatusCode::kCancelled:
      return stalled_ ? kReasonSlowReader : kReasonCancelled;
    case absl::StatusCode::kDeadlineExceeded:
      return kReasonDeadlineExceeded;
    case absl::StatusCode::kResourceExhausted:
      return kReasonQueueTimeout;
    case absl::StatusCode::kUnavailable:
      return kReasonUnavailable;
    default:
      return kReasonInternal;
  }
}

// Of a stream when its status is about to be sent, so that a client that knows of its end finds it
// in the metrics. Of a Complete call, whose answer goes out with the status, when that has arrived
// or never will. In both cases not before the engine has ended the request.
void Call::RecordEnd() {
  const std::lock_guard lock(mutex_);
  if (!ended_ || recorded_ || (phase_ == Phase::kAdmitted && !finish_)) return;
  if (!origin_.streams && !done_) return;
  recorded_ = true;
  context_->metrics->CountRpc(origin_.method, code_);
  std::vector<LogField> fields = {{"id", id_},
                                  {"method", origin_.method},
                                  {"code", std::string(absl::StatusCodeToString(code_))}};
  if (finish_) {
    const Finish& finish = *finish_;
    const std::string_view reason = TerminalReason();
    context_->metrics->ObserveFinished(reason, finish, origin_.arrival);
    fields.push_back({"reason", std::string(reason)});
    fields.push_back({"prompt_tokens", uint64_t{finish.prompt_tokens}});
    fields.push_back({"generated_tokens", uint64_t{finish.generated_tokens}});
    fields.push_back({"mean_depth", finish.generated_depth.Mean()});
    fields.push_back({"preemptions", uint64_t{finish.preemptions}});
    if (origin_.tenant) fields.push_back({"tenant", *origin_.tenant});
    fields.push_back({"queue_ms", MillisecondsBetween(origin_.arrival, finish.admitted)});
    fields.push_back({"ttft_ms", MillisecondsBetween(origin_.arrival, first_token_)});
    fields.push_back({"total_ms", MillisecondsBetween(origin_.arrival, finish.ended)});
    if (!finish.status.ok()) fields.push_back({"error", std::string(finish.status.message())});
  } else {
    fields.push_back({"refused", std::string(RejectionName(rejection_))});
    fields.push_back({"error", std::string(refusal_.message())});
  }
  context_->log->Write("request", fields);
}

}  // namespace recurve
