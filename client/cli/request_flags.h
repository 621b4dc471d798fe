// SPDX-License-Identifier: Apache-2.0
// Command-line flags of a connection and of a generation request.
#ifndef RECURVE_CLIENT_CLI_REQUEST_FLAGS_H_
#define RECURVE_CLIENT_CLI_REQUEST_FLAGS_H_

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "client/client.h"
#include "recurve/v1/generation.pb.h"

namespace CLI {
class App;
}

namespace recurve::client {

struct ConnectionFlags {
  std::string server = "127.0.0.1:50051";  // or several, separated by commas
  std::string balance = "least_outstanding";
  ClientOptions client;          // all but the two above
  double timeout_seconds = 0.0;  // 0: none
  std::string request_id;
  bool resume = false;

  bool is_one_server() const;  // not several, nor a name that may stand for several
  ClientOptions options() const;
  CallOptions call() const;
};
// --server, --timeout and those of credentials, which every command that calls a server has: for
// one server, or for calls that go to any of several.
enum class Servers { kOne, kSeveral };
void AddConnectionFlags(CLI::App& app, Servers servers, ConnectionFlags& flags);
// --attempts: health is never asked again.
void AddRetryFlag(CLI::App& app, ConnectionFlags& flags);
// --balance, --prefix_tokens and --resume, of commands that generate.
void AddBalanceFlags(CLI::App& app, ConnectionFlags& flags);
// --request_id: for requests that the server logs.
void AddRequestIdFlag(CLI::App& app, ConnectionFlags& flags, const std::string& help);

// Unset flags stay unset in the request, so that the server's defaults hold.
struct SamplingFlags {
  std::optional<float> temperature, top_p, min_p;
  std::optional<float> repetition_penalty, presence_penalty, frequency_penalty;
  std::optional<uint32_t> top_k;
  std::optional<uint64_t> seed;
  std::optional<uint32_t> max_tokens, min_tokens;
  std::vector<std::string> stop_strings;
  std::vector<uint32_t> stop_token_ids;
  bool include_stop_string = false;
  bool ignore_eos = false;
  std::optional<uint32_t> max_recursions;
  std::optional<float> router_threshold;
  std::optional<uint32_t> adaptive_min;
  std::optional<uint32_t> time_limit_ms;

  // Everything but the prompt and the output options.
  void Fill(v1::GenerateRequest& request) const;
};
// All but --max_tokens, which a load draws for each request.
void AddSamplingFlags(CLI::App& app, SamplingFlags& flags);
void AddMaxTokensFlag(CLI::App& app, SamplingFlags& flags);

}  // namespace recurve::client

#endif  // RECURVE_CLIENT_CLI_REQUEST_FLAGS_H_
