// SPDX-License-Identifier: Apache-2.0
#ifndef RECURVE_CLIENT_LOAD_MAKE_TARGET_H_
#define RECURVE_CLIENT_LOAD_MAKE_TARGET_H_

#include <cstdint>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>

#include "absl/status/statusor.h"
#include "client/cli/request_flags.h"
#include "client/load/target.h"

namespace recurve::client {

struct TargetFlags {
  std::string protocol{};  // recurve, oip, openai; empty: as the servers' names say
  std::string model{};
  uint32_t vocab_size = 0;
  nlohmann::json extra_body = nlohmann::json::object();
};

// `protocol`, or openai where servers are http[s]://..., else recurve.
std::string ProtocolOf(const TargetFlags& flags, const ConnectionFlags& connection);

// InvalidArgument names what the protocol lacks or has no use for.
absl::StatusOr<std::unique_ptr<Target>> MakeTarget(const TargetFlags& flags,
                                                   const ConnectionFlags& connection);

}  // namespace recurve::client

#endif  // RECURVE_CLIENT_LOAD_MAKE_TARGET_H_
