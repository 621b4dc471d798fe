// SPDX-License-Identifier: Apache-2.0
// What CLI11 takes of a command line and we do not.
#ifndef RECURVE_CLIENT_CLI_ARGUMENTS_H_
#define RECURVE_CLIENT_CLI_ARGUMENTS_H_

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"

namespace CLI {
class Validator;
}

namespace recurve::client {

// InvalidArgument if one is `--flag=`, for which CLI11 takes the argument that follows as the
// value. What comes behind `--` is no flag.
absl::Status CheckFlagsHaveValues(const std::vector<std::string_view>& arguments);

// InvalidArgument if the first one, unless it is a flag, is none of `commands`, or there is none.
absl::Status CheckCommand(const std::vector<std::string_view>& arguments,
                          const std::vector<std::string>& commands);

// Of an unsigned flag: CLI11 takes -1 for the largest number, 010 for eight, and 2^64 for a bit
// less.
CLI::Validator WholeNumber(uint64_t least, uint64_t most);

// Where a number may lie.
struct Interval {
  float least, most;
  bool without_least = false, without_most = false;
};

// Of a flag with a fraction: CLI11's ranges take nan, for it is neither below nor above.
CLI::Validator Number(const Interval& interval);

}  // namespace recurve::client

#endif  // RECURVE_CLIENT_CLI_ARGUMENTS_H_
