// SPDX-License-Identifier: Apache-2.0
// The model behind the gateway, and whether its servers take calls.
#ifndef RECURVE_CLIENT_GATEWAY_MODEL_WATCH_H_
#define RECURVE_CLIENT_GATEWAY_MODEL_WATCH_H_

#include <chrono>
#include <functional>
#include <memory>
#include <thread>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/synchronization/mutex.h"
#include "client/client.h"

namespace recurve::gateway {

using ModelInfo = v1::GetModelInfoResponse;

// Asks the servers again and again, from a thread of its own, so that a model that is replaced, and
// servers that go, are noticed. Thread-safe.
class ModelWatch {
 public:
  static constexpr std::chrono::seconds kEvery{5};
  static constexpr std::chrono::milliseconds kEveryWithout{500};  // while no server answers
  static constexpr std::chrono::seconds kPatience{5};             // with one answer

  // `options`: of the gateway's own calls. `on_change` hears, on that thread, of each change of
  // whether servers take calls, with why not.
  ModelWatch(client::Client* client, client::CallOptions options,
             std::function<void(const absl::Status&)> on_change);
  ~ModelWatch();

  // The model as last heard of; Unavailable, with the reason, until a server has told.
  absl::StatusOr<std::shared_ptr<const ModelInfo>> model() const;
  // Whether a server took calls when last asked.
  bool ready() const;

 private:
  void Run();
  absl::Status Ask();

  client::Client* const client_;
  const client::CallOptions options_;
  const std::function<void(const absl::Status&)> on_change_;

  mutable absl::Mutex mutex_;
  absl::CondVar changed_;
  std::shared_ptr<const ModelInfo> model_ ABSL_GUARDED_BY(mutex_);
  absl::Status status_ ABSL_GUARDED_BY(mutex_) =
      absl::UnavailableError("no server has answered yet");
  bool ending_ ABSL_GUARDED_BY(mutex_) = false;
  std::thread thread_;  // last: uses the rest
};

}  // namespace recurve::gateway

#endif  // RECURVE_CLIENT_GATEWAY_MODEL_WATCH_H_
