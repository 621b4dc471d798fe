// SPDX-License-Identifier: Apache-2.0
// How the programs read the values of their flags; CLI11 takes more than is meant.
#ifndef RECURVE_ENGINE_BASE_FLAG_VALUES_H_
#define RECURVE_ENGINE_BASE_FLAG_VALUES_H_

#include <cstdint>
#include <optional>
#include <string_view>

#include "absl/status/status.h"

namespace recurve {

// InvalidArgument if an argument is `--flag=`, for which CLI11 takes the argument that follows as
// the value. What comes behind `--` is no flag.
absl::Status CheckFlagsHaveValues(int argc, const char* const* argv);

// The number that `text`, decimal digits and nothing else, says: 010 is ten. CLI11 takes 010 for
// eight, an empty text for 0 and -1 for the largest number. Nothing if it does not fit 64 bits.
std::optional<uint64_t> ParseWholeNumber(std::string_view text);

}  // namespace recurve

#endif  // RECURVE_ENGINE_BASE_FLAG_VALUES_H_
