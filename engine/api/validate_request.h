// SPDX-License-Identifier: Apache-2.0
// The one judge of what a client may ask for, whichever front end it comes through.
#ifndef RECURVE_ENGINE_API_VALIDATE_REQUEST_H_
#define RECURVE_ENGINE_API_VALIDATE_REQUEST_H_

#include "absl/status/status.h"
#include "engine/api/request.h"

namespace recurve {

// Whether `request` is within what holds for every model and every server: ranges of numbers,
// counts and sizes of lists, and what contradicts itself. INVALID_ARGUMENT carries a Refusal. What
// depends on the model, its memory or the options is checked where that is known.
absl::Status ValidateRequest(const Request& request);

}  // namespace recurve

#endif  // RECURVE_ENGINE_API_VALIDATE_REQUEST_H_
