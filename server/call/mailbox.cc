// SPDX-License-Identifier: Apache-2.0
#include "server/call/mailbox.h"

#include <algorithm>
#include <functional>
#include <utility>

namespace recurve {
namespace {

// Times that were never reached are left out.
std::optional<SteadyTime> Earlier(std::optional<SteadyTime> a, std::optional<SteadyTime> b) {
  return a && b ? std::min(a, b) : std::max(a, b);
}

void Add(const std::vector<uint64_t>& counts, std::vector<uint64_t>* sum) {
  sum->resize(std::max(sum->size(), counts.size()));
  std::transform(counts.begin(), counts.end(), sum->begin(), sum->begin(), std::plus<>());
}

}  // namespace

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

Finish CombineFinishes(const std::vector<Mailbox>& samples) {
  Finish all = *samples.front().finish;
  for (size_t i = 1; i < samples.size(); ++i) {
    const Finish& finish = *samples[i].finish;
    all.generated_tokens += finish.generated_tokens;
    all.preemptions += finish.preemptions;
    Add(finish.generated_depth.rows_by_depth, &all.generated_depth.rows_by_depth);
    all.admitted = Earlier(all.admitted, finish.admitted);
    all.first_token = Earlier(all.first_token, finish.first_token);
    all.last_token = std::max(all.last_token, finish.last_token);
    all.ended = std::max(all.ended, finish.ended);
  }
  return all;
}

}  // namespace recurve
