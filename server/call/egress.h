// SPDX-License-Identifier: Apache-2.0
// The thread that writes to clients, so that the engine's step loop never does: a write does the
// transport's work in the thread that starts it.
#ifndef RECURVE_SERVER_CALL_EGRESS_H_
#define RECURVE_SERVER_CALL_EGRESS_H_

#include <atomic>
#include <memory>
#include <thread>
#include <unordered_map>
#include <vector>

#include "engine/base/mutex.h"
#include "engine/base/steady_time.h"
#include "server/options.h"

namespace recurve {

// What the egress thread serves: one call, from its arrival to the transport's last word on it.
class EgressClient {
 public:
  virtual ~EgressClient() = default;
  // Does what can be done now without waiting. On the egress thread.
  virtual void Pump() = 0;
  // Gives up on a peer that has not taken a message for too long. On the egress thread.
  virtual void CheckStall(SteadyTime now) = 0;

 private:
  friend class Egress;
  std::atomic<bool> scheduled_{false};  // in the queue, so that a step's tokens enter it once
};

// Thread-safe. Owns the thread, and each open client until it is closed and the thread has let go
// of it.
class Egress {
 public:
  explicit Egress(const StreamOptions& options);
  ~Egress();  // pumps what is scheduled, then joins

  void Open(std::shared_ptr<EgressClient> client);
  // Lets go of it soon, on the egress thread, since its own method may be the caller.
  void Close(EgressClient* client);

  // Has `client` pumped soon. Cheap, and never blocks on a client.
  void Schedule(std::shared_ptr<EgressClient> client);

  // Has every open client pumped soon.
  void ScheduleAll();

  // How many clients are still open at `until`.
  size_t WaitUntilNoneOpen(SteadyTime until);

 private:
  void Run();
  void Sweep(SteadyTime now) ABSL_LOCKS_EXCLUDED(mutex_);
  std::vector<std::shared_ptr<EgressClient>> OpenClients() ABSL_LOCKS_EXCLUDED(mutex_);

  const std::chrono::nanoseconds sweep_every_;

  Mutex mutex_;
  CondVar work_;
  CondVar none_open_;
  std::vector<std::shared_ptr<EgressClient>> ready_ ABSL_GUARDED_BY(mutex_);
  std::unordered_map<EgressClient*, std::shared_ptr<EgressClient>> open_ ABSL_GUARDED_BY(mutex_);
  std::vector<std::shared_ptr<EgressClient>> closed_ ABSL_GUARDED_BY(mutex_);
  bool stopping_ ABSL_GUARDED_BY(mutex_) = false;

  std::thread thread_;  // last: starts when the rest is there
};

}  // namespace recurve

#endif  // RECURVE_SERVER_CALL_EGRESS_H_
