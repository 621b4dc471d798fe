// SPDX-License-Identifier: Apache-2.0
#ifndef RECURVE_CLIENT_LOAD_SAMPLING_JSON_H_
#define RECURVE_CLIENT_LOAD_SAMPLING_JSON_H_

#include <nlohmann/json.hpp>

#include "absl/status/status.h"
#include "recurve/v1/generation.pb.h"

namespace recurve::client {

// How a request samples and when it stops, by the names that OpenAI's API and vLLM share. What the
// request leaves open is left out, but for the temperature: those servers draw, where ours is
// greedy.
nlohmann::json SamplingJson(const v1::GenerateRequest& request);

// InvalidArgument if the request asks for something that has no name there.
absl::Status CheckForSamplingJson(const v1::GenerateRequest& request);

}  // namespace recurve::client

#endif  // RECURVE_CLIENT_LOAD_SAMPLING_JSON_H_
