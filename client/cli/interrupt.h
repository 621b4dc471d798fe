// SPDX-License-Identifier: Apache-2.0
// SIGINT and SIGTERM as a question to come to an end, with what there is.
#ifndef RECURVE_CLIENT_CLI_INTERRUPT_H_
#define RECURVE_CLIENT_CLI_INTERRUPT_H_

#include <atomic>
#include <chrono>
#include <optional>
#include <stop_token>
#include <thread>

namespace recurve::client {

// What a signal means. A further one within a second of the first means nothing: GNU timeout sends
// SIGTERM twice, and a terminal's Ctrl-C may reach a process from its shell too.
class InterruptRule {
 public:
  using Time = std::chrono::steady_clock::time_point;
  enum class Meaning { kStop, kNothing, kEndAtOnce };

  Meaning Hear(Time now);

 private:
  std::optional<Time> first_;
};

// From construction to destruction the first SIGINT or SIGTERM requests a stop, and a later one
// ends the process at once with 128 and the signal's number. A signal that was ignored at
// construction stays so. After a stop the destructor leaves them ignored, since the process is
// about to end. One at a time.
class Interrupt {
 public:
  Interrupt();
  ~Interrupt();
  Interrupt(const Interrupt&) = delete;
  Interrupt& operator=(const Interrupt&) = delete;

  std::stop_token stop() const { return stop_.get_token(); }
  // The signal that requested the stop; 0: none.
  int signal() const { return signal_; }

 private:
  void Watch(int signals);

  std::stop_source stop_;
  std::atomic<int> signal_ = 0;
  std::thread watcher_;
};

}  // namespace recurve::client

#endif  // RECURVE_CLIENT_CLI_INTERRUPT_H_
