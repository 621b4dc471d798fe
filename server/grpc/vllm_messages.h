// SPDX-License-Identifier: Apache-2.0
// vllm.grpc.engine.VllmEngine's messages to the engine's request, and what becomes of it to
// messages.
#ifndef RECURVE_SERVER_GRPC_VLLM_MESSAGES_H_
#define RECURVE_SERVER_GRPC_VLLM_MESSAGES_H_

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "engine/api/request.h"
#include "engine/api/snapshot.h"
#include "server/call/delta.h"
#include "server/grpc/request_from_proto.h"
#include "vllm/grpc/engine/vllm_engine.pb.h"

namespace recurve {

namespace vllm_proto = vllm::grpc::engine;

// Translates, with vLLM's defaults: temperature 1, no limit of new tokens but the server's.
// INVALID_ARGUMENT names the field of a request that asks for what this server has not: constraints
// on the text, images, remote caches, log probabilities of all tokens, fields that it does not
// know. `arrival` as of RequestFromProto; id and deadline are left to the caller.
absl::StatusOr<Request> RequestFromVllm(const vllm_proto::GenerateRequest& proto,
                                        SteadyTime arrival);

// The same, but that a Refusal names the field by its path in the message:
// "sampling_params.top_p" is 5.
absl::Status WithVllmPaths(const absl::Status& status);

// Of the prompt, as far as it is not cut off from the front.
PromptSize SizeOf(const vllm_proto::GenerateRequest& proto);

// The messages of one call, sample by sample. Holds all of a sample's tokens until its end, since
// the last message repeats them. Thread-compatible.
class VllmAnswer {
 public:
  explicit VllmAnswer(const vllm_proto::GenerateRequest& proto);

  // Takes what a call hands to its transport; the messages to be sent for it: none, a chunk, the
  // sample's end, or both.
  std::vector<vllm_proto::GenerateResponse> Take(const Delta& delta);

 private:
  struct Sample {
    std::vector<uint32_t> ids;
    vllm_proto::OutputLogProbs logprobs;
  };
  void AddTokens(const Delta& delta, vllm_proto::OutputLogProbs* logprobs) const;
  vllm_proto::InputLogProbs PromptLogprobs(const std::vector<PositionLogprobs>& positions) const;
  void FillComplete(const Delta& delta, Sample* sample, vllm_proto::GenerateComplete* proto) const;

  const bool streams_;
  const std::vector<uint32_t> prompt_;  // iff the prompt's log probabilities are wanted
  // Most likely tokens wanted beside each generated token, and each of the prompt; none: no log
  // probabilities at all.
  const std::optional<uint32_t> top_, prompt_top_;
  std::vector<Sample> samples_;
  std::optional<vllm_proto::InputLogProbs> prompt_logprobs_;  // until sample 0's first message
};

void FillVllmModelInfo(const EngineInfo& info, const std::string& directory,
                       vllm_proto::GetModelInfoResponse* proto);

// `tokens_per_second`: generated since the caller's last look.
void FillVllmLoad(const EngineInfo& info, const EngineSnapshot& snapshot, double tokens_per_second,
                  vllm_proto::SchedulerLoad* proto);

}  // namespace recurve

#endif  // RECURVE_SERVER_GRPC_VLLM_MESSAGES_H_
