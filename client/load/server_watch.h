// SPDX-License-Identifier: Apache-2.0
#ifndef RECURVE_CLIENT_LOAD_SERVER_WATCH_H_
#define RECURVE_CLIENT_LOAD_SERVER_WATCH_H_

#include <chrono>
#include <cstdint>
#include <optional>
#include <thread>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "client/load/server_delta.h"
#include "client/load/target.h"

namespace recurve::client {

// Asks a server how it is before a load, every `every` meanwhile, and after it. Thread-compatible.
class ServerWatch {
 public:
  explicit ServerWatch(Target& target, std::chrono::milliseconds every = std::chrono::seconds(1));
  ~ServerWatch();

  // Once, after the load. None if the server does not tell, or was started anew.
  std::optional<ServerDelta> End();

 private:
  void KeepAsking(std::chrono::milliseconds every);

  Target& target_;
  std::optional<v1::GetLoadResponse> before_;
  absl::Mutex mutex_;
  bool ending_ ABSL_GUARDED_BY(mutex_) = false;
  ServerPeaks peaks_ ABSL_GUARDED_BY(mutex_);
  std::thread asking_;  // if the server tells
};

}  // namespace recurve::client

#endif  // RECURVE_CLIENT_LOAD_SERVER_WATCH_H_
