// SPDX-License-Identifier: Apache-2.0
#include "server/signals.h"

#include <chrono>
#include <cstdlib>
#include <cstring>
#include <string>

#include "absl/strings/str_cat.h"
#include "server/signal_policy.h"

namespace recurve {

sigset_t BlockSignals() {
  std::signal(SIGPIPE, SIG_IGN);
  sigset_t signals;
  sigemptyset(&signals);
  sigaddset(&signals, SIGTERM);
  for (const int signal : {SIGINT, SIGHUP}) {
    struct sigaction action = {};
    sigaction(signal, nullptr, &action);
    if (action.sa_handler != SIG_IGN) sigaddset(&signals, signal);
  }
  pthread_sigmask(SIG_BLOCK, &signals, nullptr);
  return signals;
}

void AwaitSignals(sigset_t signals, const std::function<void()>& drain, Log* log) {
  SignalPolicy policy;
  while (true) {
    int signal = 0;
    sigwait(&signals, &signal);
    const SignalPolicy::Action action = policy.Hear(std::chrono::steady_clock::now());
    log->Write("signal", {{"name", absl::StrCat("SIG", sigabbrev_np(signal))},
                          {"action", std::string(SignalPolicy::Name(action))}});
    if (action == SignalPolicy::Action::kDrain) drain();
    if (action == SignalPolicy::Action::kEndAtOnce) {
      log->Flush();
      std::_Exit(128 + signal);
    }
  }
}

}  // namespace recurve
