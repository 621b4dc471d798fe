// SPDX-License-Identifier: Apache-2.0
#include "server/call/mailbox.h"

#include <algorithm>
#include <utility>

namespace recurve {

void Mailbox::Add(std::span<const TokenEvent> more) {
  for (const TokenEvent& event : more) {
    text.append(event.text);
    DeltaToken& token = tokens.emplace_back();
    token.id = event.id;
    token.depth = event.depth;
    token.text_bytes = static_cast<uint32_t>(event.text.size());
    if (event.logprobs != nullptr) token.logprobs = *event.logprobs;
  }
}

void Mailbox::Take(Delta* delta) {
  oldest.reset();
  delta->text = std::exchange(text, {});
  delta->tokens = std::exchange(tokens, {});
  delta->prompt_logprobs = std::exchange(prompt_logprobs, std::nullopt);
  delta->generated_tokens = generated_tokens;
  if (finish && finish->status.ok()) {
    delta->finish = finish;
    final_sent = true;
  }
}

void Mailbox::Clear() {
  text.clear();
  tokens.clear();
  prompt_logprobs.reset();
  oldest.reset();
}

uint32_t MostLikely(const std::vector<Mailbox>& samples) {
  const auto less = [](const Mailbox& a, const Mailbox& b) {
    return a.finish->cumulative_logprob < b.finish->cumulative_logprob;
  };
  return static_cast<uint32_t>(std::max_element(samples.begin(), samples.end(), less) -
                               samples.begin());
}

}  // namespace recurve
