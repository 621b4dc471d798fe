// SPDX-License-Identifier: Apache-2.0
// What is said to and by a server of OpenAI's completions.
#ifndef RECURVE_CLIENT_LOAD_OPENAI_MESSAGES_H_
#define RECURVE_CLIENT_LOAD_OPENAI_MESSAGES_H_

#include <cstdint>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "recurve/v1/generation.pb.h"

namespace recurve::client {

// The body of POST /v1/completions, streamed, with usage. `extra` is merged into it; its nulls
// remove members.
std::string CompletionBody(const v1::GenerateRequest& request, const std::string& model,
                           const nlohmann::json& extra);

struct CompletionChunk {
  bool is_last = false;     // [DONE], of which there is nothing else
  bool has_choice = false;  // else it has usage alone
  bool has_text = false;
  // Of the request so far, where the chunk tells.
  std::optional<uint64_t> prompt_tokens, cached_tokens, generated_tokens;
};

// Of an event's data. InvalidArgument for what is no chunk; Internal, with the server's message,
// for an error in it.
absl::StatusOr<CompletionChunk> ParseChunk(const std::string& data);

// The first model of an answer of GET /v1/models.
absl::StatusOr<std::string> FirstModel(const std::string& body);

// Of an answer other than 200: its code as a status, with the message that its body has.
// `retry_after`, in seconds, is pushback; empty: none.
absl::Status StatusOfAnswer(int code, const std::string& retry_after, const std::string& body);

}  // namespace recurve::client

#endif  // RECURVE_CLIENT_LOAD_OPENAI_MESSAGES_H_
