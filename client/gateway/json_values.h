// SPDX-License-Identifier: Apache-2.0
// Values of a request's parameters by their types. Errors name the parameter and what it is.
#ifndef RECURVE_CLIENT_GATEWAY_JSON_VALUES_H_
#define RECURVE_CLIENT_GATEWAY_JSON_VALUES_H_

#include <cstdint>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace recurve::gateway {

// INVALID_ARGUMENT: "NAME is VALUE; it must be EXPECTED".
absl::Status WrongValue(const std::string& name, const nlohmann::json& value,
                        const std::string& expected);

absl::StatusOr<double> Number(const std::string& name, const nlohmann::json& value);
absl::StatusOr<uint32_t> WholeNumber(const std::string& name, const nlohmann::json& value);
absl::StatusOr<bool> Boolean(const std::string& name, const nlohmann::json& value);
absl::StatusOr<std::string> Text(const std::string& name, const nlohmann::json& value);
absl::StatusOr<std::vector<uint32_t>> Ids(const std::string& name, const nlohmann::json& value);

}  // namespace recurve::gateway

#endif  // RECURVE_CLIENT_GATEWAY_JSON_VALUES_H_
