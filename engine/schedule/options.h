// SPDX-License-Identifier: Apache-2.0
// What a schedule is dimensioned for, and which samples fit into that.
#ifndef RECURVE_ENGINE_SCHEDULE_OPTIONS_H_
#define RECURVE_ENGINE_SCHEDULE_OPTIONS_H_

#include <chrono>
#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "absl/status/status.h"
#include "engine/api/limits.h"
#include "engine/backend/backend.h"
#include "engine/backend/step.h"
#include "engine/base/token_id.h"
#include "engine/kv/page_pool.h"
#include "engine/schedule/policy.h"
#include "engine/schedule/sample.h"
#include "engine/schedule/stage_costs.h"

namespace recurve {

// How many samples wait, and the prompt tokens that they bring.
struct QueueLoad {
  uint32_t samples = 0;
  uint64_t tokens = 0;
};

struct ScheduleOptions : AdmissionLimits {
  BackendLimits limits;  // the backend's own. `ends`, `block_rows` and `prompt_rows` are each
                         // plan's caps; `max_positions` is the context
  EntriesPerPage entries_per_page{};
  uint32_t vocab_size = 0;
  std::vector<TokenId> eos_ids;  // end of sequence, unless a sample ignores them
  Policy policy;
  StageCosts costs;  // on this machine; without them `staged` is `depthwise`
  bool prefix_cache = true;
  uint32_t prefix_node_tokens = 64;  // tokens that are cached, or not, together
  // While samples wait longer than this, new tokens of those that allow it may run fewer
  // recursions (depth_dial.h); unset: never.
  std::optional<std::chrono::nanoseconds> queue_time_goal;
  QueueLoad most_queued() const { return {max_queued_requests, max_queued_tokens}; }
};

// InvalidArgument names the option, the value and what was expected.
absl::Status ValidateOptions(const ScheduleOptions& options, const StepShape& shape);

// Whether the sample's budget lets it go on beyond the context: it bounds each group, and drops
// entries before they fill the context.
bool IsEndless(const ScheduledSample& sample, const ScheduleOptions& options);

// Tokens that `sample` may generate: its own limit, or what the default and the context leave.
// `sample` need not be valid.
uint32_t NewTokens(const ScheduledSample& sample, const ScheduleOptions& options);

// Whether `sample` can run at all, alone in an empty engine: a function of these three alone.
// InvalidArgument names the field, the value and the limit.
absl::Status CheckCanRun(const ScheduledSample& sample, const ScheduleOptions& options,
                         const StepShape& shape);

// What these bring to the queue. Samples of one request have one prompt, but each that waits holds
// it.
QueueLoad LoadOf(std::span<const ScheduledSample> samples);

// Whether `more` can come at once to the `waiting` ones, where `most` is allowed. ResourceExhausted
// names the bound that they would break; InvalidArgument one that they would break in an empty
// queue.
absl::Status CheckCapacity(const QueueLoad& waiting, const QueueLoad& more, const QueueLoad& most);

}  // namespace recurve

#endif  // RECURVE_ENGINE_SCHEDULE_OPTIONS_H_
