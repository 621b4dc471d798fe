// SPDX-License-Identifier: Apache-2.0
// What OpenAI's API has no place for: `recurve` of a request and of a choice.
#ifndef RECURVE_CLIENT_GATEWAY_EXTENSION_H_
#define RECURVE_CLIENT_GATEWAY_EXTENSION_H_

#include <nlohmann/json.hpp>
#include <string>

#include "absl/status/status.h"
#include "client/gateway/parameters.h"
#include "recurve/v1/generation.pb.h"

namespace recurve::gateway {

// The request's object: whether depths are wanted, and the knobs of recursion.
absl::Status ReadExtension(const std::string& name, const nlohmann::json& value, Terms* terms);

// The choice's object: the message's tokens with their depths. Their texts are the message's.
nlohmann::json ExtensionOf(const v1::GenerateResponse& message);

// Adds `more` of a later message.
void AppendExtension(const nlohmann::json& more, nlohmann::json* extension);

}  // namespace recurve::gateway

#endif  // RECURVE_CLIENT_GATEWAY_EXTENSION_H_
