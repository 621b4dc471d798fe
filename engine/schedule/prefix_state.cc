// SPDX-License-Identifier: Apache-2.0
#include "engine/schedule/prefix_state.h"

#include <algorithm>

#include "engine/kv/budget.h"

namespace recurve {
namespace {

// Appends the bytes of `value`.
template <typename Word>
void AppendWord(Word value, std::string& bytes) {
  bytes.append(reinterpret_cast<const char*>(&value), sizeof(value));
}

// The tenant is part of the realm: if tenants shared prefixes, one could find out from the time to
// the first token what another has asked.
std::string RealmOf(const ScheduledSample& sample) {
  std::string realm = sample.tenant + '\0';
  AppendWord(sample.threshold_logit, realm);
  AppendWord(sample.caps.size(), realm);
  for (const DepthCap& change : sample.caps) {
    AppendWord(change.position, realm);
    AppendWord(change.cap, realm);
  }
  const KvBudget& budget = sample.budget;
  if (!budget.limited()) return realm;
  for (const uint32_t word :
       {static_cast<uint32_t>(budget.policy), budget.sinks, budget.recent, budget.every}) {
    AppendWord(word, realm);
  }
  for (const GroupBudget& group : budget.groups) {
    AppendWord(group.entries, realm);
    AppendWord(group.percent, realm);
  }
  return realm;
}

}  // namespace

PrefixState PrefixState::Of(const ScheduledSample& sample, uint32_t prompt,
                            const ScheduleOptions& options) {
  PrefixState state;
  // The cache keeps neither the logits of tokens nor the attention that they paid to others, so
  // samples that need either run every token themselves.
  if (!options.prefix_cache || !sample.cache_prompt ||
      sample.budget.policy == EvictionPolicy::kAttention) {
    return state;
  }
  if (sample.prompt_logprobs && !sample.store_prompt) return state;
  state.realm = RealmOf(sample);
  state.finds = !sample.prompt_logprobs;
  state.shareable = sample.budget.NextBoundary(0);  // until entries are dropped
  state.stores = sample.cache_generated ? state.shareable : std::min(state.shareable, prompt);
  return state;
}

}  // namespace recurve
