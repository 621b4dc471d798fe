// SPDX-License-Identifier: Apache-2.0
// Threads that run one function together: the whole of a step, with barriers between its parts.
#ifndef RECURVE_ENGINE_BACKEND_CPU_THREAD_TEAM_H_
#define RECURVE_ENGINE_BACKEND_CPU_THREAD_TEAM_H_

#include <atomic>
#include <cstdint>
#include <memory>
#include <thread>
#include <vector>

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace recurve {

// A fixed team of threads, of which the caller of Run is thread 0; a team of one starts no thread.
// Inside a Run the threads wait for each other by spinning (and yield after a while, should there
// be more of them than processors); between Runs the others soon sleep and use no processor.
// Thread-compatible: Run is called by one thread at a time, and never from inside a Run.
class ThreadTeam {
 public:
  // RESOURCE_EXHAUSTED when the system starts no more threads. Precondition: threads >= 1.
  static absl::StatusOr<std::unique_ptr<ThreadTeam>> Create(uint32_t threads);
  ~ThreadTeam();
  ThreadTeam(const ThreadTeam&) = delete;
  ThreadTeam& operator=(const ThreadTeam&) = delete;

  uint32_t size() const { return size_; }

  // Calls fn(0) on this thread and fn(1) .. fn(size() - 1) on the others, all under ScopedFloatEnv,
  // and returns when all have returned. What the caller wrote before is visible to every fn, and
  // what they wrote is visible to the caller after. Allocates nothing.
  void Run(absl::FunctionRef<void(uint32_t thread)> fn);

  // Inside Run, called by every thread equally often with its own number: returns when all have
  // called it. What any thread wrote before its call is visible to all after theirs.
  void Barrier(uint32_t thread);

 private:
  // Each thread writes its own arrivals and reads those of the others.
  struct alignas(128) Flag {
    std::atomic<uint32_t> arrivals{0};
  };

  explicit ThreadTeam(uint32_t threads);
  absl::Status Start();
  void Work(uint32_t thread);

  const uint32_t size_;
  const std::unique_ptr<Flag[]> flags_;  // [size_]
  // Counts Runs; written by the caller of Run, waited for by the others.
  alignas(128) std::atomic<uint32_t> runs_{0};
  // Written before runs_ is raised, read after: the function of the current Run; null: return.
  const absl::FunctionRef<void(uint32_t)>* fn_ = nullptr;
  std::vector<std::thread> threads_;  // [size_ - 1] once all have started
};

}  // namespace recurve

#endif  // RECURVE_ENGINE_BACKEND_CPU_THREAD_TEAM_H_
