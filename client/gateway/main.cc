// SPDX-License-Identifier: Apache-2.0
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <exception>
#include <string>
#include <thread>
#include <variant>

#include "absl/synchronization/mutex.h"
#include "client/gateway/flags.h"
#include "client/gateway/run_gateway.h"
#include "engine/base/standard_output.h"
#include "server/observe/log.h"
#include "server/signals.h"

namespace recurve::gateway {
namespace {

int Main(int argc, char** argv) {
  auto flags = ParseFlags(argc, argv);
  if (!flags.ok()) {
    std::fprintf(stderr, "recurve-gateway: %s\nTry recurve-gateway --help.\n",
                 std::string(flags.status().message()).c_str());
    return kExitBadFlags;
  }
  if (const auto* text = std::get_if<std::string>(&*flags)) {
    std::fputs(text->c_str(), stdout);
    return FlushStandardOutput().ok() ? kExitOk : kExitCannotStart;
  }
  const auto& options = std::get<GatewayOptions>(*flags);
  const sigset_t signals = BlockSignals();
  // For ever, as the thread that waits for signals.
  static auto* const stop = new StopSign;
  static auto* const log = new Log(options.log_format, STDERR_FILENO);
  std::thread(
      AwaitSignals, signals, [] { stop->Give(); }, log)
      .detach();
  const int code = RunGateway(options, stop, log);
  log->Flush();
  return code;
}

}  // namespace
}  // namespace recurve::gateway

int main(int argc, char** argv) {
  // Debian's Abseil looks for deadlocks at every lock, as it is built for debugging.
  absl::SetMutexDeadlockDetectionMode(absl::OnDeadlockCycle::kIgnore);
  // What gRPC writes by itself comes again as the error of a call.
  setenv("GRPC_VERBOSITY", "NONE", /*overwrite=*/0);
  try {
    return recurve::gateway::Main(argc, argv);
  } catch (const std::exception& error) {  // of a library: ours throw nothing
    std::fprintf(stderr, "recurve-gateway: %s\n", error.what());
    return recurve::gateway::kExitCannotStart;
  }
}
