// SPDX-License-Identifier: Apache-2.0
// What one sequence shares with others by way of the prefix cache.
#ifndef RECURVE_ENGINE_SCHEDULE_PREFIX_STATE_H_
#define RECURVE_ENGINE_SCHEDULE_PREFIX_STATE_H_

#include <array>
#include <cstdint>
#include <string>
#include <vector>

#include "engine/backend/step.h"
#include "engine/schedule/options.h"
#include "engine/schedule/sample.h"

namespace recurve {

struct Sequence;

struct PrefixState {
  // Of a sequence of `sample`, whose prompt has `prompt` tokens.
  static PrefixState Of(const ScheduledSample& sample, uint32_t prompt,
                        const ScheduleOptions& options);

  // What decides the entries of its tokens, and who may share them.
  std::string realm;
  bool finds = false;      // whether it takes what others have stored
  uint32_t shareable = 0;  // its first tokens that others may have in common with it
  uint32_t stores = 0;     // of these, those that the cache gets
  uint32_t stored = 0;     // the cache has got them, or had them when it was admitted
  // Of the first tokens that have run, at most `stores`: the recursions of each, and the entries in
  // each group after each node.
  std::vector<uint32_t> depths;
  std::vector<std::array<uint32_t, kMaxGroups>> counts;
  // While it waits for the prefix that another is computing: who, and how many tokens.
  const Sequence* leader = nullptr;
  uint32_t awaited = 0;
};

}  // namespace recurve

#endif  // RECURVE_ENGINE_SCHEDULE_PREFIX_STATE_H_
