// SPDX-License-Identifier: Apache-2.0
#include "client/load/record.h"

namespace recurve::client {

void RequestRecord::Hear(const v1::GenerateResponse& message, double now) {
  const auto tokens = static_cast<uint32_t>(message.tokens_size());
  if (tokens > 0) messages.push_back({now, tokens});
  prompt_tokens = message.usage().prompt_tokens();
  generated_tokens = message.usage().generated_tokens();
  if (!message.has_final()) return;
  cached_tokens = message.final().cached_tokens();
  drained = message.final().finish_reason() == v1::FINISH_REASON_DRAINED;
  if (generated_tokens > 0) {
    mean_depth = message.final().generated_depth().mean_depth();
    generated_rows = generated_tokens - 1;  // the last token never becomes a row
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
