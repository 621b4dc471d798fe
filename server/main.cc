// SPDX-License-Identifier: Apache-2.0
#include <unistd.h>

#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <string>
#include <thread>
#include <variant>

#include "engine/base/standard_output.h"
#include "engine/engine.h"
#include "server/flags.h"
#include "server/lifecycle.h"
#include "server/log.h"

namespace recurve {
namespace {

// Signals are waited for by one thread, instead of interrupting whichever is at hand. Must run
// before any other thread starts, since threads inherit the mask.
sigset_t BlockSignals() {
  std::signal(SIGPIPE, SIG_IGN);
  sigset_t signals;
  sigemptyset(&signals);
  sigaddset(&signals, SIGTERM);
  sigaddset(&signals, SIGINT);
  pthread_sigmask(SIG_BLOCK, &signals, nullptr);
  return signals;
}

// The first signal stops, a second one ends the process at once.
[[noreturn]] void AwaitSignals(sigset_t signals, Events* events) {
  int signal = 0;
  sigwait(&signals, &signal);
  events->Stop();
  sigwait(&signals, &signal);
  std::_Exit(128 + signal);
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
  static auto* const events = new Events;  // for ever, as the thread that waits for signals
  std::thread(AwaitSignals, BlockSignals(), events).detach();
  Log log(options.log.format, STDERR_FILENO);
  return RunServer(options, &Engine::Create, events, &log);
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
