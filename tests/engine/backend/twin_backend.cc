// SPDX-License-Identifier: Apache-2.0
#include "tests/engine/backend/twin_backend.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <utility>

#include "absl/strings/str_cat.h"
#include "engine/base/math.h"
#include "engine/base/status_macros.h"

namespace recurve {
namespace {

// The first difference that was told; later ones are dropped.
class Differences {
 public:
  // `where` and `field` name a word; the words are a number each.
  void Compare(const std::string& where, const char* field, uint64_t a, uint64_t b) {
    if (a == b || !first_.empty()) return;
    first_ = absl::StrCat(where, ": ", field, " is ", a, " and ", b);
  }
  const std::string& first() const { return first_; }

 private:
  std::string first_;
};

std::string SlotName(uint32_t slot) { return absl::StrCat("slot ", slot); }

void CompareOutcomes(const StepResult& a, const StepResult& b, Differences& differences) {
  for (size_t i = 0; i < std::min(a.outcomes.size(), b.outcomes.size()); ++i) {
    const Outcome& x = a.outcomes[i];
    const Outcome& y = b.outcomes[i];
    const std::string where = SlotName(x.slot);
    differences.Compare(where, "slot", x.slot, y.slot);
    differences.Compare(where, "ran", x.ran, y.ran);
    differences.Compare(where, "rows", x.rows, y.rows);
    differences.Compare(where, "active", x.active, y.active);
    differences.Compare(where, "token", x.token, y.token);
    differences.Compare(where, "flags", x.flags, y.flags);
  }
  differences.Compare("outcomes", "size", a.outcomes.size(), b.outcomes.size());
  for (size_t depth = 0; depth < std::min(a.depths.size(), b.depths.size()); ++depth) {
    differences.Compare(absl::StrCat("row ", depth, " of EXIT"), "depth", a.depths[depth],
                        b.depths[depth]);
  }
  differences.Compare("depths", "size", a.depths.size(), b.depths.size());
}

void CompareLogprobs(const StepResult& a, const StepResult& b, Differences& differences) {
  for (size_t i = 0; i < std::min(a.logprobs.size(), b.logprobs.size()); ++i) {
    const TokenLogprob& x = a.logprobs[i];
    const TokenLogprob& y = b.logprobs[i];
    const std::string where = absl::StrCat(SlotName(x.slot), ", log probability ", i);
    differences.Compare(where, "slot", x.slot, y.slot);
    differences.Compare(where, "position", x.position, y.position);
    differences.Compare(where, "id", x.id, y.id);
    differences.Compare(where, "bits of the value", ComparedBits(x.value), ComparedBits(y.value));
  }
  differences.Compare("logprobs", "size", a.logprobs.size(), b.logprobs.size());
}

void CompareLogits(const StepResult& a, const StepResult& b, Differences& differences) {
  differences.Compare("logits_rows", "size", a.logits_rows.size(), b.logits_rows.size());
  differences.Compare("logits", "size", a.logits.size(), b.logits.size());
  if (!differences.first().empty() || a.logits_rows.empty()) return;
  const size_t vocab = a.logits.size() / a.logits_rows.size();
  for (size_t i = 0; i < a.logits_rows.size(); ++i) {
    const LogitsRow& row = a.logits_rows[i];
    const std::string where = absl::StrCat(SlotName(row.slot), ", position ", row.position);
    differences.Compare(where, "slot of the logits", row.slot, b.logits_rows[i].slot);
    differences.Compare(where, "position of the logits", row.position, b.logits_rows[i].position);
    for (size_t token = 0; token < vocab; ++token) {
      const size_t at = i * vocab + token;
      if (ComparedBits(a.logits[at]) == ComparedBits(b.logits[at])) continue;
      differences.Compare(absl::StrCat(where, ", token ", token), "bits of the logit",
                          ComparedBits(a.logits[at]), ComparedBits(b.logits[at]));
      return;
    }
  }
}

}  // namespace

uint32_t ComparedBits(float value) {
  return std::isnan(value) ? FloatBits(std::numeric_limits<float>::quiet_NaN()) : FloatBits(value);
}

std::string Difference(const StepResult& a, const StepResult& b) {
  Differences differences;
  differences.Compare("result", "epoch", a.epoch, b.epoch);
  for (uint32_t part = 0; part < kStepParts; ++part) {
    differences.Compare(absl::StrCat("part ", part), "rows", a.part_rows[part], b.part_rows[part]);
  }
  CompareOutcomes(a, b, differences);
  CompareLogprobs(a, b, differences);
  CompareLogits(a, b, differences);
  return differences.first();
}

TwinBackend::TwinBackend(std::unique_ptr<Backend> first, std::unique_ptr<Backend> second)
    : first_(std::move(first)), second_(std::move(second)) {}

absl::Status TwinBackend::Submit(const StepPlan& plan) {
  RETURN_IF_ERROR(first_->Submit(plan));
  return second_->Submit(plan);
}

absl::Status TwinBackend::Collect(StepResult& result) {
  RETURN_IF_ERROR(first_->Collect(result));
  RETURN_IF_ERROR(second_->Collect(second_result_));
  const std::string difference = Difference(result, second_result_);
  if (difference.empty()) return absl::OkStatus();
  return absl::InternalError(absl::StrCat("step ", result.epoch, ", ", difference));
}

}  // namespace recurve
