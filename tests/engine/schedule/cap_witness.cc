// SPDX-License-Identifier: Apache-2.0
#include "tests/engine/schedule/cap_witness.h"

#include <algorithm>
#include <cstdint>
#include <numeric>

#include "absl/strings/str_cat.h"
#include "tests/engine/schedule/fake_model.h"

namespace recurve {

void CapWitness::See(const StepPlan& plan, const ScheduleCounters& counters) {
  if (counters.depth_cap < cap_) ++falls_;
  if (counters.depth_cap > cap_) ++rises_;
  cap_ = counters.depth_cap;
  for (const Admission& admission : plan.admits) {
    told_[admission.slot] = {admission.sampling.top_k, admission.state.position, {}};
  }
  for (const CapChange& change : plan.caps) {
    std::vector<DepthCap>& caps = told_[change.slot].caps;
    std::erase_if(caps, [&](const DepthCap& cap) { return cap.position >= change.position; });
    caps.push_back({change.position, change.cap});
  }
  for (const Admission& admission : plan.admits) {
    Raise(told_[admission.slot], admission.limits.room);
  }
  for (const RoomChange& change : plan.rooms) Raise(told_[change.slot], change.room);
}

void CapWitness::Raise(Told& told, uint32_t room) {
  for (; told.room < room; ++told.room) {
    caps_[told.sample][told.room] = CapAt(told.caps, told.room, recursions_);
  }
}

ScheduledSample CapWitness::AsRun(const ScheduledSample& sample) const {
  const auto found = caps_.find(sample.sampling.top_k);
  if (found == caps_.end()) return sample;  // it never ran
  ScheduledSample as_run = sample;
  as_run.caps.clear();
  const uint32_t end = found->second.rbegin()->first + 1;
  for (uint32_t position = 0; position < end; ++position) {
    const auto said = found->second.find(position);
    const uint32_t cap =
        said != found->second.end() ? said->second : CapAt(sample.caps, position, recursions_);
    if (as_run.caps.empty() || as_run.caps.back().cap != cap)
      as_run.caps.push_back({position, cap});
  }
  as_run.caps.push_back({end, CapAt(sample.caps, end, recursions_)});
  for (const DepthCap& own : sample.caps) {
    if (own.position > end) as_run.caps.push_back(own);
  }
  return as_run;
}

std::string CapWitness::Check(const ScheduledSample& sample, const Ending& ending,
                              const std::vector<uint32_t>& row_depths) {
  const std::vector<DepthCap> sent = AsRun(sample).caps;
  const auto sum = [](const auto& counts) {
    return std::accumulate(counts.begin(), counts.end(), uint64_t{0});
  };
  const uint64_t rows =
      sum(ending.prompt_depth.rows_by_depth) + sum(ending.generated_depth.rows_by_depth);
  uint32_t lowered = 0;
  uint32_t lowest = 0;
  for (uint32_t position = 0; position < row_depths.size(); ++position) {
    const uint32_t own = CapAt(sample.caps, position, recursions_);
    const uint32_t cap = CapAt(sent, position, recursions_);
    if (cap > own || cap < std::min(own, sample.adaptive_min.value_or(own))) {
      return absl::StrCat("the cap of position ", position, " is ", cap, ", its own is ", own);
    }
    if (cap == own || position >= rows) continue;
    lowest = lowered++ == 0 ? cap : std::min(lowest, cap);
    if (row_depths[position] == cap) recursions_given_up_ += own - cap;
  }
  lowered_rows_ += lowered;
  return ending.lowered_tokens == lowered && ending.lowest_cap == lowest
             ? ""
             : "miscounted lowered rows";
}

bool CapWitness::Counts(const ScheduleCounters& counters) const {
  return counters.lowered_tokens == lowered_rows_ &&
         counters.recursions_given_up == recursions_given_up_;
}

void CapWitness::AddTo(LoadFigures& figures) const {
  figures.cap_falls += falls_;
  figures.cap_rises += rises_;
  figures.lowered_rows += lowered_rows_;
}

}  // namespace recurve
