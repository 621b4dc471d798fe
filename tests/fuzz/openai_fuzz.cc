// SPDX-License-Identifier: Apache-2.0
// The body of a request to recurve-gateway, taken for each of its endpoints.
#include <nlohmann/json.hpp>
#include <string>
#include <variant>

#include "client/gateway/api_error.h"
#include "client/gateway/parameters.h"
#include "tests/fuzz/fuzz.h"

namespace recurve::gateway {
namespace {

// What a client is told is JSON in OpenAI's form, whatever it asked.
void CheckError(const absl::Status& status) {
  CheckRefusal(status);
  const auto error = nlohmann::json::parse(ErrorJson(WithParamNames(status)))["error"];
  RECURVE_CHECK(error["message"].is_string() && HttpStatusOf(status) == 400);
}

// gRPC refuses what is not UTF-8, which serializing would say.
void CheckRequest(const v1::GenerateRequest& request) {
  v1::GenerateRequest again;
  RECURVE_CHECK(again.ParseFromString(request.SerializeAsString()));
}

void Take(const std::string& body) {
  const auto completion = ParseCompletion(body);
  if (completion.ok()) {
    RECURVE_CHECK(!completion->prompts.empty());
    CheckRequest(completion->request);
    for (const Prompt& prompt : completion->prompts) {
      if (const auto* text = std::get_if<std::string>(&prompt)) {
        v1::GenerateRequest request;
        request.set_text(*text);
        CheckRequest(request);
      }
    }
  } else {
    CheckError(completion.status());
  }
  const auto chat = ParseChat(body);
  if (chat.ok()) {
    CheckRequest(chat->request);
    RECURVE_CHECK(chat->messages.is_array() && !chat->messages.empty());
    chat->messages.dump();  // throws what is not UTF-8
  } else {
    CheckError(chat.status());
  }
  const auto tokenize = ParseTokenize(body);
  if (!tokenize.ok()) CheckError(tokenize.status());
  const auto detokenize = ParseDetokenize(body);
  if (!detokenize.ok()) CheckError(detokenize.status());
}

}  // namespace
}  // namespace recurve::gateway

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  recurve::gateway::Take(std::string(recurve::AsText(data, size)));
  return 0;
}
