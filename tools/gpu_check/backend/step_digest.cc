// SPDX-License-Identifier: Apache-2.0
#include "tools/gpu_check/backend/step_digest.h"

#include <utility>

#include "absl/strings/str_format.h"
#include "engine/base/mix_bits.h"
#include "engine/base/status_macros.h"
#include "tests/engine/backend/twin_backend.h"

namespace recurve::gpu_check {

void StepDigest::AddWord(uint64_t word) { value = MixBits(value + word) + kGoldenGamma; }

std::string StepDigest::Text() const { return absl::StrFormat("%016x", value); }

void StepDigest::Add(const StepResult& result) {
  ++steps;
  AddWord(result.epoch);
  for (const uint32_t rows : result.part_rows) AddWord(rows);
  AddWord(result.outcomes.size());
  for (const Outcome& outcome : result.outcomes) {
    for (const uint32_t word :
         {outcome.slot, outcome.ran, outcome.rows, outcome.active, outcome.token, outcome.flags}) {
      AddWord(word);
    }
  }
  AddWord(result.depths.size());
  for (const uint32_t depth : result.depths) AddWord(depth);
  AddWord(result.logprobs.size());
  for (const TokenLogprob& logprob : result.logprobs) {
    for (const uint32_t word :
         {logprob.slot, logprob.position, logprob.id, ComparedBits(logprob.value)}) {
      AddWord(word);
    }
  }
  AddWord(result.logits_rows.size());
  for (const LogitsRow& row : result.logits_rows) {
    AddWord(row.slot);
    AddWord(row.position);
  }
  AddWord(result.logits.size());
  for (const float logit : result.logits) AddWord(ComparedBits(logit));
}

DigestedBackend::DigestedBackend(std::unique_ptr<Backend> backend, StepDigest& digest)
    : backend_(std::move(backend)), digest_(digest) {}

absl::Status DigestedBackend::Collect(StepResult& result) {
  RETURN_IF_ERROR(backend_->Collect(result));
  digest_.Add(result);
  return absl::OkStatus();
}

}  // namespace recurve::gpu_check
