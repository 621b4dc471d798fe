// SPDX-License-Identifier: Apache-2.0
// What a call asks for: the bodies of OpenAI's requests as terms, with the parameters' names. A
// parameter that is not known, or not implemented, is an error that names it. Ranges are the
// server's to check.
#ifndef RECURVE_CLIENT_GATEWAY_PARAMETERS_H_
#define RECURVE_CLIENT_GATEWAY_PARAMETERS_H_

#include <cstdint>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "absl/status/statusor.h"
#include "recurve/v1/generation.pb.h"

namespace recurve::gateway {

using TokenIds = std::vector<uint32_t>;
using Prompt = std::variant<std::string, TokenIds>;

// Of both ways to generate.
struct Terms {
  std::string model;            // empty: the one that is served
  v1::GenerateRequest request;  // without a prompt
  bool stream = false;
  bool include_usage = false;        // as a chunk of its own at the end of a stream
  bool usage_in_each_chunk = false;  // and in each
  bool depths = false;               // of each token, see extension.h
  std::string user;                  // for the log
};

struct CompletionTerms : Terms {
  std::vector<Prompt> prompts;  // at least one
  bool echo = false;
  std::optional<uint32_t> logprobs;  // how many tokens beside the sampled one
};

struct ChatTerms : Terms {
  nlohmann::json messages;  // an array of objects; their texts in one piece each
  bool add_generation_prompt = true;
  bool logprobs = false;
};

// Text to ids; of a prompt or of messages.
struct TokenizeTerms {
  std::string model;
  std::optional<std::string> prompt;
  std::optional<nlohmann::json> messages;
  bool add_generation_prompt = true;
  std::optional<bool> add_special_tokens;  // unset: true for a prompt, false for messages
  bool return_token_strs = false;
};

struct DetokenizeTerms {
  std::string model;
  TokenIds tokens;
};

// Of /v1/completions, /v1/chat/completions, /tokenize and /detokenize.
absl::StatusOr<CompletionTerms> ParseCompletion(const std::string& body);
absl::StatusOr<ChatTerms> ParseChat(const std::string& body);
absl::StatusOr<TokenizeTerms> ParseTokenize(const std::string& body);
absl::StatusOr<DetokenizeTerms> ParseDetokenize(const std::string& body);

}  // namespace recurve::gateway

#endif  // RECURVE_CLIENT_GATEWAY_PARAMETERS_H_
