// SPDX-License-Identifier: Apache-2.0
// The states of a Generate or Complete call: what each event makes of it, and what is to be done
// then. Knows neither threads nor a clock; Call has both.
#ifndef RECURVE_SERVER_CALL_CALL_STATE_H_
#define RECURVE_SERVER_CALL_CALL_STATE_H_

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "engine/engine.h"
#include "server/call/call_record.h"
#include "server/call/delta.h"
#include "server/call/mailbox.h"
#include "server/observe/labels.h"
#include "server/options.h"

namespace recurve {

// One message to the client.
struct Message {
  Delta delta;
  Echo echo;
  std::optional<std::chrono::nanoseconds> waited;  // of a stream: its oldest token, for its turn
};

// Of tokens that came from the engine.
struct TokenTimes {
  std::optional<std::chrono::nanoseconds> first;  // since the call came; of its very first token
  std::optional<std::chrono::nanoseconds> gap;    // since the sample's tokens before
  uint32_t tokens = 0;                            // that came after `gap` together
};

// What an event asks of Call, to be done in this order. The actions of the transport (abort, write,
// status) come from Next and Tick alone.
struct CallActions {
  TokenTimes observe;
  std::optional<CallRecord> record;
  std::optional<StallCause> abort;       // the transport ends the call as cancelled, for this cause
  std::vector<Engine::SampleId> cancel;  // samples for whom nobody waits any more
  std::optional<Message> write;
  std::optional<absl::Status> status;  // the transport ends the call with it
  bool wake = false;                   // Next may have something to do
};

// A call is three things at once: a request to the engine, a transport that takes its messages, and
// a client at the other end.
//
//   request                        transport                      client
//
//   ARRIVED --Refused--> REFUSED   IDLE ------(write)--> WRITING   THERE -------PeerGone--> GONE
//      |                            |  <--WriteDone--------+         |                      ^  ^
//      | Admitted                   |                                | too slow             |  |
//      v                            | (status)                       v                      |  |
//   ADMITTED                        v                              STALLED -----PeerGone----+  |
//      |                           ENDED                             |                         |
//      | the last SampleEnded       |                                | (abort)                 |
//      v                            | Done                           v                         |
//   all samples have ended          v                              ABORTED -----PeerGone-------+
//                                  DONE
//
// In parentheses: what Next does, or Tick for an ended call. A stream goes from IDLE to WRITING and
// back with each message; the one message of a Complete call goes out with its status. A client is
// too slow when a write, or the end of the call, takes the stall timeout, or when more tokens than
// the buffer may hold wait behind a write.
//
// What Next does while the transport is IDLE; while it is WRITING it aborts and cancels alone:
//
//   request \ client           THERE                                 STALLED   ABORTED   GONE
//   ARRIVED                    nothing                               -         -         nothing
//   REFUSED                    status: the refusal                   -         -         status
//   ADMITTED                   write the next sample's news if any   abort     nothing   status
//   all samples have ended     that, or the status if there are none abort     nothing   status
//
// Each sample is a request of the engine with a mailbox of its own; client, slowness and deadline
// are the call's. A stream takes the mailboxes in turns and ends with OK when all samples have; the
// one message of Complete is that of the most likely sample. The first sample that ends with an
// error ends the call with it. Whenever the call cannot end well any more, the samples that still
// run are cancelled, once.
//
// The record comes once the engine has ended all samples: of a stream as soon as its status is
// decided, so that a client that knows of its end finds it in the metrics; of a Complete call,
// whose answer goes out with the status, when that has arrived or never will.
//
// Thread-compatible. The times of events never fall.
class CallState {
 public:
  // `origin` must outlive this.
  CallState(const CallOrigin& origin, const StreamOptions& limits);

  // Whether anybody waits for the call still: OK, or the status that it ends with.
  absl::Status Wanted(SteadyTime now) const;

  // ---- The request ----

  // The engine is about to be given the request: from now on its samples may tell something.
  void Submitted(uint32_t samples, uint64_t seed);
  // Exactly one of these, once.
  CallActions Admitted(const Engine::Accepted& started);
  CallActions Refused(absl::Status status, Rejection why);

  // News of a sample. None of these asks for anything but `observe` and `wake`.
  void PromptLogprobsCame(uint32_t sample, std::vector<PositionLogprobs> logprobs, SteadyTime now);
  CallActions TokensCame(uint32_t sample, std::span<const TokenEvent> tokens,
                         uint32_t generated_tokens, SteadyTime now);
  CallActions SampleEnded(uint32_t sample, Finish finish);

  // The engine is stuck: what samples have not told by now they never will, and end as Unavailable.
  // May come again.
  void EngineLost(SteadyTime now);

  // ---- Transport and client ----

  // A stream's write has ended; not `ok`: because the call has.
  CallActions WriteDone(bool ok, SteadyTime now, bool cut);
  // The client or the deadline cancelled the call, or with `cut` the server's end.
  CallActions PeerGone(SteadyTime now, bool cut);
  // The transport has let go.
  CallActions Done();

  // ---- The egress thread ----

  // What can be done now.
  CallActions Next(SteadyTime now);
  // Next if the client has been too slow by now; otherwise nothing.
  CallActions Tick(SteadyTime now);

  bool ended() const { return code_.has_value(); }
  // Of a stream: tokens in all mailboxes. Those of a Complete call wait for the last, not for the
  // network.
  size_t backlog() const { return backlog_; }

 private:
  enum class RequestState { kArrived, kAdmitted, kRefused };
  enum class Transport { kIdle, kWriting, kEnded, kDone };
  enum class Client { kThere, kStalled, kAborted, kGone };

  void GiveUp(StallCause cause);
  void Write(uint32_t sample, SteadyTime now, CallActions* actions);
  void End(absl::Status status, SteadyTime now, CallActions* actions);
  std::vector<Engine::SampleId> CancelRunning();
  std::optional<CallRecord> TakeRecord();
  std::string_view TerminalReason() const;

  std::optional<uint32_t> NextSample() const;
  void DropMail(Mailbox* mailbox);
  void DropAllMail();
  TokenTimes NoteTimes(const Mailbox& mailbox, uint32_t generated_tokens, SteadyTime now);

  const CallOrigin& origin_;
  const StreamOptions limits_;

  // The request.
  RequestState request_ = RequestState::kArrived;
  absl::Status refusal_;
  Rejection rejection_ = Rejection::kInvalid;
  Engine::SampleId engine_id_ = 0;  // of sample 0; the others' follow
  uint64_t seed_ = 0;
  uint32_t prompt_tokens_ = 0;
  std::vector<Mailbox> samples_;
  uint32_t unfinished_ = 0;  // samples
  absl::Status failure_;     // of the first sample that did not end with OK
  bool cancelled_ = false;   // those that still ran then
  std::optional<SteadyTime> first_token_;
  size_t backlog_ = 0;

  Transport transport_ = Transport::kIdle;
  uint32_t told_ = 0;       // the sample whose news went out last
  SteadyTime handed_over_;  // when the transport was last given a message or the status
  std::optional<absl::StatusCode> code_;  // of the status, once that is decided
  bool recorded_ = false;

  Client client_ = Client::kThere;
  std::optional<StallCause> stalled_;  // why we gave up on the client
  absl::Status gone_;                  // what to say of a client that is gone
};

}  // namespace recurve

#endif  // RECURVE_SERVER_CALL_CALL_STATE_H_
