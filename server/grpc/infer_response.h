// SPDX-License-Identifier: Apache-2.0
// What becomes of a ModelInferRequest, as the Open Inference Protocol's messages.
#ifndef RECURVE_SERVER_GRPC_INFER_RESPONSE_H_
#define RECURVE_SERVER_GRPC_INFER_RESPONSE_H_

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "engine/engine.h"
#include "inference/inference.pb.h"
#include "server/call/delta.h"
#include "server/grpc/infer_request.h"
#include "server/observe/metrics.h"

namespace recurve {

// The responses to one request. Thread-compatible.
class InferAnswer {
 public:
  InferAnswer(const inference::ModelInferRequest& proto, const InferTerms& terms);

  // Takes what a call hands to its transport. With `stream` each gives a response, without it the
  // end of the last sample gives one for all of them. `engine` names tokens.
  std::optional<inference::ModelInferResponse> Take(const Delta& delta, const Engine& engine);

 private:
  struct Sample {
    std::string text;      // since the last response
    std::string logprobs;  // JSON objects of tokens, separated by commas, likewise
    double cumulative_logprob = 0;
    uint32_t tokens = 0, told_tokens = 0;
    const char* finish_reason = "None";  // as Python writes that there is none yet
  };
  void Note(const Delta& delta, const Engine& engine);
  inference::ModelInferResponse Respond();

  inference::ModelInferResponse frame_;  // name, version and id of each response
  const bool stream_;
  const bool finish_reason_, cumulative_logprob_, logprobs_, num_input_tokens_, num_output_tokens_;
  std::vector<Sample> samples_;
  uint32_t prompt_tokens_ = 0;
  size_t unfinished_;
};

void FillServerMetadata(inference::ServerMetadataResponse* proto);
void FillModelMetadata(const EngineInfo& info, inference::ModelMetadataResponse* proto);
void FillModelConfig(const EngineInfo& info, inference::ModelConfig* proto);
void FillModelStatistics(const EngineInfo& info, const EngineSnapshot& snapshot,
                         const Metrics::Latencies& latencies, inference::ModelStatistics* proto);

}  // namespace recurve

#endif  // RECURVE_SERVER_GRPC_INFER_RESPONSE_H_
