// SPDX-License-Identifier: Apache-2.0
#include "engine/schedule/prompt_budget.h"

namespace recurve {
namespace {

// Of a step that prompts share. Twice is what is promised; prompts see more entries than the rows
// by which costs were measured.
constexpr double kSlowdown = 1.8;

// A prompt goes on whatever it costs, and however badly that was measured.
constexpr uint32_t kLeastRows = 4;

}  // namespace

void PromptBudget::Begin(uint32_t generating) {
  prompts_ = 0;
  rows_ = kNoBound;
  const double rows = std::min(generating, block_rows_);
  const double most = kSlowdown * costs_.block.At(rows);
  if (most == 0) return;
  const auto fits = [&](uint32_t prompt_rows) {
    return costs_.block.At(rows + prompt_rows) + costs_.prompt_ends.At(prompt_rows) <= most;
  };
  uint32_t fit = std::min(kLeastRows, prompt_rows_);
  uint32_t too_many = prompt_rows_ + 1;
  while (fit + 1 < too_many) {
    const uint32_t middle = fit + (too_many - fit) / 2;
    (fits(middle) ? fit : too_many) = middle;
  }
  left_ = rows_ = fit;
}

void PromptBudget::Count(const Stay& stay) {
  ++prompts_;
  left_ -= RowsInFlight(stay);
}

uint32_t PromptBudget::RowsFor(const Stay& stay) const {
  if (rows_ == kNoBound) return kNoBound;
  const int64_t share = std::max(1U, rows_ / prompts_);
  const int64_t left = left_ + RowsInFlight(stay);
  return static_cast<uint32_t>(std::clamp<int64_t>(left, 0, share));
}

}  // namespace recurve
