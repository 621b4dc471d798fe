// SPDX-License-Identifier: Apache-2.0
// A stream of Generate over whatever servers it takes: tried again while nothing has come of it,
// and resumed, where that is asked for, when it breaks later.
#ifndef RECURVE_CLIENT_GENERATE_STREAM_H_
#define RECURVE_CLIENT_GENERATE_STREAM_H_

#include <grpcpp/alarm.h>

#include <functional>
#include <list>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "absl/synchronization/notification.h"
#include "client/client.h"
#include "client/prepare_call.h"
#include "client/replicas.h"
#include "client/resume.h"

namespace recurve::client {

// Consists of legs: calls of one or several samples, one at first. A leg of which nothing has come
// is tried again as it is; one that breaks later is replaced by legs of one sample each.
class GenerateStream final : public Stream {
 public:
  // One message at a time of each leg, and never two at once. True if the message is done with,
  // false if MessageReader::Done will be called, by any thread.
  using OnMessage = std::function<bool(const v1::GenerateResponse& message, MessageReader& reader)>;
  using OnEnd = std::function<void(const absl::Status&)>;

  GenerateStream(Replicas* replicas, const ClientOptions& client, v1::GenerateRequest request,
                 const CallOptions& options, OnMessage on_message, OnEnd on_end);
  ~GenerateStream() override;

  void Start();  // once
  void Cancel() override;

 private:
  class Try;       // of a leg, at one server; deletes itself
  class LastWord;  // a message that comes of no server any more; deletes itself

  struct Leg {
    std::vector<SampleProgress*> samples;  // that it brings; none without resumption
    bool is_resumed = false;               // of one sample, from where it broke
    v1::GenerateRequest request;           // of the present try, if it is resumed
    ReplicaSet::Tries tries;
    bool has_heard = false;  // a message of the present try
    Try* running = nullptr;
    std::unique_ptr<grpc::Alarm> wait;
  };

  // Each leads, at once or later, to FinishLeg.
  void StartLeg(Leg* leg);
  void StartLegAt(Leg* leg, Replicas::Time time);
  void TryEnded(Leg* leg, const absl::Status& status, const ReplicaSet::Outcome& outcome);
  void ResumeSamples(Leg* leg, const absl::Status& status);
  void GiveUp(Leg* leg, const absl::Status& status);
  void FinishLeg(Leg* leg, const absl::Status& status);

  absl::Status CheckRequest() const;
  bool MayResume();
  bool HasDrained(const Leg& leg) const;
  bool IsOver() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) { return cancelled_ || !status_.ok(); }
  void CancelLegs() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  std::chrono::nanoseconds Elapsed() const { return std::chrono::steady_clock::now() - start_; }
  SampleProgress* SampleOf(const Leg& leg, const v1::GenerateResponse& message) const;
  void Deliver(const v1::GenerateResponse& message, MessageReader& reader);

  Replicas* const replicas_;
  const ClientOptions& client_;
  v1::GenerateRequest request_;
  const CallOptions options_;
  const OnEnd on_end_;
  const uint64_t key_;  // of its prefix
  const Deadline deadline_;
  const std::chrono::steady_clock::time_point start_;
  std::vector<std::unique_ptr<SampleProgress>> samples_;  // without resumption none

  absl::Mutex delivering_;
  const OnMessage on_message_ ABSL_GUARDED_BY(delivering_);

  absl::Mutex mutex_;                            // never during callbacks, nor when calls begin
  std::list<Leg> legs_ ABSL_GUARDED_BY(mutex_);  // that have not finished
  std::optional<std::string> fingerprint_ ABSL_GUARDED_BY(mutex_);  // of the first message's server
  std::optional<google::protobuf::RepeatedField<uint32_t>> prompt_ ABSL_GUARDED_BY(mutex_);
  absl::Status status_ ABSL_GUARDED_BY(mutex_);  // the first error
  bool cancelled_ ABSL_GUARDED_BY(mutex_) = false;
  CallReport report_ ABSL_GUARDED_BY(mutex_);
  absl::Notification ended_;
};

}  // namespace recurve::client

#endif  // RECURVE_CLIENT_GENERATE_STREAM_H_
