// SPDX-License-Identifier: Apache-2.0
// How calls get in, whatever the service they belong to: who makes them is judged; generating ones
// wait for a thread that admits them, short ones are answered at once or wait for a thread that
// tokenizes.
#ifndef RECURVE_SERVER_GRPC_DOORWAY_H_
#define RECURVE_SERVER_GRPC_DOORWAY_H_

#include <google/protobuf/repeated_field.h>

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "engine/engine.h"
#include "server/call/call.h"
#include "server/call/intake.h"
#include "server/grpc/authenticator.h"
#include "server/grpc/request_from_proto.h"
#include "server/observe/labels.h"

namespace grpc {
class CallbackServerContext;
class ServerUnaryReactor;
}  // namespace grpc

namespace recurve {

// A generating call that has come: who makes it, or why nobody may, and what is known of it.
struct Arrival {
  absl::Status allowed;
  CallOrigin origin;
};

// A prompt for the log, which a long one must not fill.
std::string PromptForLog(const std::string& text);
std::string PromptForLog(const google::protobuf::RepeatedField<uint32_t>& ids);

// Thread-safe. What it is given must outlive it.
class Doorway {
 public:
  Doorway(CallContext* context, Intake* intake, const Authenticator* authenticator)
      : context_(context), intake_(intake), authenticator_(authenticator) {}

  // Null while the model loads.
  const Engine* engine() const { return context_->engine.load(std::memory_order_acquire); }
  CallContext* context() const { return context_; }

  // Who calls, or why nobody may.
  absl::StatusOr<Caller> Judge(const grpc::CallbackServerContext& grpc_context) const {
    return authenticator_->Judge(grpc_context);
  }

  // Of a generating call. `prompt` says the prompt for the log, where that is to have it.
  Arrival Meet(const grpc::CallbackServerContext& grpc_context, std::string method, bool streams,
               const std::function<std::string()>& prompt) const;

  // Lets a generating call in: opens it, and has `translate` run and its result admitted on an
  // intake thread; or refuses it, because its caller may not call (`allowed`), `check` says so, its
  // tenant is over a quota, or too many wait. `bytes`: of its text. gRPC keeps what it has read
  // until the call is done, and no call is done before it was admitted or refused.
  void Begin(const std::shared_ptr<Call>& call, const absl::Status& allowed, size_t bytes,
             const std::function<absl::Status()>& check,
             std::function<absl::StatusOr<Request>()> translate);

  // What can be said of any generating call before its prompt is tokenized: of its id, and of a
  // prompt of that size. INVALID_ARGUMENT.
  absl::Status Check(const grpc::CallbackServerContext& grpc_context, const PromptSize& size) const;

  // Finishes a short call with what `answer` says of the engine; returns the reactor. Such calls
  // ask how things are, again and again: they are counted, and not logged.
  grpc::ServerUnaryReactor* Answer(grpc::CallbackServerContext* grpc_context,
                                   const std::string& method,
                                   const std::function<absl::Status(const Engine&)>& answer) const;

  // The same on an intake thread, for calls that bring work: these are logged, without what they
  // bring, and told their id and the fingerprint.
  grpc::ServerUnaryReactor* AnswerLater(grpc::CallbackServerContext* grpc_context,
                                        const std::string& method, size_t bytes,
                                        std::function<absl::Status(const Engine&)> answer);

  // As Answer, for any state of the engine: `answer` is told who calls.
  grpc::ServerUnaryReactor* AnswerAlways(
      grpc::CallbackServerContext* grpc_context, const std::string& method,
      const std::function<absl::Status(const Caller&)>& answer) const;

  // Has a short call's work that blocks, of so many bytes, done on an intake thread; or why not.
  absl::Status Later(size_t bytes, std::function<void()> job) {
    return Post(TextKind::kTool, bytes, std::move(job)) ? absl::OkStatus() : TooBusy();
  }

 private:
  bool Post(TextKind kind, size_t bytes, std::function<void()> job);
  absl::Status TooBusy() const;
  absl::Status Ask(const std::function<absl::Status(const Engine&)>& answer) const;
  void Finish(grpc::ServerUnaryReactor* reactor, const std::string& method,
              const absl::Status& status) const;

  CallContext* const context_;
  Intake* const intake_;
  const Authenticator* const authenticator_;
};

}  // namespace recurve

#endif  // RECURVE_SERVER_GRPC_DOORWAY_H_
