// SPDX-License-Identifier: Apache-2.0
// What must be true of a server that has come to rest, whatever was done to it.
#ifndef RECURVE_TESTS_SOAK_BALANCE_H_
#define RECURVE_TESTS_SOAK_BALANCE_H_

#include <cstdint>
#include <string>

#include "tests/soak/subject.h"
#include "tests/soak/workload.h"

namespace recurve::soak {

// What malloc has given out may grow by this much after the warm-up. What faults leave for good
// adds up with their number, and passes any bound: a kilobyte each in 8,000. The caches of malloc
// that threads have for themselves count as given out: over 70,000 malformed conversations they
// grew from 1.1 to 2.2 MiB, and without them (glibc.malloc.tcache_count=0) 0.4 MiB stayed 0.4.
inline constexpr double kMostGrowthMib = 8.0;
// Resident memory is what was ever needed at once, and more where that lies about. It was 27 MiB
// more after 20,000 faults and 35 after 450,000; a minute in which the server hardly ran, on a
// machine with ten processes a processor, let conversations pile up and made it 82.
inline constexpr double kMostResidentGrowthMib = 200.0;

// A server's own account at rest.
struct Rest {
  uint64_t descriptors = 0;
  double resident_mib = 0.0;
  double in_use_mib = 0.0;
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
