// SPDX-License-Identifier: Apache-2.0
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <exception>
#include <string>
#include <thread>
#include <variant>

#include "engine/base/standard_output.h"
#include "engine/engine.h"
#include "server/flags.h"
#include "server/grpc/library_log.h"
#include "server/lifecycle.h"
#include "server/observe/log.h"
#include "server/signals.h"

namespace recurve {
namespace {

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
  std::thread(
      AwaitSignals, signals, [] { events->Stop(); }, log)
      .detach();
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
