// SPDX-License-Identifier: Apache-2.0
// Servers of OpenAI's completions over HTTP or HTTPS.
#ifndef RECURVE_CLIENT_LOAD_OPENAI_TARGET_H_
#define RECURVE_CLIENT_LOAD_OPENAI_TARGET_H_

#include <memory>
#include <nlohmann/json.hpp>
#include <string>

#include "client/cli/request_flags.h"
#include "client/load/http_client.h"
#include "client/load/servers_in_turn.h"
#include "client/load/target.h"

namespace recurve::client {

struct OpenAiOptions {
  std::string model{};                              // empty: the first one of /v1/models
  nlohmann::json extra = nlohmann::json::object();  // further members of the body
  uint32_t vocab_size = 0;                          // with it prompts may be token ids
};

// A stream of POST /v1/completions for each request, at each of the servers in turn.
class OpenAiTarget final : public Target {
 public:
  static absl::StatusOr<std::unique_ptr<OpenAiTarget>> Create(const ConnectionFlags& connection,
                                                              OpenAiOptions options);

  absl::StatusOr<TargetInfo> Describe() override;  // before the first request
  absl::Status Check(const v1::GenerateRequest& request) const override;
  std::unique_ptr<Stream> Start(const v1::GenerateRequest& request, const CallOptions& call,
                                OnMessage on_message, OnEnd on_end) override;

 private:
  OpenAiTarget(const ConnectionFlags& connection, OpenAiOptions options)
      : options_(std::move(options)),
        token_(connection.client.credentials.token),
        call_(connection.call()) {}
  HttpRequest Prepare(const CallOptions& call) const;

  OpenAiOptions options_;
  const std::string token_;
  const CallOptions call_;
  ServersInTurn<HttpClient> servers_;
};

}  // namespace recurve::client

#endif  // RECURVE_CLIENT_LOAD_OPENAI_TARGET_H_
