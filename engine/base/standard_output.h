// SPDX-License-Identifier: Apache-2.0
#ifndef RECURVE_ENGINE_BASE_STANDARD_OUTPUT_H_
#define RECURVE_ENGINE_BASE_STANDARD_OUTPUT_H_

#include "absl/status/status.h"

namespace recurve {

// Writes out what standard output holds. Unavailable, from then on, once any of it could not be
// written: a full disk, a reader that left.
absl::Status FlushStandardOutput();

}  // namespace recurve

#endif  // RECURVE_ENGINE_BASE_STANDARD_OUTPUT_H_
