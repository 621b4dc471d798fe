// SPDX-License-Identifier: Apache-2.0
#include "client/load/sampling_json.h"

namespace recurve::client {

nlohmann::json SamplingJson(const v1::GenerateRequest& request) {
  const v1::SamplingParams& sampling = request.sampling();
  const v1::StopParams& stop = request.stop();
  nlohmann::json json = {{"temperature", sampling.temperature()}};
  if (sampling.has_top_k()) json["top_k"] = sampling.top_k();
  if (sampling.has_top_p()) json["top_p"] = sampling.top_p();
  if (sampling.has_min_p()) json["min_p"] = sampling.min_p();
  if (sampling.has_repetition_penalty()) {
    json["repetition_penalty"] = sampling.repetition_penalty();
  }
  if (sampling.has_presence_penalty()) json["presence_penalty"] = sampling.presence_penalty();
  if (sampling.has_frequency_penalty()) json["frequency_penalty"] = sampling.frequency_penalty();
  if (sampling.has_seed()) json["seed"] = sampling.seed();
  if (stop.has_max_tokens()) json["max_tokens"] = stop.max_tokens();
  if (stop.has_min_tokens()) json["min_tokens"] = stop.min_tokens();
  if (stop.stop_strings_size() > 0) json["stop"] = stop.stop_strings();
  if (stop.stop_token_ids_size() > 0) json["stop_token_ids"] = stop.stop_token_ids();
  if (stop.include_stop_string()) json["include_stop_str_in_output"] = true;
  if (stop.ignore_eos()) json["ignore_eos"] = true;
  return json;
}

absl::Status CheckForSamplingJson(const v1::GenerateRequest& request) {
  if (request.has_recursion()) {
    return absl::InvalidArgumentError(
        "--max_recursions, --router_threshold and --adaptive_min are of --protocol=recurve alone");
  }
  if (request.has_time_limit_ms()) {
    return absl::InvalidArgumentError("--time_limit_ms is of --protocol=recurve alone");
  }
  return absl::OkStatus();
}

}  // namespace recurve::client
