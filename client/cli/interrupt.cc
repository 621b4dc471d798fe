// SPDX-License-Identifier: Apache-2.0
#include "client/cli/interrupt.h"

#include <unistd.h>

#include <array>
#include <cerrno>
#include <csignal>
#include <cstdlib>

namespace recurve::client {
namespace {

constexpr std::array kSignals = {SIGINT, SIGTERM};

// Writing end of the pipe from the handler to the watcher.
volatile int pipe_to_watcher = -1;

// Calls nothing that a handler may not.
extern "C" void TellWatcher(int signal) {
  const int error = errno;
  const auto number = static_cast<unsigned char>(signal);
  [[maybe_unused]] const ssize_t written = write(pipe_to_watcher, &number, 1);
  errno = error;
}

void Handle(void (*handler)(int)) {
  for (const int signal : kSignals) {
    struct sigaction action = {};
    sigaction(signal, nullptr, &action);
    if (action.sa_handler == SIG_IGN) continue;
    action.sa_handler = handler;
    action.sa_flags = SA_RESTART;
    sigaction(signal, &action, nullptr);
  }
}

}  // namespace

InterruptRule::Meaning InterruptRule::Hear(Time now) {
  if (!first_) {
    first_ = now;
    return Meaning::kStop;
  }
  return now - *first_ < std::chrono::seconds(1) ? Meaning::kNothing : Meaning::kEndAtOnce;
}

Interrupt::Interrupt() {
  std::array<int, 2> ends = {-1, -1};
  if (pipe(ends.data()) != 0) return;  // no descriptor is left; signals do what they do without us
  pipe_to_watcher = ends[1];
  watcher_ = std::thread([this, signals = ends[0]] { Watch(signals); });
  Handle(TellWatcher);
}

Interrupt::~Interrupt() {
  if (!watcher_.joinable()) return;
  Handle(signal_ == 0 ? SIG_DFL : SIG_IGN);
  close(pipe_to_watcher);  // ends the watcher
  watcher_.join();
}

void Interrupt::Watch(int signals) {
  InterruptRule rule;
  for (unsigned char number = 0; true;) {
    const ssize_t got = read(signals, &number, 1);
    if (got < 0 && errno == EINTR) continue;
    if (got <= 0) break;
    const InterruptRule::Meaning meaning = rule.Hear(std::chrono::steady_clock::now());
    if (meaning == InterruptRule::Meaning::kEndAtOnce) std::_Exit(128 + number);
    if (meaning != InterruptRule::Meaning::kStop) continue;
    signal_ = number;
    stop_.request_stop();
  }
  close(signals);
}

}  // namespace recurve::client
