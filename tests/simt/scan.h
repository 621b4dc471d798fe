// SPDX-License-Identifier: Apache-2.0
#ifndef RECURVE_TESTS_SIMT_SCAN_H_
#define RECURVE_TESTS_SIMT_SCAN_H_

#include <cstdint>

#include "absl/status/status.h"
#include "engine/backend/cuda/runtime.h"

namespace recurve {

// Launches a kernel as any other, from a source for nvcc: sets each element of `out` to the sum of
// those of `in` up to it, in each of `blocks` blocks of `threads` elements on its own.
absl::Status LaunchScan(Runtime& runtime, const DeviceMemory& in, const DeviceMemory& out,
                        uint32_t blocks, uint32_t threads);

}  // namespace recurve

#endif  // RECURVE_TESTS_SIMT_SCAN_H_
