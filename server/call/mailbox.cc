// SPDX-License-Identifier: Apache-2.0
#include "server/call/mailbox.h"

#include <algorithm>
#include <utility>

namespace recurve {

void Mailbox::Take(Delta* delta) {
  oldest.reset();
  delta->tokens = std::exchange(tokens, {});
  delta->prompt_logprobs = std::exchange(prompt_logprobs, std::nullopt);
  delta->generated_tokens = generated_tokens;
  if (finish && finish->status.ok()) {
    delta->finish = finish;
    final_sent = true;
  }
}

void Mailbox::Clear() {
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
