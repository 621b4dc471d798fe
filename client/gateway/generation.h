// SPDX-License-Identifier: Apache-2.0
// The streams of one HTTP call, one for each of its prompts: all of them, or none.
#ifndef RECURVE_CLIENT_GATEWAY_GENERATION_H_
#define RECURVE_CLIENT_GATEWAY_GENERATION_H_

#include <cstddef>
#include <functional>
#include <memory>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/synchronization/mutex.h"
#include "client/client.h"
#include "client/gateway/workers.h"

namespace recurve::gateway {

// The first stream that ends with an error ends the others. Thread-safe. Owns itself until all its
// streams have ended.
class Generation : public std::enable_shared_from_this<Generation> {
 public:
  // As Client::StartGenerate has it; `prompt`: whose message. One at a time.
  using OnMessage = std::function<bool(size_t prompt, const v1::GenerateResponse& message,
                                       client::MessageReader& reader)>;
  // Once, after the last message.
  using OnEnd = std::function<void(const absl::Status&)>;

  // `client` and `workers`, on which the streams are destroyed, outlive it.
  static std::shared_ptr<Generation> Start(client::Client* client, Workers* workers,
                                           const std::vector<v1::GenerateRequest>& requests,
                                           const client::CallOptions& options, OnMessage on_message,
                                           OnEnd on_end);

  void Cancel() { Fail(absl::CancelledError("the client has gone")); }

 private:
  Generation(Workers* workers, OnMessage on_message, OnEnd on_end)
      : workers_(workers), on_message_(std::move(on_message)), on_end_(std::move(on_end)) {}
  void Fail(const absl::Status& status);
  void Ended(const absl::Status& status);

  Workers* const workers_;
  absl::Mutex delivering_;
  const OnMessage on_message_ ABSL_GUARDED_BY(delivering_);
  const OnEnd on_end_;

  absl::Mutex mutex_;
  std::vector<std::unique_ptr<client::Stream>> streams_ ABSL_GUARDED_BY(mutex_);
  size_t running_ ABSL_GUARDED_BY(mutex_) = 1;   // streams, and that which starts them
  absl::Status status_ ABSL_GUARDED_BY(mutex_);  // the first error
};

}  // namespace recurve::gateway

#endif  // RECURVE_CLIENT_GATEWAY_GENERATION_H_
