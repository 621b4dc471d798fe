// SPDX-License-Identifier: Apache-2.0
#ifndef RECURVE_CLIENT_LOAD_RECURVE_TARGET_H_
#define RECURVE_CLIENT_LOAD_RECURVE_TARGET_H_

#include <memory>
#include <optional>
#include <string>

#include "client/cli/request_flags.h"
#include "client/load/target.h"

namespace recurve::client {

// Recurve servers, by recurve.v1: one, or several replicas.
class RecurveTarget final : public Target {
 public:
  explicit RecurveTarget(const ConnectionFlags& connection)
      : client_(connection.options()),
        call_(connection.call()),
        is_one_server_(connection.is_one_server()) {}

  absl::StatusOr<TargetInfo> Describe() override;
  absl::Status Check(const v1::GenerateRequest& /*request*/) const override {
    return absl::OkStatus();
  }
  std::unique_ptr<Stream> Start(const v1::GenerateRequest& request, const CallOptions& call,
                                OnMessage on_message, OnEnd on_end) override;
  bool tries_again() const override { return true; }
  absl::StatusOr<uint32_t> CountTokens(const std::string& text, bool add_special) override;
  std::optional<v1::GetLoadResponse> AskLoad() override;  // of one server, not of several

 private:
  Client client_;
  const CallOptions call_;
  const bool is_one_server_;
};

Heard HeardOf(const v1::GenerateResponse& message);

}  // namespace recurve::client

#endif  // RECURVE_CLIENT_LOAD_RECURVE_TARGET_H_
