// SPDX-License-Identifier: Apache-2.0
#ifndef RECURVE_TESTS_SIMT_MEETINGS_H_
#define RECURVE_TESTS_SIMT_MEETINGS_H_

#include <memory>
#include <span>
#include <string>

#include "tests/simt/emulated_thread.h"

namespace recurve {

// The threads of a block, or of a warp, in ascending order.
using EmulatedThreads = std::span<const std::unique_ptr<EmulatedThread>>;

// Lets a warp go on whose threads have all come to the same SyncWarp, ShuffleXor, Ballot or Mma,
// with what each gets there.
void EndWarpMeeting(EmulatedThreads warp);

// Lets a block go on whose threads have all come to the same SyncBlock. False if they have not.
bool EndBlockMeeting(EmulatedThreads block);

// The report of a block whose threads wait for each other in different places, of which no thread
// can run: of the first warp that does not meet, or of the whole block. Empty if all have returned,
// or if one was stopped, which has its own report.
std::string MissedMeeting(EmulatedThreads block);

}  // namespace recurve

#endif  // RECURVE_TESTS_SIMT_MEETINGS_H_
