// SPDX-License-Identifier: Apache-2.0
// The file that `--config` names: flags, a line `flag = value` each. docs/configuration.md has the
// rules. What the flags and values mean is not known here.
#ifndef RECURVE_SERVER_CONFIG_FILE_H_
#define RECURVE_SERVER_CONFIG_FILE_H_

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace recurve {

struct ConfigLine {
  int number = 0;                    // of the line, from 1 on
  std::string flag;                  // without dashes; not empty
  std::optional<std::string> value;  // not empty, as it stands; none for a line without '='
};

// InvalidArgument "PATH:NUMBER: reason".
absl::Status ConfigLineError(const std::string& path, int number, const std::string& reason);

// The lines that set flags, in order, each flag once. InvalidArgument names the line and the flag.
// `path` is for messages alone.
absl::StatusOr<std::vector<ConfigLine>> ParseConfigFile(const std::string& path,
                                                        std::string_view text);

// Of the file at `path`. InvalidArgument also for what is missing, cannot be read, is not a regular
// file or has more than 1 MiB.
absl::StatusOr<std::vector<ConfigLine>> ReadConfigFile(const std::string& path);

}  // namespace recurve

#endif  // RECURVE_SERVER_CONFIG_FILE_H_
