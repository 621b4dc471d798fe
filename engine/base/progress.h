// SPDX-License-Identifier: Apache-2.0
#ifndef RECURVE_ENGINE_BASE_PROGRESS_H_
#define RECURVE_ENGINE_BASE_PROGRESS_H_

#include <algorithm>
#include <cstdint>
#include <string>
#include <utility>

#include "absl/base/thread_annotations.h"
#include "engine/base/mutex.h"

namespace recurve {

// How far long work is, told by whoever does it and read by whoever shows it. Thread-safe.
class Progress {
 public:
  struct State {
    std::string what;    // is being done; empty: nothing has begun
    uint64_t done = 0;   // at most `total`
    uint64_t total = 0;  // in units of the work's own
  };

  // The next part of the work begins.
  void Begin(std::string what, uint64_t total) {
    const MutexLock lock(mutex_);
    state_ = {std::move(what), 0, total};
  }

  // So many more units of it are done.
  void Add(uint64_t units) {
    const MutexLock lock(mutex_);
    state_.done += std::min(units, state_.total - state_.done);
  }

  State Get() {
    const MutexLock lock(mutex_);
    return state_;
  }

 private:
  Mutex mutex_;
  State state_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace recurve

#endif  // RECURVE_ENGINE_BASE_PROGRESS_H_
