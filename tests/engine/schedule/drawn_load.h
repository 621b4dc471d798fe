// SPDX-License-Identifier: Apache-2.0
// A random load as it is drawn: the model, the schedule's options and the samples.
#ifndef RECURVE_TESTS_ENGINE_SCHEDULE_DRAWN_LOAD_H_
#define RECURVE_TESTS_ENGINE_SCHEDULE_DRAWN_LOAD_H_

#include <cstdint>
#include <optional>
#include <vector>

#include "engine/schedule/options.h"
#include "engine/schedule/sample.h"
#include "tests/engine/schedule/fake_model.h"

namespace recurve {

// One sample, or a sample of one.
struct DrawnSample {
  ScheduledSample sample;  // without an observer
  bool stop_strings = false;
  uint64_t added_at = 0;         // iteration of the loop
  bool comes_with_last = false;  // another sample of the prompt before it: all are added at once
  std::optional<uint64_t> cancelled_at;
};

struct DrawnLoad {
  FakeModel model;
  ScheduleOptions options;
  uint32_t depth = 0;  // of the step queue
  std::vector<DrawnSample> samples;
  std::optional<uint64_t> drained_at;
  uint64_t backend_seed = 0;
};

// Draws everything from `seed`; the clock stands at `now`. Half of the loads are crowds: most of
// their samples begin with one prompt and have the server's budget, some another one, and the pool
// holds little more than one of them.
DrawnLoad DrawLoad(uint64_t seed, SteadyTime now);

}  // namespace recurve

#endif  // RECURVE_TESTS_ENGINE_SCHEDULE_DRAWN_LOAD_H_
