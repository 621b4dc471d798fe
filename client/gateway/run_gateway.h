// SPDX-License-Identifier: Apache-2.0
// A gateway process from its first line to its exit code.
#ifndef RECURVE_CLIENT_GATEWAY_RUN_GATEWAY_H_
#define RECURVE_CLIENT_GATEWAY_RUN_GATEWAY_H_

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "client/gateway/options.h"
#include "server/observe/log.h"

namespace recurve::gateway {

inline constexpr int kExitOk = 0;
inline constexpr int kExitCannotStart = 1;
inline constexpr int kExitBadFlags = 2;

// A signal's word to the thread that waits for it. Thread-safe.
class StopSign {
 public:
  void Give() {
    const absl::MutexLock lock(&mutex_);
    given_ = true;
    changed_.SignalAll();
  }
  void Wait() {
    const absl::MutexLock lock(&mutex_);
    while (!given_) changed_.Wait(&mutex_);
  }

 private:
  absl::Mutex mutex_;
  absl::CondVar changed_;
  bool given_ ABSL_GUARDED_BY(mutex_) = false;
};

// Listens at once, whether servers are there or not, serves until `stop` is given, then
//   grace      goes on, with /readyz at 503, for drain_grace
//   draining   takes no connection any more; calls go on for drain_budget, then they are cancelled
// and returns the exit code.
int RunGateway(const GatewayOptions& options, StopSign* stop, Log* log);

}  // namespace recurve::gateway

#endif  // RECURVE_CLIENT_GATEWAY_RUN_GATEWAY_H_
