// SPDX-License-Identifier: Apache-2.0
// The engine: tokens for requests. With the plain types of engine/api all that server/ includes of
// engine/.
#ifndef RECURVE_ENGINE_ENGINE_H_
#define RECURVE_ENGINE_ENGINE_H_

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "engine/api/options.h"
#include "engine/api/output.h"
#include "engine/api/request.h"
#include "engine/api/snapshot.h"
#include "engine/base/progress.h"
#include "engine/base/steady_time.h"
#include "engine/base/token_id.h"

namespace recurve {

// Thread-safe. Owns the model, the tokenizer, the backend, the schedule and the thread of the step
// loop, which alone runs steps and calls sinks. No call waits for a step but Drain and the
// destructor.
class Engine {
 public:
  using SampleId = uint64_t;

  // A request that was accepted.
  struct Accepted {
    SampleId id;  // of sample 0; the ids of the others follow one by one
    uint32_t prompt_tokens;
  };

  // Loads the model, telling `progress`, if it is not null, how far that is, and starts the step
  // loop's thread. InvalidArgument names the option, the value and what is allowed.
  static absl::StatusOr<std::unique_ptr<Engine>> Create(
      const EngineOptions& options, std::shared_ptr<Progress> progress = nullptr);

  virtual ~Engine() = default;

  // Validates and queues all samples, or none. On success `sink` hears of each sample until
  // OnFinished. InvalidArgument: field, value, limit; ResourceExhausted: the queue that is full and
  // its limit; Unavailable: draining or failed. On failure the sink hears nothing.
  virtual absl::StatusOr<Accepted> Start(Request request, std::shared_ptr<RequestSink> sink) = 0;

  // Ends one sample with Cancelled before the next step. Unknown and finished ids are ignored.
  virtual void Cancel(SampleId id) = 0;

  // Refuses new requests from now on and ends those that still wait or run at `until` with
  // kDrained. Returns when none is left, or the engine has failed.
  virtual void Drain(SteadyTime until) = 0;

  // Blocks until the engine has failed (its status) or StopWaiting was called (OK). After a failed
  // step all samples end with Unavailable. After one that has not come back within step_timeout no
  // sink is called any more, but for a call that is under way, EngineSnapshot::stuck is true, and
  // destruction would wait for that step: its owner leaves the process instead.
  virtual absl::Status WaitForFailure() = 0;
  // Lets calls of WaitForFailure return, those to come as well. A thread that calls it is joined
  // between this and the engine's destruction.
  virtual void StopWaiting() = 0;

  virtual EngineSnapshot Snapshot() const = 0;
  virtual const EngineInfo& Info() const = 0;

  virtual absl::StatusOr<std::vector<TokenId>> Tokenize(std::string_view text,
                                                        bool add_special_tokens) const = 0;
  virtual absl::StatusOr<std::string> Detokenize(const std::vector<TokenId>& ids,
                                                 bool skip_special_tokens) const = 0;
  // One token alone, decoded.
  virtual std::string TokenText(TokenId id) const = 0;
};

}  // namespace recurve

#endif  // RECURVE_ENGINE_ENGINE_H_
