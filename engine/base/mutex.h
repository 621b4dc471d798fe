// SPDX-License-Identifier: Apache-2.0
// The standard library's locks with annotations, by which clang (-Wthread-safety) checks that what
// a mutex guards is used with it held. Abseil's Mutex has them too, but Debian builds it without
// ThreadSanitizer, which then sees races where there are none; client/, which never runs under it,
// uses Abseil's.
//
//   Mutex mutex_;
//   CondVar changed_;
//   int waiting_ ABSL_GUARDED_BY(mutex_) = 0;
//   void Count() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
#ifndef RECURVE_ENGINE_BASE_MUTEX_H_
#define RECURVE_ENGINE_BASE_MUTEX_H_

#include <condition_variable>
#include <mutex>

#include "absl/base/thread_annotations.h"
#include "engine/base/steady_time.h"

namespace recurve {

// Held by one thread at a time. MutexLock takes it.
class ABSL_LOCKABLE Mutex {
 public:
  Mutex() = default;
  Mutex(const Mutex&) = delete;
  Mutex& operator=(const Mutex&) = delete;

 private:
  friend class MutexLock;
  friend class CondVar;

  std::mutex mutex_;
};

// Holds `mutex` from construction to destruction, but for what is between Unlock and Lock.
class ABSL_SCOPED_LOCKABLE MutexLock {
 public:
  [[nodiscard]] explicit MutexLock(Mutex& mutex) ABSL_EXCLUSIVE_LOCK_FUNCTION(mutex)
      : lock_(mutex.mutex_) {}
  ~MutexLock() ABSL_UNLOCK_FUNCTION() = default;
  MutexLock(const MutexLock&) = delete;
  MutexLock& operator=(const MutexLock&) = delete;

  void Unlock() ABSL_UNLOCK_FUNCTION() { lock_.unlock(); }
  void Lock() ABSL_EXCLUSIVE_LOCK_FUNCTION() { lock_.lock(); }

 private:
  std::unique_lock<std::mutex> lock_;
};

// Threads that wait for a change of what a mutex guards. A wait releases the mutex meanwhile. It
// may also end without a notification, so the caller asks again for what it waits for:
//
//   while (waiting_ == 0) changed_.Wait(mutex_);
//   while (waiting_ == 0 && changed_.WaitUntil(mutex_, until)) {
//   }
//
// There is no wait with a predicate, since clang checks a lambda as a function that holds nothing.
class CondVar {
 public:
  void Wait(Mutex& mutex) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex) {
    std::unique_lock<std::mutex> lock(mutex.mutex_, std::adopt_lock);
    condition_.wait(lock);
    lock.release();  // the caller holds it on
  }

  // Waits until `until` at the latest; false if it waited that long.
  bool WaitUntil(Mutex& mutex, SteadyTime until) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex) {
    std::unique_lock<std::mutex> lock(mutex.mutex_, std::adopt_lock);
    const std::cv_status status = condition_.wait_until(lock, until);
    lock.release();  // the caller holds it on
    return status == std::cv_status::no_timeout;
  }

  void NotifyOne() { condition_.notify_one(); }
  void NotifyAll() { condition_.notify_all(); }

 private:
  std::condition_variable condition_;
};

}  // namespace recurve

#endif  // RECURVE_ENGINE_BASE_MUTEX_H_
