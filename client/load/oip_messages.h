// SPDX-License-Identifier: Apache-2.0
// What is said to and by a server of the Open Inference Protocol, in the tensors of Triton's vLLM
// backend.
#ifndef RECURVE_CLIENT_LOAD_OIP_MESSAGES_H_
#define RECURVE_CLIENT_LOAD_OIP_MESSAGES_H_

#include <nlohmann/json.hpp>
#include <set>
#include <string>

#include "absl/status/statusor.h"
#include "client/load/target.h"
#include "inference/inference.pb.h"

namespace recurve::client {

// The message for `request`, with those of the tensors in `inputs`.
inference::ModelInferRequest ToInfer(const v1::GenerateRequest& request, const std::string& model,
                                     const nlohmann::json& extra,
                                     const std::set<std::string>& inputs);

// What a response tells; its generated_tokens are its own alone. InvalidArgument if it does not
// keep to the protocol.
absl::StatusOr<Heard> HeardOf(const inference::ModelInferResponse& response);

}  // namespace recurve::client

#endif  // RECURVE_CLIENT_LOAD_OIP_MESSAGES_H_
