// SPDX-License-Identifier: Apache-2.0
// One Generate or Complete call between the engine, which pushes the tokens of its samples, and its
// transport, which takes them as fast as the client reads. Knows nothing of gRPC and protobuf: the
// reactors in grpc/generation_service.cc derive from it.
#ifndef RECURVE_SERVER_CALL_CALL_H_
#define RECURVE_SERVER_CALL_CALL_H_

#include <atomic>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "engine/base/mutex.h"
#include "engine/engine.h"
#include "server/access/quotas.h"
#include "server/call/call_record.h"
#include "server/call/call_state.h"
#include "server/call/delta.h"
#include "server/call/egress.h"
#include "server/observe/labels.h"
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
  Quotas* quotas = nullptr;               // none: nothing is held against a quota
  std::atomic<Engine*> engine{nullptr};   // null while the model loads
  std::atomic<bool> draining{false};      // for the reason of a refusal
  std::atomic<bool> cutting{false};       // calls that are still open lose their connection
  std::atomic<bool> engine_stuck{false};  // the engine tells nothing more of any sample
};

// The life of a call, each step on its own thread:
//   arrival    constructor                                        gRPC's thread
//   admission  Admit, or Refuse                                   an intake thread
//   tokens     OnPromptLogprobs, OnTokens, OnFinished: mailboxes  the engine's loop
//   writing    Pump: mailboxes to transport                       the egress thread
//   reactions  WriteDone, PeerGone, TransportDone                 gRPC's threads
// CallState decides what each of them makes of the call and what is to be done then. Call holds the
// lock, reads the clock, and does what CallState asks for.
//
// The transport's operations are called on the egress thread alone, without the lock held: so no
// two overlap, and none but Abort comes after SendStatus. The engine and Egress keep the call
// alive.
class Call : public EgressClient, public RequestSink, public std::enable_shared_from_this<Call> {
 public:
  Call(CallContext* context, CallOrigin origin);
  ~Call() override;

  // Counts the call among its tenant's from now on. What this returns, but OK, the call is to be
  // refused with, for the reason `*why`. At most once, before anything else.
  absl::Status Enter(Rejection* why);

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
  std::string tenant() const { return origin_.tenant.value_or(""); }
  CallContext* context() const { return context_; }

 private:
  absl::Status OnPrepared(uint32_t prompt_tokens, uint32_t new_tokens) override;
  void OnStarted(uint32_t sample) override;
  void OnPromptLogprobs(uint32_t sample, std::vector<PositionLogprobs> logprobs) override;
  void OnTokens(uint32_t sample, std::span<const TokenEvent> tokens,
                uint32_t generated_tokens) override;
  void OnFinished(uint32_t sample, Finish finish) override;

  absl::StatusOr<Engine::Accepted> Start(absl::StatusOr<Request> given, Rejection* why);

  // Tells the state of an event, `event(state, now)`.
  template <typename Event>
  CallActions Tell(const Event& event) ABSL_LOCKS_EXCLUDED(mutex_);
  template <typename Event>
  CallActions TellLocked(const Event& event) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void Perform(const CallActions& actions);

  CallContext* const context_;
  const CallOrigin origin_;

  // Of whoever has the call: gRPC's thread, then the one that admits it, then the engine's loop. So
  // is what follows. Given back when the engine has ended all samples, before the client hears it.
  std::unique_ptr<Quotas::Lease> lease_;
  uint32_t samples_ = 0;  // that the engine has not ended
  Rejection over_quota_ = Rejection::kInvalid;
  bool prompt_ran_ = false;

  Mutex mutex_;
  CallState state_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace recurve

#endif  // RECURVE_SERVER_CALL_CALL_H_
