// SPDX-License-Identifier: Apache-2.0
// One Generate or Complete call between the engine, which pushes the tokens of its samples, and its
// transport, which takes them as fast as the client reads. Knows nothing of gRPC and protobuf: the
// reactors in generation_service.cc derive from it.
#ifndef RECURVE_SERVER_CALL_CALL_H_
#define RECURVE_SERVER_CALL_CALL_H_

#include <atomic>
#include <cstddef>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "engine/engine.h"
#include "server/call/delta.h"
#include "server/call/egress.h"
#include "server/call/mailbox.h"
#include "server/observe/log.h"
#include "server/observe/metrics.h"
#include "server/options.h"

namespace recurve {

// What all calls share. Outlives them.
struct CallContext {
  const ServerOptions* options = nullptr;
  Metrics* metrics = nullptr;
  Log* log = nullptr;
  Egress* egress = nullptr;
  std::atomic<Engine*> engine{nullptr};  // null while the model loads
  std::atomic<bool> draining{false};     // for the reason of a refusal
  std::atomic<bool> cutting{false};      // calls that are still open lose their connection
};

// The life of a call, each step on its own thread:
//   arrival    constructor                                        gRPC's thread
//   admission  Admit, or Refuse                                   an intake thread
//   tokens     OnPromptLogprobs, OnTokens, OnFinished: mailboxes  the engine's loop
//   writing    Pump: mailboxes to transport                       the egress thread
//   reactions  WriteDone, PeerGone, TransportDone                 gRPC's threads
// The transport's operations are called on the egress thread alone, without locks held: so no two
// overlap, and none but Abort comes after SendStatus. The engine and Egress keep the call alive.
//
// Each sample is a request of the engine with a mailbox of its own; the client, its slowness and
// its deadline are the call's. A stream takes the mailboxes in turns and ends with OK when all
// samples have; the one message of Complete is that of the most likely sample. The first sample
// that ends with an error ends the call with it, and the others are cancelled.
class Call : public EgressClient, public std::enable_shared_from_this<Call> {
 public:
  // What is known of a call when it arrives.
  struct Origin {
    std::string method;                  // "Generate" or "Complete"
    bool streams = true;                 // false: everything in one message at the end
    std::string id;                      // for log and client
    std::optional<std::string> tenant;   // that the client named
    std::optional<SteadyTime> deadline;  // of the call
    SteadyTime arrival;
  };

  Call(CallContext* context, Origin origin);
  ~Call() override;

  // Hands the client's request to the engine, or its error back; id, tenant and deadline are filled
  // in here. Exactly one of these two, once.
  void Admit(absl::StatusOr<Request> request);
  void Refuse(absl::Status status, Rejection why);

  void Pump() override;
  void CheckStall(SteadyTime now) override;

  SteadyTime arrival() const { return origin_.arrival; }

 protected:
  // The transport's operations. SendDelta: when `streams`, WriteDone follows and only then the next
  // one. SendStatus: how the call ends; TransportDone follows. Abort: the call ends as cancelled;
  // after SendStatus it is called with the lock held, so that TransportDone waits for it.
  virtual void SendDelta(const Delta& delta, const Echo& echo) = 0;
  virtual void SendStatus(const absl::Status& status) = 0;
  virtual void Abort() = 0;

  // The transport's reactions. PeerGone: client or deadline cancelled the call.
  void WriteDone(bool ok);
  void PeerGone();
  void TransportDone();

  const std::string& id() const { return origin_.id; }
  CallContext* context() const { return context_; }

 private:
  class SampleSink;
  enum class Step { kNothing, kWrite, kEnd, kAbort, kCancelRest };
  enum class Phase { kArrived, kAdmitted, kRefused };

  // Of the samples' sinks.
  void OnPromptLogprobs(uint32_t sample, std::vector<PositionLogprobs> logprobs);
  void OnTokens(uint32_t sample, std::vector<TokenEvent> tokens, uint32_t generated_tokens);
  void OnFinished(uint32_t sample, Finish finish);

  absl::StatusOr<Engine::Started> Start(absl::StatusOr<Request> given, Rejection* why);
  std::vector<std::shared_ptr<RequestSink>> MakeSinks(const Request& request);
  Step NextStep(Delta* delta, absl::Status* status);
  std::optional<uint32_t> NextSample() const;
  void TakeMail(uint32_t sample, Delta* delta);
  void DropMail(Mailbox* mailbox);
  void DropAllMail();
  void AddBacklog(ptrdiff_t tokens);
  absl::Status CheckStillWanted();
  absl::Status GoneStatus() const;
  void ObserveTokens(const Mailbox& mailbox, SteadyTime now, uint32_t generated_tokens);
  void Abandon();
  void RecordEnd();
  std::string_view TerminalReason() const;

  CallContext* const context_;
  const Origin origin_;

  std::mutex mutex_;  // guards what follows
  Phase phase_ = Phase::kArrived;
  absl::Status refusal_;
  Rejection rejection_ = Rejection::kInvalid;
  Engine::RequestId engine_id_ = 0;  // of sample 0; the others' follow
  uint64_t seed_ = 0;
  uint32_t prompt_tokens_ = 0;
  // Samples.
  std::vector<Mailbox> samples_;
  uint32_t unfinished_ = 0;
  uint32_t told_ = 0;      // the sample whose mail went out last
  ptrdiff_t backlog_ = 0;  // of a stream: tokens in all mailboxes
  absl::Status failure_;   // of the first sample that did not end with OK
  bool rest_cancelled_ = false;
  std::optional<SteadyTime> first_token_;  // arrival here, of any sample
  // Transport.
  bool writing_ = false;
  SteadyTime handed_over_;  // when the transport was last given a message or the status
  bool peer_gone_ = false;
  bool deadline_passed_ = false;
  std::optional<StallCause> stalled_;  // why we gave up on the client
  bool aborted_ = false;
  bool ended_ = false;  // SendStatus was called, with code_
  absl::StatusCode code_ = absl::StatusCode::kUnknown;
  bool done_ = false;  // the transport has let go
  bool recorded_ = false;
};

}  // namespace recurve

#endif  // RECURVE_SERVER_CALL_CALL_H_
