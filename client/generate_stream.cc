// SPDX-License-Identifier: Apache-2.0
#include "client/generate_stream.h"

#include <algorithm>
#include <random>
#include <utility>

#include "absl/strings/str_cat.h"
#include "client/call_status.h"
#include "client/prefix_key.h"

namespace recurve::client {
namespace {

using Outcome = ReplicaSet::Outcome;

constexpr char kFingerprintKey[] = "x-recurve-fingerprint";
constexpr uint32_t kMostSamples = 1024;  // no server takes a request for so many

std::string FingerprintOf(const grpc::ClientContext& context) {
  const auto& metadata = context.GetServerInitialMetadata();
  const auto found = metadata.find(kFingerprintKey);
  return found == metadata.end() ? "" : std::string(found->second.data(), found->second.size());
}

// Resumption repeats it, whoever drew it.
v1::GenerateRequest WithSeed(v1::GenerateRequest request) {
  if (!request.sampling().has_seed()) {
    std::random_device device;
    request.mutable_sampling()->set_seed(uint64_t{device()} << 32 | device());
  }
  return request;
}

}  // namespace

// A resumed leg of a text prompt first has this server make ids of it. Reads a message when the one
// before is done with.
class GenerateStream::Try final : public grpc::ClientReadReactor<v1::GenerateResponse>,
                                  public MessageReader {
 public:
  Try(GenerateStream* stream, Leg* leg, Replicas::Place place)
      : stream_(stream), leg_(leg), place_(std::move(place)) {}

  void Start() {
    if (!leg_->is_resumed) return Generate(stream_->request_);
    if (stream_->request_.has_tokens()) return Resume(stream_->request_.tokens().ids());
    std::optional<google::protobuf::RepeatedField<uint32_t>> prompt;
    {
      const absl::MutexLock lock(&stream_->mutex_);
      prompt = stream_->prompt_;
    }
    return prompt ? Resume(*prompt) : Tokenize();
  }

  void Cancel() {
    tokenize_context_.TryCancel();
    context_.TryCancel();
  }

  void OnReadInitialMetadataDone(bool /*ok*/) override { StartRead(&message_); }

  void OnReadDone(bool ok) override {
    if (!ok) return RemoveHold();
    const bool is_first = !std::exchange(leg_->has_heard, true);
    if (error_.ok() && is_first) error_ = CheckServer(FingerprintOf(context_));
    bool is_told = false;
    if (error_.ok()) error_ = Take(&is_told);
    if (!error_.ok()) context_.TryCancel();  // and read what is left, in vain
    return is_told ? stream_->Deliver(message_, *this) : StartRead(&message_);
  }

  void Done() override { StartRead(&message_); }

  void OnDone(const grpc::Status& status) override {
    End(error_.ok() ? FromGrpc(status, context_) : error_);
  }

 private:
  void Generate(const v1::GenerateRequest& request) {
    PrepareTry(stream_->deadline_, stream_->options_, stream_->key_, context_);
    place_.stubs->generation.async()->Generate(&context_, &request, this);
    AddHold();  // Done may come from any thread
    StartCall();
  }

  void Resume(const google::protobuf::RepeatedField<uint32_t>& prompt) {
    leg_->request = leg_->samples.front()->Resume(stream_->request_, prompt, stream_->Elapsed());
    Generate(leg_->request);
  }

  void Tokenize() {
    PrepareTry(stream_->deadline_, CallOptions(), 0, tokenize_context_);
    tokenize_request_.set_text(stream_->request_.text());
    if (stream_->request_.has_add_special_tokens()) {
      tokenize_request_.set_add_special_tokens(stream_->request_.add_special_tokens());
    }
    place_.stubs->generation.async()->Tokenize(
        &tokenize_context_, &tokenize_request_, &prompt_, [this](const grpc::Status& status) {
          if (!status.ok()) return End(FromGrpc(status, tokenize_context_));
          error_ = CheckServer(FingerprintOf(tokenize_context_));
          const std::optional<uint32_t> tokens = leg_->samples.front()->prompt_tokens();
          if (error_.ok() && tokens && static_cast<uint32_t>(prompt_.ids_size()) != *tokens) {
            error_ = absl::DataLossError(
                absl::StrCat("the prompt had ", *tokens, " tokens, and is ", prompt_.ids_size(),
                             " to the server that was to go on with the stream"));
          }
          if (!error_.ok()) return End(error_);
          {
            const absl::MutexLock lock(&stream_->mutex_);
            stream_->prompt_ = prompt_.ids();
          }
          Resume(prompt_.ids());
        });
  }

  // Whether the server may bring the stream's messages: any may bring the first.
  absl::Status CheckServer(const std::string& fingerprint) {
    if (!stream_->options_.resume) return absl::OkStatus();
    const absl::MutexLock lock(&stream_->mutex_);
    if (!leg_->is_resumed) {
      stream_->fingerprint_ = fingerprint;
      return absl::OkStatus();
    }
    is_unfit_ = fingerprint != *stream_->fingerprint_;
    if (!is_unfit_) return absl::OkStatus();
    return absl::UnavailableError(absl::StrCat("the stream broke, and ", place_.name,
                                               " cannot go on with it: its fingerprint"
                                               " is ",
                                               fingerprint.empty() ? "not told" : fingerprint,
                                               ", not ", *stream_->fingerprint_));
  }

  absl::Status Take(bool* is_told) {
    *is_told = true;
    is_drained_ = is_drained_ || message_.final().finish_reason() == v1::FINISH_REASON_DRAINED;
    SampleProgress* const sample = stream_->SampleOf(*leg_, message_);
    if (sample == nullptr) return absl::OkStatus();
    const absl::StatusOr<bool> is_new = sample->Take(stream_->Elapsed(), message_);
    *is_told = is_new.ok() && *is_new;
    return is_new.status();
  }

  void End(const absl::Status& status) {
    Outcome outcome = OutcomeOf(status);
    if (is_unfit_) outcome = {Outcome::Kind::kUnfit};
    if (is_drained_) outcome = {Outcome::Kind::kFailed};  // it takes no further calls
    GenerateStream* const stream = stream_;
    Leg* const leg = leg_;
    // `status` may be a member, which this object takes with it.
    const absl::Status end = status;  // NOLINT(performance-unnecessary-copy-initialization)
    {
      const absl::MutexLock lock(&stream->mutex_);
      leg->running = nullptr;
    }
    stream->replicas_->End(place_, outcome);
    delete this;
    stream->TryEnded(leg, end, outcome);
  }

  GenerateStream* const stream_;
  Leg* const leg_;
  const Replicas::Place place_;
  grpc::ClientContext tokenize_context_, context_;
  v1::TokenizeRequest tokenize_request_;
  v1::TokenizeResponse prompt_;
  v1::GenerateResponse message_;
  absl::Status error_;  // ours, for which the call was cancelled
  bool is_unfit_ = false;
  bool is_drained_ = false;
};

// What samples that a server's end has cut short end with when nobody goes on with them.
class GenerateStream::LastWord final : public MessageReader {
 public:
  LastWord(GenerateStream* stream, Leg* leg) : stream_(stream), leg_(leg) {}

