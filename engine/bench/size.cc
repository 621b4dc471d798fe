// SPDX-License-Identifier: Apache-2.0
#include "engine/bench/size.h"

#include <algorithm>
#include <cmath>
#include <functional>
#include <numeric>

#include "engine/backend/model_shape.h"
#include "engine/bench/shapes.h"
#include "engine/kv/page_tables.h"
#include "engine/model/tensor_layout.h"

namespace recurve {
namespace {

uint64_t CountParameters(const ModelConfig& config) {
  Weights places;
  uint64_t sum = 0;
  for (const TensorSlot& slot : LayOutTensors(config, &places)) {
    sum += std::accumulate(slot.shape.begin(), slot.shape.end(), uint64_t{1}, std::multiplies<>());
  }
  return sum;
}

void AddMemory(const ModelConfig& config, const SizeQuestion& question, SizeAnswer& answer) {
  answer.parameters = CountParameters(config);
  answer.weight_bytes = answer.parameters * question.number_bytes;
  const EntriesPerPage entries_per_page = PageEntries(config);
  answer.pages_per_stream = PagesForTokens(question.context, KvBudget(), entries_per_page);
  answer.pages = answer.pages_per_stream * question.streams;
  answer.kv_bytes = answer.pages * question.page_bytes;
  const StepShape shape = ShapeOf(config);
  for (uint32_t group = 0; group < shape.groups(); ++group) {
    if (entries_per_page[group] == 0) continue;
    const bool end = group == shape.entry_group() || group == shape.exit_group();
    const double share = end ? 1.0 : question.shares[group - 1];
    const auto entries = static_cast<uint64_t>(std::ceil(share * question.context));
    const uint64_t bytes =
        PagesForEntries(entries, entries_per_page[group]) * question.streams * question.page_bytes;
    answer.expected_bytes_by_group.emplace_back(GroupName(shape, group), bytes);
    answer.expected_kv_bytes += bytes;
  }
}

// Every stream has a row in the block in each step, so that a token takes as many steps as it takes
// recursions, and of those who are many some leave and enter in each.
void AddBounds(const ModelConfig& config, const SizeQuestion& question, SizeAnswer& answer) {
  if (question.bytes_per_second <= 0) return;
  const double depth = std::accumulate(question.shares.begin(), question.shares.end(), 0.0);
  const double tokens = question.streams / depth;  // of a step
  const auto bytes_of = [&](const std::vector<double>& shares, double context) {
    return BytesPerToken(config, shares, context, static_cast<double>(question.number_bytes),
                         question.kv_precision);
  };
  const double ends = bytes_of({}, 0);
  const double block = bytes_of({1.0}, 0) - ends;
  const double entries = bytes_of(question.shares, question.context) - bytes_of(question.shares, 0);
  const double bytes = block + std::min(1.0, tokens) * ends + tokens * entries;
  answer.step_seconds = bytes / question.bytes_per_second;
  if (question.flops_per_second > 0) {
    const double flops = FlopsPerToken(config, question.shares, question.context);
    answer.step_seconds = std::max(answer.step_seconds, tokens * flops / question.flops_per_second);
    const double head = 2.0 * config.hidden_size * config.vocab_size;
    answer.prompt_tokens_per_second =
        question.flops_per_second /
        (FlopsPerToken(config, question.shares, question.context / 2.0) - head);
  }
  answer.tokens_per_second = tokens / answer.step_seconds;
}

}  // namespace

SizeAnswer ComputeSize(const ModelConfig& config, const SizeQuestion& question) {
  SizeAnswer answer;
  AddMemory(config, question, answer);
  AddBounds(config, question, answer);
  return answer;
}

}  // namespace recurve
