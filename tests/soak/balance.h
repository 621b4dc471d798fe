// SPDX-License-Identifier: Apache-2.0
// What must be true of a server that has come to rest, whatever was done to it.
#ifndef RECURVE_TESTS_SOAK_BALANCE_H_
#define RECURVE_TESTS_SOAK_BALANCE_H_

#include <cstdint>
#include <string>

#include "tests/soak/subject.h"
#include "tests/soak/workload.h"

namespace recurve::soak {

// Resident memory may grow by this much after the warm-up. What faults leave for good adds up with
// their number, and passes any bound: a kilobyte each in some 40,000. What malloc keeps of the most
// that was ever needed at once does not: over 12,000 malformed conversations, six at a time, it was
// 25 MiB from the first phase to the last.
inline constexpr double kMostGrowthMib = 40.0;

// A server's own account at rest.
struct Rest {
  uint64_t descriptors = 0;
  double resident_mib = 0.0;
};

// Waits until nothing runs, waits, streams or is connected, and no page but those of cached
// prefixes is in use; adds a finding for each thing that does not come back, and for each admitted
// request that has not ended once.
Rest CheckRest(const Subject& subject, Findings* findings);

// And that no descriptor or memory is missing that was there `before`.
Rest CheckBalance(const Subject& subject, const Rest& before, Findings* findings);

// That every slot, hidden row and page can still be had: as many requests as there are slots, at
// once, each with its tokens.
void CheckEverySlot(const Subject& subject, const Workload& workload, uint32_t slots,
                    Findings* findings);

}  // namespace recurve::soak

#endif  // RECURVE_TESTS_SOAK_BALANCE_H_
