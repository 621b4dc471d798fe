// SPDX-License-Identifier: Apache-2.0
// Why a request is refused, as data, so that a front end can name the field as its clients know it.
#ifndef RECURVE_ENGINE_API_REFUSAL_H_
#define RECURVE_ENGINE_API_REFUSAL_H_

#include <optional>
#include <string>

#include "absl/status/status.h"

namespace recurve {

struct Refusal {
  std::string field;  // of Request: "temperature", "stop_strings[3]"
  std::string found;  // "is -3", "has 17 entries"
  std::string limit;  // "it must be from 0 to 100"
};

// INVALID_ARGUMENT that says "<field> <found>; <limit>" and carries the three.
absl::Status ToStatus(const Refusal& refusal);

// What `status` carries; none if it does not come from ToStatus.
std::optional<Refusal> RefusalIn(const absl::Status& status);

}  // namespace recurve

#endif  // RECURVE_ENGINE_API_REFUSAL_H_
