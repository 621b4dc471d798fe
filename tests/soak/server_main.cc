// SPDX-License-Identifier: Apache-2.0
// recurve-soak-server: recurve-server, of which step RECURVE_SOAK_STEP fails, or never comes back
// if RECURVE_SOAK_HANGS is 1.
#include <unistd.h>

#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <thread>
#include <utility>
#include <variant>

#include "absl/status/status.h"
#include "absl/strings/numbers.h"
#include "engine/assembly.h"
#include "engine/base/status_macros.h"
#include "server/flags.h"
#include "server/lifecycle.h"
#include "tests/engine/small_engine.h"

namespace recurve {
namespace {

uint32_t Variable(const char* name) {
  uint32_t value = 0;
  const char* const text = std::getenv(name);
  return text != nullptr && absl::SimpleAtoi(text, &value) ? value : 0;
}

absl::Status Break(bool hangs) {
  if (hangs) {
    for (;;) std::this_thread::sleep_for(std::chrono::hours(1));
  }
  return absl::InternalError("a step fails, as it was told");
}

absl::StatusOr<std::unique_ptr<Engine>> MakeBreakable(const EngineOptions& options,
                                                      std::shared_ptr<Progress> progress) {
  ASSIGN_OR_RETURN(Assembly assembly, Assemble(options, &OpenBackend, std::move(progress)));
  const uint32_t step = Variable("RECURVE_SOAK_STEP");
  const bool hangs = Variable("RECURVE_SOAK_HANGS") == 1;
  assembly.backend = std::make_unique<HookedBackend>(
      std::move(assembly.backend), [step, hangs, steps = uint32_t{0}](uint32_t) mutable {
        return ++steps == step ? Break(hangs) : absl::OkStatus();
      });
  return MakeEngine(std::move(assembly));
}

int Main(int argc, char** argv) {
  auto flags = ParseFlags(argc, argv);
  if (!flags.ok() || !std::holds_alternative<ServerOptions>(*flags)) return kExitBadFlags;
  Events events;
  Log log(LogFormat::kText, STDERR_FILENO);
  const int code = RunServer(std::get<ServerOptions>(*flags), MakeBreakable, &events, &log);
  log.Flush();
  std::_Exit(code);  // a step may still run
}

}  // namespace
}  // namespace recurve

int main(int argc, char** argv) { return recurve::Main(argc, argv); }
