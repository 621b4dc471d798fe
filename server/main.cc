// SPDX-License-Identifier: Apache-2.0
#include <unistd.h>

#include <chrono>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <exception>
#include <string>
#include <thread>
#include <variant>

#include "absl/strings/str_cat.h"
#include "engine/base/standard_output.h"
#include "engine/engine.h"
#include "server/flags.h"
#include "server/grpc/library_log.h"
#include "server/lifecycle.h"
#include "server/observe/log.h"
#include "server/signal_policy.h"

namespace recurve {
namespace {

// The signals that ask for the process's end, blocked, since one thread waits for them instead of
// their interrupting whichever is at hand. SIGINT and SIGHUP are left alone where they are ignored,
// as a shell's & and nohup have it. Must run before any other thread starts, since threads inherit
// the mask.
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

[[noreturn]] void AwaitSignals(sigset_t signals, Events* events, Log* log) {
  SignalPolicy policy;
  while (true) {
    int signal = 0;
    sigwait(&signals, &signal);
    const SignalPolicy::Action action = policy.Hear(std::chrono::steady_clock::now());
    log->Write("signal", {{"name", absl::StrCat("SIG", sigabbrev_np(signal))},
                          {"action", std::string(SignalPolicy::Name(action))}});
    if (action == SignalPolicy::Action::kDrain) events->Stop();
    if (action == SignalPolicy::Action::kEndAtOnce) {
      log->Flush();
      std::_Exit(128 + signal);
    }
  }
}

int Main(int argc, char** argv) {
  auto flags = ParseFlags(argc, argv);
  if (!flags.ok()) {
    std::fprintf(stderr, "recurve-server: %s\nTry recurve-server --help.\n",
                 std::string(flags.status().message()).c_str());
    return kExitBadFlags;
  }
  if (const auto* text = std::get_if<std::string>(&*flags)) {
    std::fputs(text->c_str(), stdout);
    const absl::Status printed = FlushStandardOutput();
    if (printed.ok()) return kExitOk;
    std::fprintf(stderr, "recurve-server: %s\n", std::string(printed.message()).c_str());
    return kExitCannotStart;
  }
  const auto& options = std::get<ServerOptions>(*flags);
  const sigset_t signals = BlockSignals();
  // For ever, as the thread that waits for signals.
  static auto* const events = new Events;
  static auto* const log = new Log(options.log.format, STDERR_FILENO);
  std::thread(AwaitSignals, signals, events, log).detach();
  int code = kExitOk;
  {
    const LibraryLog library_log(log);
    code = RunServer(options, &Engine::Create, events, log);
  }
  log->Flush();
  // A step that does not end may still run, on memory that an orderly exit would take from it.
  if (code == kExitEngineFailed) std::_Exit(code);
  return code;
}

}  // namespace
}  // namespace recurve

int main(int argc, char** argv) {
  try {
    return recurve::Main(argc, argv);
  } catch (const std::exception& error) {  // of a library: ours throw nothing
    std::fprintf(stderr, "recurve-server: %s\n", error.what());
    return recurve::kExitCannotStart;
  }
}
