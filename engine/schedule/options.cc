// SPDX-License-Identifier: Apache-2.0
#include "engine/schedule/options.h"

#include <algorithm>
#include <string>

#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "engine/base/status_macros.h"
#include "engine/kv/page_tables.h"

namespace recurve {
namespace {

constexpr uint32_t kMostTokens = 1U << 30;  // of an endless sample, so that positions are 32 bits

absl::Status Invalid(absl::string_view field, uint64_t value, absl::string_view expected) {
  return absl::InvalidArgumentError(absl::StrCat(field, " is ", value, "; expected ", expected));
}

absl::Status AtLeast(absl::string_view field, uint64_t value, uint64_t least) {
  return value >= least ? absl::OkStatus()
                        : Invalid(field, value, absl::StrCat("at least ", least));
}

absl::Status AtMost(absl::string_view field, uint64_t value, uint64_t most) {
  return value <= most ? absl::OkStatus() : Invalid(field, value, absl::StrCat("at most ", most));
}

absl::Status Within(absl::string_view field, uint64_t value, uint64_t least, uint64_t most) {
  if (value >= least && value <= most) return absl::OkStatus();
  return Invalid(field, value, absl::StrCat(least, " to ", most));
}

absl::Status InVocabulary(absl::string_view field, uint32_t id, uint32_t vocab_size) {
  if (id < vocab_size) return absl::OkStatus();
  return Invalid(field, id, absl::StrCat("an id below the vocabulary's size ", vocab_size));
}

absl::Status ValidateBudget(const KvBudget& budget, const StepShape& shape) {
  if (!budget.limited()) return absl::OkStatus();
  RETURN_IF_ERROR(AtLeast("evict_every", budget.every, 1));
  const uint64_t kept = uint64_t{budget.sinks} + budget.recent;
  for (uint32_t group = 0; group < shape.groups(); ++group) {
    const uint32_t entries = budget.groups[group].entries;
    if (entries == 0 || entries >= kept) continue;
    return absl::InvalidArgumentError(
        absl::StrCat("kv_budget of ", entries, " entries is less than the ", budget.sinks,
                     " sinks and ", budget.recent, " recent entries that stay"));
  }
  return absl::OkStatus();
}

absl::Status ValidateLength(const ScheduledSample& sample, const ScheduleOptions& options) {
  const uint64_t prompt = sample.prompt.size();
  const uint64_t context = options.limits.max_positions;
  if (prompt == 0) return absl::InvalidArgumentError("prompt has 0 tokens; expected at least 1");
  RETURN_IF_ERROR(AtMost("generated_prefix", sample.generated_prefix, prompt));
  if (sample.max_tokens == 0U && !sample.prompt_logprobs) {
    return absl::InvalidArgumentError("max_tokens is 0, which only prompt log probabilities allow");
  }
  const bool endless = IsEndless(sample, options);
  // An endless stream may have been beyond the context when it broke.
  const uint64_t told = endless ? sample.generated_prefix : 0;
  RETURN_IF_ERROR(AtMost("number of prompt tokens", prompt - told, context));
  if (!endless && !sample.max_tokens.has_value() && prompt == context) {
    return absl::InvalidArgumentError(absl::StrCat(
        "prompt of ", prompt, " tokens leaves no new one in the context of ", context, " tokens"));
  }
  if (!endless && prompt + sample.max_tokens.value_or(0) > context) {
    const bool is_late = sample.budget.bounds_all(options.entries_per_page);
    return absl::InvalidArgumentError(absl::StrCat(
        "prompt of ", prompt, " tokens and max_tokens of ", *sample.max_tokens,
        " exceed the context of ", context, " tokens",
        is_late ? ", before which kv_budget cannot drop enough with evict_every of " : "",
        is_late ? absl::StrCat(sample.budget.every) : ""));
  }
  RETURN_IF_ERROR(AtMost("max_tokens", NewTokens(sample, options), kMostTokens));
  const uint32_t end = static_cast<uint32_t>(prompt - 1) + NewTokens(sample, options);
  const uint64_t pages = PagesForTokens(end, sample.budget, options.entries_per_page);
  if (pages > options.limits.pages) {
    return absl::InvalidArgumentError(absl::StrCat(
        "prompt of ", prompt, " tokens and ", NewTokens(sample, options), " new ones need up to ",
        pages, " cache pages; the pool holds ", options.limits.pages));
  }
  return absl::OkStatus();
}

}  // namespace

absl::Status ValidateOptions(const ScheduleOptions& options, const StepShape& shape) {
  const BackendLimits& limits = options.limits;
  RETURN_IF_ERROR(AtLeast("recursions", shape.recursions, 1));
  RETURN_IF_ERROR(AtMost("recursions", shape.recursions, kMaxGroups - 2));
  // Each row and slot has memory of its own from the start, so a larger number is a typing error.
  constexpr uint32_t kMost = 65'536;
  RETURN_IF_ERROR(Within("slots", limits.slots, 1, kMost));
  RETURN_IF_ERROR(Within("areas", limits.areas, 1, kMost));
  RETURN_IF_ERROR(Within("chunk", limits.chunk, 1, kMost));
  RETURN_IF_ERROR(Within("ends", limits.ends, 1, kMost));
  RETURN_IF_ERROR(Within("block_rows", limits.block_rows, 1, kMost));
  RETURN_IF_ERROR(Within("prompt_rows", limits.prompt_rows, 1, kMost));
  RETURN_IF_ERROR(AtLeast("plan_changes", limits.plan_changes, 1));
  if (limits.chunk > limits.prompt_rows) {
    return Invalid("chunk", limits.chunk,
                   absl::StrCat("at most prompt_rows, ", limits.prompt_rows,
                                "; lower the one or raise the other"));
  }
  // Each cache group of a sequence has pages of its own.
  const auto groups =
      options.entries_per_page.size() -
      std::count(options.entries_per_page.begin(), options.entries_per_page.end(), 0U);
  RETURN_IF_ERROR(AtLeast("kv_pages", limits.pages, static_cast<uint64_t>(groups)));
  RETURN_IF_ERROR(AtLeast("max_positions", limits.max_positions, 1));
  RETURN_IF_ERROR(AtLeast("vocab_size", options.vocab_size, 1));
  RETURN_IF_ERROR(AtLeast("prefix_node_tokens", options.prefix_node_tokens, 1));
  RETURN_IF_ERROR(AtLeast("default_max_tokens", options.default_max_tokens, 1));
  RETURN_IF_ERROR(AtLeast("max_queued_requests", options.max_queued_requests, 1));
  RETURN_IF_ERROR(AtLeast("max_queued_tokens", options.max_queued_tokens, limits.max_positions));
  RETURN_IF_ERROR(AtMost("number of eos_ids", options.eos_ids.size(), limits.max_stop_ids));
  for (const uint32_t id : options.eos_ids) {
    RETURN_IF_ERROR(InVocabulary("eos id", id, options.vocab_size));
  }
  if (options.queue_time_goal.has_value()) {
    if (shape.recursions == 1) {
      return absl::InvalidArgumentError(
          "--adaptive_depth has nothing to lower: this model runs every token in one recursion");
    }
    if (options.queue_time_goal->count() <= 0) {
      return absl::InvalidArgumentError("--queue_time_goal is not above 0");
    }
  }
  return absl::OkStatus();
}

bool IsEndless(const ScheduledSample& sample, const ScheduleOptions& options) {
  const KvBudget& budget = sample.budget;
  if (!budget.bounds_all(options.entries_per_page)) return false;
  // Before some go a group holds what it keeps and `every` entries more: all of that must fit.
  for (size_t group = 0; group < options.entries_per_page.size(); ++group) {
    const uint64_t most = uint64_t{budget.groups[group].entries} + budget.every;
    if (options.entries_per_page[group] > 0 && most > options.limits.max_positions) return false;
  }
  return true;
}

uint32_t NewTokens(const ScheduledSample& sample, const ScheduleOptions& options) {
  if (sample.max_tokens.has_value()) return *sample.max_tokens;
  // With those of the earlier stream as many as it would have had, had it not broken.
  const uint32_t left = options.default_max_tokens -
                        std::min(options.default_max_tokens - 1, sample.generated_prefix);
  if (IsEndless(sample, options)) return left;
  const uint32_t context = options.limits.max_positions;
  const uint32_t prompt = static_cast<uint32_t>(std::min<size_t>(sample.prompt.size(), context));
  return std::min(left, context - prompt);
}

absl::Status CheckCanRun(const ScheduledSample& sample, const ScheduleOptions& options,
                         const StepShape& shape) {
  const BackendLimits& limits = options.limits;
  RETURN_IF_ERROR(ValidateBudget(sample.budget, shape));
  RETURN_IF_ERROR(ValidateLength(sample, options));
  RETURN_IF_ERROR(AtMost("min_tokens", sample.min_tokens,
                         uint64_t{sample.generated_prefix} + NewTokens(sample, options)));
  for (const uint32_t id : sample.prompt) {
    RETURN_IF_ERROR(InVocabulary("prompt token", id, options.vocab_size));
  }
  for (size_t i = 0; i < sample.caps.size(); ++i) {
    RETURN_IF_ERROR(AtLeast("max_recursions", sample.caps[i].cap, 1));
    RETURN_IF_ERROR(AtMost("max_recursions", sample.caps[i].cap, shape.recursions));
    if (i > 0 && sample.caps[i].position <= sample.caps[i - 1].position) {
      return absl::InvalidArgumentError("positions of depth caps do not ascend");
    }
  }
  if (sample.adaptive_min.has_value()) {
    RETURN_IF_ERROR(Within("adaptive_min", *sample.adaptive_min, 1, shape.recursions));
  }
  if (sample.prompt_logprobs && !sample.logprobs.has_value()) {
    return absl::InvalidArgumentError("prompt_logprobs is set without logprobs");
  }
  RETURN_IF_ERROR(AtMost("logprobs", sample.logprobs.value_or(0), limits.max_logprobs));
  RETURN_IF_ERROR(
      AtMost("number of entries of logit_bias", sample.biases.size(), limits.max_biases));
  for (const TokenBias& bias : sample.biases) {
    RETURN_IF_ERROR(InVocabulary("token of logit_bias", bias.token, options.vocab_size));
  }
  const size_t eos = sample.ignore_eos ? 0 : options.eos_ids.size();
  RETURN_IF_ERROR(AtMost("number of stop_token_ids, end-of-sequence ids included,",
                         sample.stop_token_ids.size() + eos, limits.max_stop_ids));
  for (const uint32_t id : sample.stop_token_ids) {
    RETURN_IF_ERROR(InVocabulary("one of stop_token_ids", id, options.vocab_size));
  }
  return absl::OkStatus();
}

QueueLoad LoadOf(std::span<const ScheduledSample> samples) {
  QueueLoad load{static_cast<uint32_t>(samples.size()), 0};
  for (const ScheduledSample& sample : samples) load.tokens += sample.prompt.size();
  return load;
}

absl::Status CheckCapacity(const QueueLoad& waiting, const QueueLoad& more, const QueueLoad& most) {
  if (more.samples > most.samples) {
    return absl::InvalidArgumentError(absl::StrCat(
        more.samples, " samples can never wait together; max_queued_requests is ", most.samples));
  }
  if (more.tokens > most.tokens) {
    return absl::InvalidArgumentError(
        absl::StrCat("prompts of ", more.tokens, " tokens, all samples together, can never wait; ",
                     "max_queued_tokens is ", most.tokens));
  }
  if (uint64_t{waiting.samples} + more.samples > most.samples) {
    const std::string come = more.samples == 1 ? "" : absl::StrCat(" and ", more.samples, " come");
    return absl::ResourceExhaustedError(absl::StrCat("queue is full: ", waiting.samples,
                                                     " requests wait", come,
                                                     "; max_queued_requests is ", most.samples));
  }
  if (waiting.tokens + more.tokens > most.tokens) {
    return absl::ResourceExhaustedError(
        absl::StrCat("queue is full: ", waiting.tokens, " tokens wait and the request has ",
                     more.tokens, "; max_queued_tokens is ", most.tokens));
  }
  return absl::OkStatus();
}

}  // namespace recurve
