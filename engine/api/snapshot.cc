// SPDX-License-Identifier: Apache-2.0
#include "engine/api/snapshot.h"

namespace recurve {
namespace {

// Pages in the tables of all sequences.
double PagesSeen(const ScheduleCounters& counters) {
  double seen = 0.0;
  for (const ScheduleCounters::Group& group : counters.groups) seen += group.reserved;
  return seen;
}

}  // namespace

double ScheduleCounters::Sharing() const {
  return pages_reserved == 0 ? 1.0 : PagesSeen(*this) / pages_reserved;
}

double ScheduleCounters::PageUse(uint32_t pages) const {
  const double unused = static_cast<double>(pages_free) + pages_cached;
  return pages == 0 ? 0.0 : 1.0 - unused / pages;
}

double ScheduleCounters::Fragmentation() const {
  const double seen = PagesSeen(*this);
  return seen == 0.0 ? 0.0 : 1.0 - pages_packed / seen;
}

std::string_view StepPartName(int part) {
  static constexpr std::string_view kNames[StepTotals::kParts] = {"exit", "sampling", "entry",
                                                                  "block", "routers"};
  return kNames[part];
}

}  // namespace recurve
