// SPDX-License-Identifier: Apache-2.0
// Threads for work too long for gRPC's own: a reaction must not block, and a text of a megabyte
// takes a while to tokenize.
#ifndef RECURVE_SERVER_CALL_INTAKE_H_
#define RECURVE_SERVER_CALL_INTAKE_H_

#include <array>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <list>
#include <optional>
#include <thread>

#include "engine/base/mutex.h"
#include "engine/base/steady_time.h"
#include "server/observe/labels.h"

namespace recurve {

// Thread-safe. Runs jobs on two threads, so that no text waits for a longer one's sake, and none
// for ever:
// - A text is short up to kShortBytes. One thread runs the jobs of short texts alone; the other
//   those of long ones, and of short ones while no long one waits.
// - Each thread takes prompts and texts of tools in turns, while both wait.
// - Of the texts of one kind and length a thread takes in turns the shortest and the one that came
//   first. So the shortest is taken after at most one other, and each after at most twice as many
//   as were there before it.
// The texts of each kind and length are bounded for themselves, in number and in bytes, so that
// none of them takes the place of another.
class Intake {
 public:
  using Job = std::function<void()>;
  static constexpr size_t kShortBytes = 64 << 10;  // takes a few milliseconds to tokenize

  // Of each kind and length so many jobs may wait for a thread, of so many bytes together; a single
  // one may have more.
  Intake(size_t max_waiting, uint64_t max_waiting_bytes);
  ~Intake();  // runs what waits, then joins

  // `bytes`: of the job's text, by which its time goes. False, and the job is not run, if as many
  // of its kind and length wait as may.
  bool Post(TextKind kind, size_t bytes, Job job);

  // Waits until no job waits or runs, or until `until`.
  void WaitUntilIdle(SteadyTime until);

 private:
  struct Waiting {
    size_t bytes;
    Job job;
  };
  struct Line {
    std::list<Waiting> waiting;  // in order of arrival
    uint64_t bytes = 0;          // of these
    bool shortest_next = true;   // else the one that came first
    Job Take();
  };
  struct Length {
    std::array<Line, kNumTextKinds> lines;  // by TextKind
    size_t next = 0;                        // the kind whose turn it is
    std::optional<Job> Take();
  };

  void Run(bool takes_long);
  std::optional<Job> Take(bool takes_long) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  const size_t max_waiting_;
  const uint64_t max_waiting_bytes_;
  Mutex mutex_;
  CondVar work_;
  Length short_ ABSL_GUARDED_BY(mutex_), long_ ABSL_GUARDED_BY(mutex_);
  CondVar idle_;
  size_t unfinished_ ABSL_GUARDED_BY(mutex_) = 0;  // jobs that wait or run
  bool stopping_ ABSL_GUARDED_BY(mutex_) = false;

  std::array<std::thread, 2> threads_;  // last: they start when the rest is there
};

}  // namespace recurve

#endif  // RECURVE_SERVER_CALL_INTAKE_H_
