// SPDX-License-Identifier: Apache-2.0
#include "engine/schedule/sequence.h"

#include <algorithm>
#include <tuple>
#include <utility>

namespace recurve {
namespace {

using Logprobs = std::span<const TokenLogprob>;

// The log probabilities of positions first .. last - 1; `all` is in position order.
Logprobs OfPositions(Logprobs all, uint32_t first, uint32_t last) {
  const auto below = [&all](uint32_t position) {
    return std::partition_point(all.begin(), all.end(), [position](const TokenLogprob& l) {
      return l.position < position;
    });
  };
  return first < last ? Logprobs{below(first), below(last)} : Logprobs{};
}

}  // namespace

Sequence::Sequence(ScheduledSample accepted, const ScheduleOptions& options, const StepShape& shape,
                   SteadyTime queued)
    : sample(std::move(accepted)),
      caps(sample.caps, shape.recursions),
      prompt(static_cast<uint32_t>(sample.prompt.size())),
      max_preemptions(options.max_preemptions) {
  const uint32_t new_tokens = NewTokens(sample, options);
  end = prompt - 1 + new_tokens;
  const bool fills_context =
      !IsEndless(sample, options) && prompt + new_tokens == options.limits.max_positions;
  end_reason = fills_context && !sample.max_tokens.has_value() ? EndReason::kContextLimit
                                                               : EndReason::kLength;
  tokens = std::move(sample.prompt);
  if (!sample.ignore_eos) stop_ids = options.eos_ids;
  eos_count = static_cast<uint32_t>(stop_ids.size());
  stop_ids.insert(stop_ids.end(), sample.stop_token_ids.begin(), sample.stop_token_ids.end());
  SamplingParams& sampling = sample.sampling;
  sampling.generated = prompt - sample.generated_prefix;
  sampling.min_end = sampling.generated + std::min(sample.min_tokens, kNoToken - prompt);
  stats.prompt_tokens = prompt;
  stats.queued = queued;
  stats.prompt_depth = stats.generated_depth = DepthCounts::None(shape.recursions);
  prefix_state = PrefixState::Of(sample, prompt, options);
}

EndReason Sequence::StopReason(uint32_t token) const {
  const auto eos_end = stop_ids.begin() + eos_count;
  return std::find(stop_ids.begin(), eos_end, token) != eos_end ? EndReason::kEndOfSequence
                                                                : EndReason::kStopToken;
}

bool Sequence::WantsPromptLogprobs() const {
  return sample.prompt_logprobs && told_rows + 1 < prompt;
}

std::optional<SteadyTime> Sequence::DueTime() const {
  std::optional<SteadyTime> due = sample.deadline;
  const auto at_most = [&due](const std::optional<SteadyTime>& time) {
    if (time.has_value() && (!due.has_value() || *time < *due)) due = time;
  };
  at_most(sample.time_limit);
  if (!stats.admitted.has_value()) at_most(sample.queue_deadline);
  return due;
}

bool Sequence::IsPreemptible() const { return stats.preemptions < max_preemptions; }

bool Sequence::Precedes(const Sequence& other) const {
  return std::tie(sample.priority, turn) < std::tie(other.sample.priority, other.turn);
}

void Sequence::FollowCap(uint32_t position, uint32_t cap) {
  const auto& least = sample.adaptive_min;
  if (!least.has_value()) return;
  // Rows that were told were computed under the caps of that time, and keep them if a preemption
  // has them computed again.
  caps.Limit(std::max(position, told_rows), std::max(cap, *least));
}

uint32_t Sequence::StoredPrefix() const {
  return std::min(prefix_state.stores, caps.FirstLowered());
}

uint32_t Sequence::FirstUntold(uint32_t position, uint32_t last) const {
  return std::clamp(told_rows, position, last);
}

void Sequence::TellRows(uint32_t position, std::span<const uint32_t> depths, Logprobs logprobs) {
  const uint32_t last = position + static_cast<uint32_t>(depths.size());
  const uint32_t first = FirstUntold(position, last);
  told_rows = std::max(told_rows, last);
  const uint32_t prompt_last = std::min(last, prompt);
  if (first >= prompt_last) return;
  if (!sample.prompt_logprobs) logprobs = {};
  sample.observer->OnPrompt({first, depths.subspan(first - position, prompt_last - first),
                             OfPositions(logprobs, first + 1, std::min(prompt_last + 1, prompt))});
}

bool Sequence::TellToken(TokenOutput output) {
  output.logprobs = OfPositions(output.logprobs, output.position, output.position + 1);
  tokens.push_back(output.token);
  return sample.observer->OnToken(output);
}

void Sequence::StopRecomputing(SteadyTime now) {
  if (recomputing_since.has_value()) stats.recompute_time += now - *recomputing_since;
  recomputing_since.reset();
}

uint32_t WantedRoom(const Stay& stay, uint32_t outstanding, const StepShape& shape,
                    uint32_t prompt_rows) {
  const SlotLimits& limits = stay.limits;
  const uint32_t next = stay.state.position + stay.state.rows;  // where the next span begins
  uint32_t wanted = next + 1 + outstanding;
  if (next < limits.prompt) {
    // A chunk takes as many steps as there are recursions, as a rule.
    const uint64_t chunks = uint64_t{limits.chunk} * (1 + outstanding / shape.recursions);
    const uint64_t rows = std::min<uint64_t>(chunks, prompt_rows);
    wanted = static_cast<uint32_t>(std::min<uint64_t>(limits.prompt, next + rows));
  }
  return std::max(limits.room, std::min({wanted, limits.end, stay.boundary}));
}

}  // namespace recurve
