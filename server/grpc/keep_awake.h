// SPDX-License-Identifier: Apache-2.0
// Keeps an idle server quick. The threads that poll for gRPC's callback API nap for 100 ms between
// polls when nothing happens, and a call that comes then waits as long; a small call a few times a
// second keeps them from it. What it is answered says nothing: see self_check.h for that.
#ifndef RECURVE_SERVER_GRPC_KEEP_AWAKE_H_
#define RECURVE_SERVER_GRPC_KEEP_AWAKE_H_

#include <memory>
#include <thread>

#include "engine/base/mutex.h"

namespace grpc {
class Channel;
}

namespace recurve {

// Owns a thread that calls the server's own health service until destroyed. Destroy it before the
// server shuts down.
class KeepAwake {
 public:
  explicit KeepAwake(std::shared_ptr<grpc::Channel> channel);
  ~KeepAwake();

 private:
  void Run();

  const std::shared_ptr<grpc::Channel> channel_;
  Mutex mutex_;
  CondVar stop_;
  bool stopping_ ABSL_GUARDED_BY(mutex_) = false;
  std::thread thread_;  // last: starts when the rest is there
};

}  // namespace recurve

#endif  // RECURVE_SERVER_GRPC_KEEP_AWAKE_H_
