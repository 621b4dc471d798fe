// SPDX-License-Identifier: Apache-2.0
#ifndef RECURVE_TESTS_SIMT_REPORTS_H_
#define RECURVE_TESTS_SIMT_REPORTS_H_

#include <cstddef>
#include <string>
#include <utility>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "engine/base/mutex.h"

namespace recurve {

// What the checks of the emulator found, in the order in which they found it. The first report
// counts: later ones may be what comes of it. Thread-safe.
class Reports {
 public:
  static constexpr size_t kMost = 20;

  // Drops `report` when full.
  void Add(std::string report) {
    const MutexLock lock(mutex_);
    if (all_.size() < kMost) all_.push_back(std::move(report));
  }
  bool empty() const {
    const MutexLock lock(mutex_);
    return all_.empty();
  }
  bool full() const {
    const MutexLock lock(mutex_);
    return all_.size() >= kMost;
  }
  std::vector<std::string> all() const {
    const MutexLock lock(mutex_);
    return all_;
  }

 private:
  mutable Mutex mutex_;
  std::vector<std::string> all_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace recurve

#endif  // RECURVE_TESTS_SIMT_REPORTS_H_
