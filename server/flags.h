// SPDX-License-Identifier: Apache-2.0
// The command line and configuration file of `recurve-server`.
#ifndef RECURVE_SERVER_FLAGS_H_
#define RECURVE_SERVER_FLAGS_H_

#include <string>
#include <variant>

#include "absl/status/statusor.h"
#include "server/options.h"

namespace recurve {

// Reads the command line and the file that `--config` names; a flag given on the command line wins.
// Returns the options, or the text that `--help` or `--version` asks to print. InvalidArgument
// names the flag or the file's key. Ranges that depend on the model or on other flags are the
// engine's to check.
absl::StatusOr<std::variant<ServerOptions, std::string>> ParseFlags(int argc,
                                                                    const char* const* argv);

}  // namespace recurve

#endif  // RECURVE_SERVER_FLAGS_H_
