// SPDX-License-Identifier: Apache-2.0
// What plans said of depth caps, held against what samples allow.
#ifndef RECURVE_TESTS_ENGINE_SCHEDULE_CAP_WITNESS_H_
#define RECURVE_TESTS_ENGINE_SCHEDULE_CAP_WITNESS_H_

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "engine/backend/step.h"
#include "engine/schedule/sample.h"
#include "engine/schedule/schedule.h"
#include "tests/engine/schedule/random_load.h"

namespace recurve {

// Sees the plans, as a backend does. A sample is known by its top_k, which no
// other has and the fake model does not ask for.
class CapWitness {
 public:
  explicit CapWitness(uint32_t recursions) : recursions_(recursions), cap_(recursions) {}

  // `counters`: those of the schedule after it has made `plan`.
  void See(const StepPlan& plan, const ScheduleCounters& counters);

  // `sample` with the caps that its tokens ran with, and its own for those that plans never gave
  // room.
  ScheduledSample AsRun(const ScheduledSample& sample) const;

  // Whether the caps are such as `sample` allows, and `ending` counts them right. row_depths: of
  // the rows that were told, or more. Returns what is wrong, empty if nothing.
  std::string Check(const ScheduledSample& sample, const Ending& ending,
                    const std::vector<uint32_t>& row_depths);

  // Whether `counters` agree, once all samples have been checked.
  bool Counts(const ScheduleCounters& counters) const;
  void AddTo(LoadFigures& figures) const;

 private:
  // What plans have said of the sequence in a slot.
  struct Told {
    uint32_t sample = 0;
    uint32_t room = 0;
    std::vector<DepthCap> caps;
  };

  // Tokens below `room` may begin, with the caps that were said of them.
  void Raise(Told& told, uint32_t room);

  uint32_t recursions_;
  uint32_t cap_;                                           // the dial's last one
  std::map<uint32_t, Told> told_;                          // by slot
  std::map<uint32_t, std::map<uint32_t, uint32_t>> caps_;  // by sample and position
  uint64_t falls_ = 0, rises_ = 0;
  uint64_t lowered_rows_ = 0, recursions_given_up_ = 0;
};

}  // namespace recurve

#endif  // RECURVE_TESTS_ENGINE_SCHEDULE_CAP_WITNESS_H_
