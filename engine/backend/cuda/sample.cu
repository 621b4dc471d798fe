// SPDX-License-Identifier: Apache-2.0
#include "engine/backend/cuda/sample.h"

#include "engine/backend/cuda/row_sampler.h"

namespace recurve::cuda {
namespace {

RECURVE_DEVICE bool IsStopId(const SampleArgs& args, uint32_t slot, TokenId token) {
  const size_t first = size_t{slot} * args.sizes.max_stop_ids;
  for (uint32_t i = 0; i < args.slots.stop_counts[slot]; ++i) {
    if (args.slots.stop_ids[first + i] == token) return true;
  }
  return false;
}

// The token whose log probability is told first: the given or the sampled one; kNoToken: none.
RECURVE_DEVICE TokenId TokenOfLogprobs(const SampleArgs& args, const SlotRecord& slot,
                                       const Row& row, TokenId sampled) {
  if (WantsGivenToken(slot, row.position)) {
    const uint32_t next = (row.position + 1) % args.sizes.max_positions;
    return args.slots.tokens[size_t{row.slot} * args.sizes.max_positions + next];
  }
  return slot.logprobs != kNoLogprobs ? sampled : kNoToken;
}

// Writes the log probabilities of a row; how many.
RECURVE_DEVICE uint32_t FindLogprobs(RowSampler& sampler, const SampleArgs& args, uint32_t index,
                                     const Row& row, TokenId token, simt::In<float> logits) {
  const SlotRecord& slot = args.slots.records[row.slot];
  if (token >= args.sizes.vocab) return 0;
  const auto logit = [&logits](uint32_t id) { return logits[id]; };
  uint64_t last = sampler.Largest(RowSampler::kNoRank, logit);
  const float largest = logits[RowSampler::IdOf(last)];
  const uint64_t sum =
      sampler.SumOver([&](uint32_t id) { return Weight(logits[id] - largest, kLog2OfE); });
  const size_t first = size_t{index} * args.row_logprobs;
  const auto tell = [&](uint32_t place, TokenId id) {
    if (simt::ThreadIndex() != 0) return;
    args.logprobs.Set(first + place,
                      {row.slot, row.position + 1, id, LogProbability(logits[id] - largest, sum)});
  };
  tell(0, token);
  const uint32_t top_n = slot.logprobs == kNoLogprobs ? 0 : slot.logprobs;
  const uint32_t wanted = top_n < args.sizes.vocab ? top_n : args.sizes.vocab;
  for (uint32_t i = 0; i < wanted; ++i) {
    tell(1 + i, RowSampler::IdOf(last));
    last = sampler.Largest(last, logit);
  }
  return 1 + wanted;
}

RECURVE_DEVICE void SampleRow(RowSampler& sampler, const SampleArgs& args, uint32_t index) {
  const Row& row = args.rows[index];
  const SlotRecord& slot = args.slots.records[row.slot];
  const auto logits = args.logits.Part(size_t{index} * args.sizes.vocab, args.sizes.vocab);
  const uint64_t bad =
      sampler.SumOver([&logits](uint32_t id) { return IsFinite(logits[id]) ? 0U : 1U; });
  Verdict verdict;
  if (bad > 0) {
    verdict.flags = kNotFinite;
  } else {
    if (SamplesRow(slot, row.position)) {
      verdict.token = sampler.Sample(logits, row.slot, row.position + 1);
      if (IsStopId(args, row.slot, verdict.token)) verdict.flags = kStopId;
    }
    const TokenId token = TokenOfLogprobs(args, slot, row, verdict.token);
    if (token != kNoToken) {
      verdict.logprobs = FindLogprobs(sampler, args, index, row, token, logits);
    }
  }
  if (simt::ThreadIndex() == 0) args.verdicts.Set(index, verdict);
  simt::SyncBlock();
}

RECURVE_KERNEL(kMostSampleThreads) SampleKernel(const SampleArgs args) {
  simt::GridWait();
  if (simt::BlockIndex() == 0 && simt::ThreadIndex() == 0) {
    args.stamps.Set(kPartSampling, simt::GlobalTimer());
  }
  simt::SharedMemory shared;
  RowSampler sampler(args, shared);
  const uint32_t rows = args.counts[0].logit_rows;
  for (uint32_t i = simt::BlockIndex(); i < rows; i += simt::GridSize()) {
    SampleRow(sampler, args, i);
  }
}

}  // namespace

uint32_t SampleBlocks(const Runtime& runtime) { return runtime.facts().multiprocessors; }

absl::Status LaunchSample(Runtime& runtime, const SampleArgs& args) {
  const uint32_t threads = ThreadsFor(args.sizes.vocab / 4, kMostSampleThreads);
  const LaunchShape shape = {.blocks = SampleBlocks(runtime),
                             .threads = threads,
                             .shared_bytes = RowSampler::SharedBytes(threads)};
  return Launch(runtime, "sample", SampleKernel, shape, args);
}

}  // namespace recurve::cuda
