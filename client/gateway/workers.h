// SPDX-License-Identifier: Apache-2.0
#ifndef RECURVE_CLIENT_GATEWAY_WORKERS_H_
#define RECURVE_CLIENT_GATEWAY_WORKERS_H_

#include <deque>
#include <functional>
#include <thread>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"

namespace recurve::gateway {

// Threads for what blocks: short calls of the server, templates, large bodies. Thread-safe. As many
// jobs may wait as are given, which is bounded by the connections that they come from.
class Workers {
 public:
  explicit Workers(int threads) {
    for (int i = 0; i < threads; ++i) threads_.emplace_back([this] { Run(); });
  }
  // Waits until all jobs are done.
  ~Workers() {
    {
      const absl::MutexLock lock(&mutex_);
      ending_ = true;
      changed_.SignalAll();
    }
    for (std::thread& thread : threads_) thread.join();
  }

  void Post(std::function<void()> job) {
    const absl::MutexLock lock(&mutex_);
    jobs_.push_back(std::move(job));
    changed_.Signal();
  }

 private:
  void Run() {
    while (true) {
      std::function<void()> job;
      {
        const absl::MutexLock lock(&mutex_);
        while (jobs_.empty() && !ending_) changed_.Wait(&mutex_);
        if (jobs_.empty()) return;
        job = std::move(jobs_.front());
        jobs_.pop_front();
      }
      job();
    }
  }

  absl::Mutex mutex_;
  absl::CondVar changed_;
  std::deque<std::function<void()>> jobs_ ABSL_GUARDED_BY(mutex_);
  bool ending_ ABSL_GUARDED_BY(mutex_) = false;
  std::vector<std::thread> threads_;
};

}  // namespace recurve::gateway

#endif  // RECURVE_CLIENT_GATEWAY_WORKERS_H_