  void Send() {
    while (next_ < leg_->samples.size() && leg_->samples[next_]->has_ended()) ++next_;
    if (next_ < leg_->samples.size())
      return stream_->Deliver(*leg_->samples[next_]->drained(), *this);
    GenerateStream* const stream = stream_;
    Leg* const leg = leg_;
    delete this;
    stream->FinishLeg(leg, absl::OkStatus());
  }

  void Done() override {
    ++next_;
    Send();
  }

 private:
  GenerateStream* const stream_;
  Leg* const leg_;
  size_t next_ = 0;
};

GenerateStream::GenerateStream(Replicas* replicas, const ClientOptions& client,
                               v1::GenerateRequest request, const CallOptions& options,
                               OnMessage on_message, OnEnd on_end)
    : replicas_(replicas),
      client_(client),
      request_(options.resume ? WithSeed(std::move(request)) : std::move(request)),
      options_(options),
      on_end_(std::move(on_end)),
      key_(PrefixKey(request_, client.prefix_tokens)),
      deadline_(options),
      start_(std::chrono::steady_clock::now()),
      on_message_(std::move(on_message)) {
  if (!options.resume) return;
  const uint32_t samples = request_.has_samples() ? request_.samples() : 1;
  for (uint32_t i = 0; i < std::min(samples, kMostSamples); ++i) {
    samples_.push_back(
        std::make_unique<SampleProgress>(i, SampleSeed(request_.sampling().seed(), i)));
  }
}

GenerateStream::~GenerateStream() {
  Cancel();
  ended_.WaitForNotification();
}

void GenerateStream::Start() {
  Leg* first = nullptr;
  {
    const absl::MutexLock lock(&mutex_);
    first = &legs_.emplace_back();
  }
  first->tries.most = client_.attempts;
  first->tries.deadline = deadline_.steady;
  for (const auto& sample : samples_) first->samples.push_back(sample.get());
  if (absl::Status status = CheckRequest(); !status.ok()) return FinishLeg(first, status);
  StartLeg(first);
}

absl::Status GenerateStream::CheckRequest() const {
  if (absl::Status status = CheckCall(options_); !status.ok()) return status;
  if (!options_.resume) return absl::OkStatus();
  if (client_.attempts < 2) {
    return absl::InvalidArgumentError(absl::StrCat("resume is asked for, but attempts is ",
                                                   client_.attempts, "; expected at least 2"));
  }
  return CheckResumable(request_);
}

void GenerateStream::Cancel() {
  const absl::MutexLock lock(&mutex_);
  cancelled_ = true;
  CancelLegs();
}

void GenerateStream::CancelLegs() {
  for (Leg& leg : legs_) {
    if (leg.running != nullptr) leg.running->Cancel();
    if (leg.wait != nullptr) leg.wait->Cancel();
  }
}

void GenerateStream::StartLeg(Leg* leg) {
  bool is_over = false;
  {
    const absl::MutexLock lock(&mutex_);
    is_over = IsOver();
  }
  if (is_over) return FinishLeg(leg, absl::CancelledError("the call was cancelled"));
  leg->has_heard = false;
  const Replicas::Choice choice = replicas_->Choose(key_, leg->tries);
  if (!choice.place) {
    if (choice.ready >= deadline_.steady) return GiveUp(leg, AllFull(choice.ready));
    return StartLegAt(leg, choice.ready);
  }
  auto* const started = new Try(this, leg, *choice.place);
  {
    const absl::MutexLock lock(&mutex_);
    ++report_.tries;
    report_.last_server = choice.place->name;
    leg->running = started;
    if (IsOver()) started->Cancel();
  }
  started->Start();
}

void GenerateStream::StartLegAt(Leg* leg, Replicas::Time time) {
  const auto left = time - std::chrono::steady_clock::now();
  {
    const absl::MutexLock lock(&mutex_);
    if (left.count() > 0 && !IsOver()) {
      leg->wait = std::make_unique<grpc::Alarm>();
      // Fires when it is cancelled, too; the try then ends at once.
      leg->wait->Set(std::chrono::system_clock::now() +
                         std::chrono::ceil<std::chrono::system_clock::duration>(left),
                     [this, leg](bool /*in_time*/) { StartLeg(leg); });
      return;
    }
  }
  StartLeg(leg);
}

void GenerateStream::TryEnded(Leg* leg, const absl::Status& status, const Outcome& outcome) {
  bool is_over = false;
  {
    const absl::MutexLock lock(&mutex_);
    is_over = IsOver();
  }
  if (is_over) {
    // A refusal that comes now would have been followed by another try.
    const bool is_refused = outcome.kind == Outcome::Kind::kFull;
    return FinishLeg(leg, is_refused ? absl::CancelledError("the call was cancelled") : status);
  }
  const bool is_lost = outcome.kind == Outcome::Kind::kFailed;
  if (leg->has_heard && is_lost && MayResume()) return ResumeSamples(leg, status);
  if (status.ok() && !HasDrained(*leg)) return FinishLeg(leg, status);
  if (leg->has_heard && outcome.kind != Outcome::Kind::kUnfit) return GiveUp(leg, status);
  const std::optional<Replicas::Time> next = replicas_->NextTry(leg->tries, outcome);
  return next ? StartLegAt(leg, *next) : GiveUp(leg, status);
}

bool GenerateStream::MayResume() {
  const absl::MutexLock lock(&mutex_);
  return options_.resume && fingerprint_.has_value() && !fingerprint_->empty();
}

bool GenerateStream::HasDrained(const Leg& leg) const {
  return std::any_of(leg.samples.begin(), leg.samples.end(), [](const SampleProgress* sample) {
    return !sample->has_ended() && sample->drained().has_value();
  });
}

void GenerateStream::ResumeSamples(Leg* leg, const absl::Status& status) {
  std::vector<Leg*> resumed;
  {
    const absl::MutexLock lock(&mutex_);
    for (SampleProgress* sample : leg->samples) {
      if (sample->has_ended()) continue;
      Leg& next = legs_.emplace_back();
      next.samples = {sample};
      next.is_resumed = true;
      next.tries = leg->tries;
      resumed.push_back(&next);
      ++report_.resumes;
    }
  }
  for (Leg* next : resumed) {
    const auto time = replicas_->NextTry(next->tries, {Outcome::Kind::kFailed});
    if (time) {
      StartLegAt(next, *time);
    } else {
      GiveUp(next, status);
    }
  }
  FinishLeg(leg, absl::OkStatus());
}

void GenerateStream::GiveUp(Leg* leg, const absl::Status& status) {
  const bool all_drained =
      !leg->samples.empty() &&
      std::all_of(leg->samples.begin(), leg->samples.end(), [](const SampleProgress* sample) {
        return sample->has_ended() || sample->drained().has_value();
      });
  if (!all_drained) return FinishLeg(leg, status);
  (new LastWord(this, leg))->Send();
}

void GenerateStream::FinishLeg(Leg* leg, const absl::Status& status) {
  absl::Status end;
  {
    const absl::MutexLock lock(&mutex_);
    if (status_.ok() && !status.ok()) {
      status_ = status;
      CancelLegs();
    }
    legs_.remove_if([leg](const Leg& other) { return &other == leg; });
    if (!legs_.empty()) return;
    end = status_;
    if (options_.report != nullptr) *options_.report = report_;
  }
  {
    const absl::MutexLock lock(
        &delivering_);  // whoever delivered the last message has let go of it
  }
  on_end_(end);
  ended_.Notify();  // the destructor may run at once
}

SampleProgress* GenerateStream::SampleOf(const Leg& leg,
                                         const v1::GenerateResponse& message) const {
  if (leg.samples.size() == 1) return leg.samples.front();
  return message.sample() < leg.samples.size() ? leg.samples[message.sample()] : nullptr;
}

void GenerateStream::Deliver(const v1::GenerateResponse& message, MessageReader& reader) {
  bool is_done = false;
  {
    const absl::MutexLock lock(&delivering_);
    is_done = on_message_(message, reader);
  }
  if (is_done) reader.Done();
}

}  // namespace recurve::client
