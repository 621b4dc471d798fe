// SPDX-License-Identifier: Apache-2.0
#include "client/load/record.h"

namespace recurve::client {
namespace {

// Evenly over the messages, the first with one at least; what is left without any goes.
void SpreadTokens(uint64_t tokens, std::vector<RequestRecord::TokenMessage>& messages) {
  const uint64_t count = messages.size();
  const auto until = [&](uint64_t message) { return (message * tokens + count - 1) / count; };
  for (uint64_t i = 0; i < count; ++i) {
    messages[i].tokens = static_cast<uint32_t>(until(i + 1) - until(i));
  }
  std::erase_if(messages, [](const auto& message) { return message.tokens == 0; });
}

}  // namespace

void RequestRecord::Hear(const Heard& message, double now) {
  if (!message.tokens) token_counts = TokenCounts::kNone;
  const uint32_t tokens = message.tokens.value_or(1);
  if (tokens > 0) messages.push_back({now, tokens});
  prompt_tokens = message.prompt_tokens.value_or(prompt_tokens);
  generated_tokens = message.generated_tokens.value_or(generated_tokens);
  cached_tokens = message.cached_tokens.value_or(cached_tokens);
  drained = message.drained;
  if (message.generated_rows == 0) return;
  mean_depth = message.mean_depth;
  generated_rows = message.generated_rows;
}

void RequestRecord::End(const absl::Status& with, double now) {
  status = with;
  ended = now;
  if (token_counts == TokenCounts::kOfMessages) return;
  if (generated_tokens == 0) {
    generated_tokens = messages.size();
  } else {
    token_counts = TokenCounts::kOfRequest;
    SpreadTokens(generated_tokens, messages);
  }
}

std::string RequestRecord::outcome() const {
  if (status.ok()) return drained ? kDrained : kCompleted;
  return absl::StatusCodeToString(status.code());
}

std::optional<double> RequestRecord::time_to_first_token() const {
  if (messages.empty()) return std::nullopt;
  return messages.front().at - intended;
}

std::optional<double> RequestRecord::time_per_output_token() const {
  if (messages.size() < 2) return std::nullopt;
  uint64_t tokens = 0;
  for (size_t i = 1; i < messages.size(); ++i) tokens += messages[i].tokens;
  return (messages.back().at - messages.front().at) / static_cast<double>(tokens);
}

std::vector<double> RequestRecord::inter_token_latencies() const {
  std::vector<double> latencies;
  for (size_t i = 1; i < messages.size(); ++i) {
    const double gap = messages[i].at - messages[i - 1].at;
    latencies.insert(latencies.end(), messages[i].tokens, gap / messages[i].tokens);
  }
  return latencies;
}

}  // namespace recurve::client
