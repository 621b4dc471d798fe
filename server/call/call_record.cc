// SPDX-License-Identifier: Apache-2.0
// Call's part that records its end: one log line, one terminal reason.
#include "server/call/call.h"

namespace recurve {
namespace {

double MillisecondsBetween(SteadyTime from, SteadyTime to) {
  return std::chrono::duration<double, std::milli>(to - from).count();
}

}  // namespace

// By what the client got, whatever the engine had made of the request. Of several samples that of
// the answer, of a stream that of sample 0.
std::string_view Call::TerminalReason() const {
  switch (code_) {
    case absl::StatusCode::kOk:
      return FinishReasonName(samples_[origin_.streams ? 0 : told_].finish->reason);
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
// or never will. In both cases not before the engine has ended all samples.
void Call::RecordEnd() {
  const std::lock_guard lock(mutex_);
  if (!ended_ || recorded_ || (phase_ == Phase::kAdmitted && unfinished_ > 0)) return;
  if (!origin_.streams && !done_) return;
  recorded_ = true;
  context_->metrics->CountRpc(origin_.method, code_);
  std::vector<LogField> fields = {{"id", origin_.id},
                                  {"method", origin_.method},
                                  {"code", std::string(absl::StatusCodeToString(code_))}};
  if (phase_ == Phase::kAdmitted) {
    const Finish finish = CombineFinishes(samples_);
    const std::string_view reason = TerminalReason();
    context_->metrics->ObserveFinished(reason, finish, origin_.arrival);
    for (const Mailbox& sample : samples_) context_->metrics->ObserveSample(*sample.finish);
    fields.push_back({"reason", std::string(reason)});
    if (samples_.size() > 1) fields.push_back({"samples", uint64_t{samples_.size()}});
    fields.push_back({"prompt_tokens", uint64_t{finish.prompt_tokens}});
    fields.push_back({"generated_tokens", uint64_t{finish.generated_tokens}});
    fields.push_back({"mean_depth", finish.generated_depth.Mean()});
    fields.push_back({"preemptions", uint64_t{finish.preemptions}});
    if (origin_.tenant) fields.push_back({"tenant", *origin_.tenant});
    fields.push_back({"queue_ms", MillisecondsBetween(origin_.arrival, finish.left_queue())});
    if (first_token_) {
      fields.push_back({"ttft_ms", MillisecondsBetween(origin_.arrival, *first_token_)});
    }
    fields.push_back({"total_ms", MillisecondsBetween(origin_.arrival, finish.ended)});
    if (!failure_.ok()) fields.push_back({"error", std::string(failure_.message())});
  } else {
    fields.push_back({"refused", std::string(RejectionName(rejection_))});
    fields.push_back({"error", std::string(refusal_.message())});
  }
  context_->log->Write("request", fields);
}

}  // namespace recurve
