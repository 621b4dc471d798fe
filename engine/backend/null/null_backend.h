// SPDX-License-Identifier: Apache-2.0
// The backend that computes nothing: for tests, and for measuring all that is not a backend.
#ifndef RECURVE_ENGINE_BACKEND_NULL_NULL_BACKEND_H_
#define RECURVE_ENGINE_BACKEND_NULL_NULL_BACKEND_H_

#include <cstdint>
#include <memory>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "engine/backend/backend.h"
#include "engine/backend/result_ring.h"
#include "engine/backend/selection.h"
#include "engine/backend/slot_table.h"
#include "engine/backend/step.h"
#include "engine/model/weights.h"

namespace recurve {

// Keeps the rules of step.h, so that schedules meet what they meet with any other backend: slots,
// caps, rooms, pages, selection. It has no weights, activations and pages; what it says of a
// sequence follows from the sequence's seed and from positions alone, by a hash:
// - The token at a position is any id of the vocabulary. One below min_end is no stop id.
// - A row takes a further recursion for one hash in two, which stands for an expert-choice router's
//   deciding logit of +1 or -1: threshold and caps have their meaning.
// - All ids are equally likely: log probabilities are -ln(vocabulary), the most likely ids are the
//   first ones, and logits are 0.
// Biases, penalties and other sampling parameters have no influence. All its time is told as the
// block's, so that what a step takes beside its parts is the schedule's.
//
// Holds at most two results that have not been collected. After the first steps nothing is
// allocated. Thread-compatible.
class NullBackend final : public Backend {
 public:
  // InvalidArgument names the limit that contradicts another or the model.
  static absl::StatusOr<std::unique_ptr<NullBackend>> Create(std::shared_ptr<const Model> model,
                                                             const BackendLimits& limits);

  static constexpr uint32_t kMaxSlots = uint32_t{1} << 24;

  absl::Status Submit(const StepPlan& plan) override;
  absl::Status Collect(StepResult& result) override;
  uint32_t Outstanding() const override { return results_.size(); }

 private:
  NullBackend(std::shared_ptr<const Model> model, const BackendLimits& limits);

  absl::Status Step(const StepPlan& plan, StepResult& result);
  absl::Status RunExit(const StepPlan& plan, StepResult& result);
  absl::Status RunEntry(const StepPlan& plan, StepResult& result);
  absl::Status RunBlock(const StepPlan& plan, StepResult& result);
  TokenId TokenAt(const Slot& slot, uint32_t position) const;
  // Of the row at `position`, before which `token` was sampled, if any.
  void TellLogits(const Slot& slot, uint32_t id, uint32_t position, TokenId token,
                  StepResult& result) const;

  const std::shared_ptr<const Model> model_;
  const uint32_t vocab_size_;
  const float logprob_;  // of each token
  SlotTable table_;
  Selection selection_;
  std::vector<uint8_t> passes_;    // [chunk]: rows of a span that take the next recursion
  std::vector<Outcome> outcomes_;  // [slots], of the step that runs
  ResultRing results_;
};

}  // namespace recurve

#endif  // RECURVE_ENGINE_BACKEND_NULL_NULL_BACKEND_H_
