// SPDX-License-Identifier: Apache-2.0
// A random load on a schedule over the fake backend, compared with what each sample produces
// alone.
#ifndef RECURVE_TESTS_ENGINE_SCHEDULE_RANDOM_LOAD_H_
#define RECURVE_TESTS_ENGINE_SCHEDULE_RANDOM_LOAD_H_

#include <cstdint>
#include <functional>
#include <memory>
#include <string>

#include "engine/backend/backend.h"
#include "tests/engine/schedule/drawn_load.h"
#include "tests/engine/schedule/fake_backend.h"

namespace recurve {

// Loads that load_test.cc runs, seeds 1 and up, unless told otherwise.
inline constexpr uint64_t kLoads = 6'000;

// How much of everything a load exercised, so that a test can see that nothing was left out.
struct LoadFigures {
  uint64_t steps = 0;
  uint64_t samples = 0;
  uint64_t tokens = 0;
  uint64_t preemptions = 0;  // for memory
  uint64_t priority_preemptions = 0;
  uint64_t recomputed_rows = 0;
  uint64_t evicted = 0;  // entries
  uint64_t cached_tokens = 0;
  uint64_t copies = 0;           // of pages
  uint64_t mixed_plans = 0;      // that hold copies and evictions
  uint64_t full_plans = 0;       // that had no space for more changes of some kind
  uint64_t continued_plans = 0;  // of which some were left to the next plan, as the schedule counts
  uint64_t held = 0;             // admissions without room for a row
  uint64_t cap_falls = 0;        // of the dial
  uint64_t cap_rises = 0;
  uint64_t lowered_rows = 0;
  uint64_t refused = 0;
  uint64_t by_reason[11] = {};  // by EndReason
};

// Makes what a load runs on, which must compute what the load's model does. Null fails the load.
using LoadBackendMaker = std::function<std::unique_ptr<Backend>(const DrawnLoad& load)>;

// Runs DrawLoad(seed) on a backend of its own. Returns what went wrong first, empty if nothing.
// Adds to `figures`.
std::string RunRandomLoad(uint64_t seed, const LoadBackendMaker& make_backend,
                          LoadFigures& figures);

// The same on a FakeBackend.
std::string RunRandomLoad(uint64_t seed, FakeFault fault, LoadFigures& figures);

}  // namespace recurve

#endif  // RECURVE_TESTS_ENGINE_SCHEDULE_RANDOM_LOAD_H_
