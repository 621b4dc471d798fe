// SPDX-License-Identifier: Apache-2.0
// Servers of the Open Inference Protocol that generate text as Triton's vLLM backend does.
#ifndef RECURVE_CLIENT_LOAD_OIP_TARGET_H_
#define RECURVE_CLIENT_LOAD_OIP_TARGET_H_

#include <memory>
#include <nlohmann/json.hpp>
#include <set>
#include <string>

#include "client/cli/request_flags.h"
#include "client/load/servers_in_turn.h"
#include "client/load/target.h"
#include "inference/inference.grpc.pb.h"

namespace recurve::client {

// A stream of ModelStreamInfer for each request, at each of the servers in turn.
class OipTarget final : public Target {
 public:
  // `extra`: further members of sampling_parameters.
  OipTarget(const ConnectionFlags& connection, std::string model, nlohmann::json extra);

  absl::StatusOr<TargetInfo> Describe() override;  // before the first request
  absl::Status Check(const v1::GenerateRequest& request) const override;
  std::unique_ptr<Stream> Start(const v1::GenerateRequest& request, const CallOptions& call,
                                OnMessage on_message, OnEnd on_end) override;

 private:
  const std::string model_;
  const nlohmann::json extra_;
  const CallOptions call_;
  ServersInTurn<inference::GRPCInferenceService::Stub> servers_;
  std::set<std::string> inputs_;  // that the model takes
};

}  // namespace recurve::client

#endif  // RECURVE_CLIENT_LOAD_OIP_TARGET_H_
