// SPDX-License-Identifier: Apache-2.0
// The parts of an engine, made from its options, and the engine made from its parts. The seam at
// which tests put another backend.
#ifndef RECURVE_ENGINE_ASSEMBLY_H_
#define RECURVE_ENGINE_ASSEMBLY_H_

#include <chrono>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "engine/backend/backend.h"
#include "engine/backend/factory/make_backend.h"
#include "engine/base/progress.h"
#include "engine/engine.h"
#include "engine/model/config.h"
#include "engine/schedule/schedule.h"
#include "engine/tokenizer/tokenizer.h"

namespace recurve {

struct Assembly {
  ModelConfig config;
  std::unique_ptr<Tokenizer> tokenizer;  // null without a tokenizer.json
  std::unique_ptr<Backend> backend;
  std::unique_ptr<Schedule> schedule;
  uint32_t queue_depth = 0;
  const Clock* clock = Clock::Steady();  // outlives the engine
  std::chrono::nanoseconds step_timeout = ScheduleLimits().step_timeout;
  EngineInfo info;
};

// Pages for `--kv_pages=auto`: those of `slots` sequences of `context` tokens that are active
// everywhere, as far as `bytes` hold them, at `page_bytes` each. ResourceExhausted when they do not
// hold a sequence of two tokens. If they do not hold one of `context` tokens, `warnings` says so.
absl::StatusOr<uint32_t> AutoPages(const ModelConfig& config, uint64_t page_bytes, uint64_t bytes,
                                   uint32_t slots, uint32_t context,
                                   std::vector<std::string>* warnings);

// Finds the backend's device, loads the model, dimensions backend and schedule and measures what
// steps cost. InvalidArgument
// names the option, the value and what is allowed; else as OpenBackend and BackendBuilder.
// `progress`, if not null, is told how far that is.
absl::StatusOr<Assembly> Assemble(const EngineOptions& options,
                                  const BackendOpener& open_backend = &OpenBackend,
                                  std::shared_ptr<Progress> progress = nullptr);

// Starts the loop's thread.
std::unique_ptr<Engine> MakeEngine(Assembly assembly);

}  // namespace recurve

#endif  // RECURVE_ENGINE_ASSEMBLY_H_
