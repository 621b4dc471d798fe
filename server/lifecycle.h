// SPDX-License-Identifier: Apache-2.0
// A server process from its first line to its exit code.
#ifndef RECURVE_SERVER_LIFECYCLE_H_
#define RECURVE_SERVER_LIFECYCLE_H_

#include <functional>
#include <memory>
#include <optional>

#include "absl/status/statusor.h"
#include "engine/base/mutex.h"
#include "engine/engine.h"
#include "server/observe/log.h"
#include "server/options.h"

namespace recurve {

inline constexpr int kExitOk = 0;
inline constexpr int kExitCannotStart = 1;
inline constexpr int kExitBadFlags = 2;
inline constexpr int kExitEngineFailed = 70;  // EX_SOFTWARE of sysexits

// What the process waits for. Thread-safe.
class Events {
 public:
  void Stop();                       // a signal asks the server to end
  void Loaded(absl::Status status);  // the model is there, or cannot be
  void Failed();                     // the engine has, and says why itself

  struct State {
    bool stop = false;
    std::optional<absl::Status> loaded;
    bool failed = false;
  };
  // Waits until `wanted` says true of the state or the time has come.
  State WaitUntil(SteadyTime until, const std::function<bool(const State&)>& wanted);
  State Wait(const std::function<bool(const State&)>& wanted);

 private:
  Mutex mutex_;
  CondVar changed_;
  State state_ ABSL_GUARDED_BY(mutex_);
};

// As Engine::Create.
using EngineFactory = std::function<absl::StatusOr<std::unique_ptr<Engine>>(
    const EngineOptions& options, std::shared_ptr<Progress> progress)>;

// Listens, loads, serves, drains after events->Stop(), and returns the exit code:
//   loading   health NOT_SERVING, requests UNAVAILABLE; progress in the log
//   serving
//   grace     health NOT_SERVING, requests still accepted, for drain.grace
//   draining  new requests UNAVAILABLE; running ones go on for drain.budget, then end as DRAINED
//   flushing  clients take their last messages, for drain.flush and at most stream.stall_timeout
// A failed engine ends every phase: its requests have ended as UNAVAILABLE by then, and health is
// NOT_SERVING for liveness too. A stop while
// the model loads ends the process at once, since loading cannot be interrupted.
int RunServer(const ServerOptions& options, const EngineFactory& make_engine, Events* events,
              Log* log);

}  // namespace recurve

#endif  // RECURVE_SERVER_LIFECYCLE_H_
