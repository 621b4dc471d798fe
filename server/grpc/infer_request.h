// SPDX-License-Identifier: Apache-2.0
// The Open Inference Protocol's ModelInferRequest to the engine's request.
#ifndef RECURVE_SERVER_GRPC_INFER_REQUEST_H_
#define RECURVE_SERVER_GRPC_INFER_REQUEST_H_

#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "engine/api/request.h"
#include "inference/inference.pb.h"

namespace recurve {

// What a ModelInferRequest asks for.
struct InferTerms {
  Request request;
  bool stream = false;
  std::string prepended;  // to the first sample's text, and each other's
  // Tensors beside text_output.
  bool finish_reason = false;
  bool cumulative_logprob = false;
  bool logprobs = false;
  bool num_input_tokens = false;
  bool num_output_tokens = false;
};

// Translates, with the defaults of vLLM's SamplingParams, 16 new tokens at temperature 1 among
// them. INVALID_ARGUMENT names the tensor, parameter or field: unknown ones, wrong types and
// shapes, contents that are cut short. NOT_FOUND: another model than `model_name`, or version
// than 1. `arrival` as of RequestFromProto; id and deadline are left to the caller.
absl::StatusOr<InferTerms> TermsFromInfer(const inference::ModelInferRequest& proto,
                                          const std::string& model_name, SteadyTime arrival);

// The prompt, as far as it can be found, for the log.
std::string TextForLog(const inference::ModelInferRequest& proto);

// NOT_FOUND unless this is the model that is served; an empty version is any.
absl::Status CheckModel(const std::string& name, const std::string& version,
                        const std::string& model_name);

// The same, but that a Refusal names the field as sampling_parameters has it: "n" for samples.
absl::Status WithInferNames(const absl::Status& status);

}  // namespace recurve

#endif  // RECURVE_SERVER_GRPC_INFER_REQUEST_H_
