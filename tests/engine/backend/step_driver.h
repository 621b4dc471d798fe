// SPDX-License-Identifier: Apache-2.0
// The least that can stand in for a schedule in a backend's tests: admits sequences, hands out
// pages, and steps until all are done.
#ifndef RECURVE_TESTS_ENGINE_BACKEND_STEP_DRIVER_H_
#define RECURVE_TESTS_ENGINE_BACKEND_STEP_DRIVER_H_

#include <cstdint>
#include <limits>
#include <vector>

#include "absl/status/statusor.h"
#include "engine/backend/backend.h"
#include "engine/backend/step.h"
#include "engine/model/config.h"

namespace recurve {

struct DriverRequest {
  std::vector<uint32_t> prompt;
  uint32_t new_tokens = 0;
  uint32_t chunk = 8;
  uint32_t cap = std::numeric_limits<uint32_t>::max();
  float threshold_logit = 0.0F;
  SamplingParams sampling;
  std::vector<TokenBias> biases;
  std::vector<uint32_t> stop_ids;
  uint32_t logprobs = kNoLogprobs;
  uint32_t wants = 0;
  // After each so many positions each group keeps so many entries; 0: all for good.
  uint32_t evict_every = 0;
  uint32_t keep = 0;
  EvictionPolicy eviction = EvictionPolicy::kNone;
};

// What one request yielded.
struct DriverOutput {
  std::vector<uint32_t> tokens;            // sampled
  std::vector<uint32_t> depths;            // of every position that passed EXIT
  std::vector<std::vector<float>> logits;  // by position; empty where none were asked for
  std::vector<TokenLogprob> logprobs;      // slot: 0
  uint32_t flags = 0;                      // of the last outcome
  SlotState state;                         // at the end
};

struct DriverOptions {
  uint32_t ends_min = 1;
  uint32_t depth = 0;              // steps queued behind the running one
  uint32_t room_step = 0;          // room is raised by so many positions at a time; 0: all at once
  bool spread_admissions = false;  // admit at most one sequence a step
};

// A slot owns its pages for good, so the backend needs PagesNeeded of them. Requires a free slot
// and area now and then; runs any number of requests.
uint32_t PagesNeeded(const ModelConfig& config, const BackendLimits& limits);

// Few slots, areas and rows, so that rows have to wait at every stage, and the pages that they
// need.
BackendLimits SmallLimits(const ModelConfig& config, uint32_t max_positions);

absl::StatusOr<std::vector<DriverOutput>> RunRequests(Backend& backend, const ModelConfig& config,
                                                      const BackendLimits& limits,
                                                      const std::vector<DriverRequest>& requests,
                                                      const DriverOptions& options = {});

}  // namespace recurve

#endif  // RECURVE_TESTS_ENGINE_BACKEND_STEP_DRIVER_H_
