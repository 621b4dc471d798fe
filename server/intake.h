// SPDX-License-Identifier: Apache-2.0
// Threads for work too long for gRPC's own: a reaction must not block, and a prompt of a megabyte
// takes a while to tokenize.
#ifndef RECURVE_SERVER_INTAKE_H_
#define RECURVE_SERVER_INTAKE_H_

#include <condition_variable>
#include <deque>
#include <functional>
#include <mutex>
#include <thread>
#include <vector>

namespace recurve {

// Thread-safe. Runs jobs in order of arrival on a few threads.
class Intake {
 public:
  using Job = std::function<void()>;

  explicit Intake(size_t max_waiting);  // jobs that may wait for a thread
  ~Intake();                            // runs what waits, then joins

  // False, and the job is not run, if too many wait.
  bool Post(Job job);

 private:
  void Run();

  const size_t max_waiting_;
  std::mutex mutex_;  // guards what follows
  std::condition_variable work_;
  std::deque<Job> waiting_;
  bool stopping_ = false;

  std::vector<std::thread> threads_;  // last: they start when the rest is there
};

}  // namespace recurve

#endif  // RECURVE_SERVER_INTAKE_H_
