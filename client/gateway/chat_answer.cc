// SPDX-License-Identifier: Apache-2.0
#include <set>

#include "absl/strings/match.h"
#include "client/gateway/answer.h"
#include "client/gateway/token_logprobs.h"

namespace recurve::gateway {
namespace {

using nlohmann::json;

// A part of a character is told as U+FFFD, and its bytes are not known.
json Bytes(const std::string& text) {
  if (absl::StrContains(text, "\xEF\xBF\xBD")) return nullptr;
  json bytes = json::array();
  for (const char c : text) bytes.push_back(static_cast<unsigned char>(c));
  return bytes;
}

json Entry(const std::string& text, double logprob) {
  return {{"token", text}, {"logprob", logprob}, {"bytes", Bytes(text)}};
}

class ChatAnswer final : public Answer {
 public:
  ChatAnswer(AnswerHead head, const ChatTerms& terms)
      : Answer(std::move(head), terms), logprobs_(terms.logprobs) {}

 private:
  const char* Object(bool is_chunk) const override {
    return is_chunk ? "chat.completion.chunk" : "chat.completion";
  }

  json Delta(size_t choice, const v1::GenerateResponse& message) override {
    const bool is_first = begun_.insert(choice).second;
    if (!is_first && message.text().empty() && message.tokens().empty()) {
      if (!message.has_final()) return nullptr;
      return {{"delta", json::object()}, {"logprobs", nullptr}};
    }
    json delta = {{"content", message.text()}};
    if (is_first) delta["role"] = "assistant";
    return {{"delta", std::move(delta)}, {"logprobs", logprobs_ ? Logprobs(message) : json()}};
  }

  static json Logprobs(const v1::GenerateResponse& message) {
    json content = json::array();
    for (const TokenLogprobs& token : TokensOf(message)) {
      json& entry = content.emplace_back(Entry(token.text, token.logprob));
      entry["top_logprobs"] = json::array();
      for (const auto& [text, logprob] : token.top) {
        entry["top_logprobs"].push_back(Entry(text, logprob));
      }
    }
    return {{"content", std::move(content)}};
  }

  void Merge(const json& delta, json* choice) const override {
    if (choice->is_null()) {
      *choice = {{"message", {{"role", "assistant"}, {"content", ""}, {"refusal", nullptr}}},
                 {"logprobs", nullptr}};
    }
    if (delta["delta"].contains("content")) {
      (*choice)["message"]["content"].get_ref<std::string&>() +=
          delta["delta"]["content"].get_ref<const std::string&>();
    }
    if (delta["logprobs"].is_null()) return;
    json& content = (*choice)["logprobs"]["content"];
    const json& more = delta["logprobs"]["content"];
    if (content.is_null()) content = json::array();
    content.insert(content.end(), more.begin(), more.end());
  }

  const bool logprobs_;
  std::set<size_t> begun_;  // choices
};

}  // namespace

std::unique_ptr<Answer> MakeChatAnswer(AnswerHead head, const ChatTerms& terms) {
  return std::make_unique<ChatAnswer>(std::move(head), terms);
}

}  // namespace recurve::gateway
