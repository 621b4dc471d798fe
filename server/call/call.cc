// SPDX-License-Identifier: Apache-2.0
#include "server/call/call.h"

#include <algorithm>
#include <iterator>
#include <utility>

#include "engine/base/status_macros.h"

namespace recurve {

using std::chrono::steady_clock;

namespace {

// At its deadline the client itself cancels the call, and that news overtakes our own reckoning:
// the time left was rounded up, and counted from when the call had arrived.
constexpr Milliseconds kDeadlineSlack(100);

}  // namespace

class Call::SampleSink final : public RequestSink {
 public:
  SampleSink(std::shared_ptr<Call> call, uint32_t sample)
      : call_(std::move(call)), sample_(sample) {}

  void OnPromptLogprobs(std::vector<PositionLogprobs> logprobs) override {
    call_->OnPromptLogprobs(sample_, std::move(logprobs));
  }
  void OnTokens(std::vector<TokenEvent> tokens, uint32_t generated_tokens) override {
    call_->OnTokens(sample_, std::move(tokens), generated_tokens);
  }
  void OnFinished(Finish finish) override { call_->OnFinished(sample_, std::move(finish)); }

 private:
  const std::shared_ptr<Call> call_;
  const uint32_t sample_;
};

Call::Call(CallContext* context, Origin origin) : context_(context), origin_(std::move(origin)) {
  context_->metrics->AddOpenStreams(1);
}

Call::~Call() { DropAllMail(); }

// ---- Admission ----

void Call::Admit(absl::StatusOr<Request> request) {
  Rejection why = Rejection::kInvalid;
  absl::StatusOr<Engine::Started> started = Start(std::move(request), &why);
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

absl::StatusOr<Engine::Started> Call::Start(absl::StatusOr<Request> given, Rejection* why) {
  if (absl::Status status = CheckStillWanted(); !status.ok()) {
    *why = Rejection::kAbandoned;
    return status;
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
  request.cumulative_logprob = !origin_.streams && request.samples > 1;
  std::vector<std::shared_ptr<RequestSink>> sinks = MakeSinks(request);
  auto started = engine->Start(std::move(request), std::move(sinks));
  if (absl::IsResourceExhausted(started.status())) {
    *why = Rejection::kQueueFull;
  } else if (absl::IsUnavailable(started.status())) {
    *why = context_->draining ? Rejection::kDraining : Rejection::kFailed;
  }
  return started;
}

// And the mailboxes, which may get mail at once.
std::vector<std::shared_ptr<RequestSink>> Call::MakeSinks(const Request& request) {
  std::vector<std::shared_ptr<RequestSink>> sinks;
  for (uint32_t sample = 0; sample < request.samples; ++sample) {
    sinks.push_back(std::make_shared<SampleSink>(shared_from_this(), sample));
  }
  const std::lock_guard lock(mutex_);
  seed_ = request.seed;
  samples_.resize(request.samples);
  unfinished_ = request.samples;
  return sinks;
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

void Call::OnPromptLogprobs(uint32_t sample, std::vector<PositionLogprobs> logprobs) {
  const std::lock_guard lock(mutex_);
  Mailbox& mailbox = samples_[sample];
  mailbox.prompt_logprobs = std::move(logprobs);
  if (!mailbox.oldest) mailbox.oldest = steady_clock::now();
  // They go out with the first token or the end, of which the engine tells at once.
}

void Call::OnTokens(uint32_t sample, std::vector<TokenEvent> tokens, uint32_t generated_tokens) {
  const SteadyTime now = steady_clock::now();
  bool wake = false;
  {
    const std::lock_guard lock(mutex_);
    Mailbox& mailbox = samples_[sample];
    ObserveTokens(mailbox, now, generated_tokens);
    mailbox.last_token = now;
    mailbox.generated_tokens = generated_tokens;
    if (ended_ || peer_gone_ || stalled_) return;  // nobody reads
    AddBacklog(static_cast<ptrdiff_t>(tokens.size()));
    mailbox.tokens.insert(mailbox.tokens.end(), std::make_move_iterator(tokens.begin()),
                          std::make_move_iterator(tokens.end()));
    if (!mailbox.oldest) mailbox.oldest = now;
    // Without a write in progress it is us who are slow.
    if (writing_ && backlog_ > static_cast<ptrdiff_t>(context_->options->stream.buffer_tokens)) {
      stalled_ = StallCause::kBuffer;
      DropAllMail();
    }
    // Otherwise the end of the write in progress, or of the request, wakes the egress thread.
    wake = stalled_ || (origin_.streams && !writing_);
  }
  if (wake) context_->egress->Schedule(shared_from_this());
}

void Call::ObserveTokens(const Mailbox& mailbox, SteadyTime now, uint32_t generated_tokens) {
  if (!first_token_) {
    first_token_ = now;
    context_->metrics->ObserveFirstToken(now - origin_.arrival);
  }
  if (mailbox.last_token && generated_tokens > mailbox.generated_tokens) {
    // Tokens whose text was held back arrive together: the time since the last arrival is shared.
    context_->metrics->ObserveInterToken(now - *mailbox.last_token,
                                         generated_tokens - mailbox.generated_tokens);
  }
}

void Call::OnFinished(uint32_t sample, Finish finish) {
  {
    const std::lock_guard lock(mutex_);
    Mailbox& mailbox = samples_[sample];
    mailbox.generated_tokens = finish.generated_tokens;
    if (absl::IsCancelled(finish.status)) DropMail(&mailbox);  // no message for a cancelled stream
    if (failure_.ok()) failure_ = finish.status;
    mailbox.finish = std::move(finish);
    --unfinished_;
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
      step = NextStep(&delta, &status);
      echo = {SampleSeed(seed_, delta.sample), origin_.arrival};
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
      case Step::kCancelRest:
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
  if (!failure_.ok() && unfinished_ > 0 && !rest_cancelled_) {
    rest_cancelled_ = true;
    return Step::kCancelRest;
  }
  if (writing_ || (aborted_ && !peer_gone_)) return Step::kNothing;  // a reaction comes
  if (peer_gone_) {
    *status = GoneStatus();
  } else if (phase_ == Phase::kRefused) {
    *status = refusal_;
  } else {
    if (const auto sample = NextSample()) {
      TakeMail(*sample, delta);
      writing_ = origin_.streams;
      handed_over_ = steady_clock::now();
      return Step::kWrite;
    }
    if (unfinished_ > 0) return Step::kNothing;
    *status = failure_;
  }
  ended_ = true;
  handed_over_ = steady_clock::now();
  code_ = status->code();
  return Step::kEnd;
}

absl::Status Call::GoneStatus() const {
  if (deadline_passed_) return absl::DeadlineExceededError("the call's deadline has passed");
  // The transport cuts calls with this code, whatever we say of them.
  if (context_->cutting) return absl::UnavailableError("the server has stopped");
  return absl::CancelledError("the call was cancelled");
}

// Whose news go out next.
std::optional<uint32_t> Call::NextSample() const {
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

// Only streams have one: the tokens of a Complete call wait for the last, not for the network.
void Call::AddBacklog(ptrdiff_t tokens) {
  if (!origin_.streams) return;
  backlog_ += tokens;
  context_->metrics->AddBacklog(static_cast<double>(tokens));
}

void Call::TakeMail(uint32_t sample, Delta* delta) {
  Mailbox& mailbox = samples_[sample];
  AddBacklog(-static_cast<ptrdiff_t>(mailbox.tokens.size()));
  if (mailbox.oldest && origin_.streams) {
    context_->metrics->ObserveEgressDelay(steady_clock::now() - *mailbox.oldest);
  }
  mailbox.Take(delta);
  // Those of the prompt belong to the only message, whose ever it is.
  if (!origin_.streams && sample > 0) delta->prompt_logprobs.swap(samples_[0].prompt_logprobs);
  delta->sample = told_ = sample;
  delta->prompt_tokens = prompt_tokens_;
}

void Call::DropMail(Mailbox* mailbox) {
  AddBacklog(-static_cast<ptrdiff_t>(mailbox->tokens.size()));
  mailbox->Clear();
}

void Call::DropAllMail() {
  for (Mailbox& mailbox : samples_) DropMail(&mailbox);
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
    DropAllMail();
    if (ending) {  // nothing is left to pump; the answer of Complete goes out with its status
      context_->metrics->CountStall(*stalled_);
      Abort();
      return;
    }
  }
  Pump();
}

// Tells the engine that nobody waits for the samples that still run.
void Call::Abandon() {
  std::vector<Engine::RequestId> running;
  {
    const std::lock_guard lock(mutex_);
    if (phase_ != Phase::kAdmitted) return;
    for (size_t sample = 0; sample < samples_.size(); ++sample) {
      if (!samples_[sample].finish) running.push_back(engine_id_ + sample);
    }
  }
  Engine* const engine = context_->engine.load(std::memory_order_acquire);
  for (const Engine::RequestId id : running) engine->Cancel(id);
}

// ---- Reactions of the transport ----

void Call::WriteDone(bool ok) {
  bool more = false;
  {
    const std::lock_guard lock(mutex_);
    writing_ = false;
    // A failed write may be told of before the cancellation that failed it.
    if (!ok) peer_gone_ = true;
    more = !ok || stalled_ || unfinished_ == 0 || NextSample();
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
    DropAllMail();
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

}  // namespace recurve
