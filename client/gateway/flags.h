// SPDX-License-Identifier: Apache-2.0
// The command line of `recurve-gateway`.
#ifndef RECURVE_CLIENT_GATEWAY_FLAGS_H_
#define RECURVE_CLIENT_GATEWAY_FLAGS_H_

#include <string>
#include <variant>

#include "absl/status/statusor.h"
#include "client/gateway/options.h"

namespace recurve::gateway {

// The options, or the text that `--help` or `--version` asks to print. InvalidArgument names the
// flag. Files of credentials are read at once.
absl::StatusOr<std::variant<GatewayOptions, std::string>> ParseFlags(int argc,
                                                                     const char* const* argv);

}  // namespace recurve::gateway

#endif  // RECURVE_CLIENT_GATEWAY_FLAGS_H_
