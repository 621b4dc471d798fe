// SPDX-License-Identifier: Apache-2.0
#include "engine/backend/cuda/sample.h"

#include "engine/backend/cuda/row_sampler.h"

namespace recurve::cuda {
namespace {

RECURVE_DEVICE bool IsStopId(const SampleArgs& args, uint32_t slot, TokenId token) {
  const size_t first = size_t{slot} * args.sizes.max_stop_ids;
  const uint32_t count = args.slots.stop_counts[slot];
  bool is_one = false;  // looked for to the end, so that loads do not wait for each other
  for (uint32_t i = 0; i < count; ++i) is_one |= args.slots.stop_ids[first + i] == token;
  return is_one;
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

// Writes the log probabilities of a row, whose largest logit has the rank `last`; how many.
RECURVE_DEVICE uint32_t FindLogprobs(RowSampler& sampler, const SampleArgs& args, uint32_t index,
                                     const Row& row, TokenId token, uint64_t last) {
  if (token >= args.sizes.vocab) return 0;
  const uint32_t top_n = args.slots.records[row.slot].logprobs;
  const float largest = sampler.logit(RowSampler::IdOf(last));
  const uint64_t sum = sampler.SumOfWeights(largest);
  const size_t first = size_t{index} * args.row_logprobs;
  const auto tell = [&](uint32_t place, TokenId id) {
    if (simt::ThreadIndex() != 0) return;
    args.logprobs.Set(first + place, {row.slot, row.position + 1, id,
                                      LogProbability(sampler.logit(id) - largest, sum)});
  };
  tell(0, token);
  if (top_n == kNoLogprobs) return 1;
  const uint32_t wanted = top_n < args.sizes.vocab ? top_n : args.sizes.vocab;
  for (uint32_t i = 0; i < wanted; ++i) {
    if (i > 0) last = sampler.LargestBehind(last);
    tell(1 + i, RowSampler::IdOf(last));
  }
  return 1 + wanted;
}

RECURVE_DEVICE void SampleRow(RowSampler& sampler, const SampleArgs& args, uint32_t index) {
  const Row row = args.rows[index];
  const uint64_t largest =
      sampler.Begin(args.logits.Part(size_t{index} * args.sizes.vocab, args.sizes.vocab));
  Verdict verdict;
  if (largest == RowSampler::kNoRank) {
    verdict.flags = kNotFinite;
  } else {
    const SlotRecord& slot = args.slots.records[row.slot];
    if (SamplesRow(slot, row.position)) {
      verdict.token = sampler.Sample(largest, row.slot, row.position + 1);
      if (IsStopId(args, row.slot, verdict.token)) verdict.flags = kStopId;
    }
    const TokenId token = TokenOfLogprobs(args, slot, row, verdict.token);
    if (token != kNoToken) {
      verdict.logprobs = FindLogprobs(sampler, args, index, row, token, largest);
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
                             .shared_bytes = RowSampler::SharedBytes(threads),
                             .work = {.part = kPartSampling,
                                      .row_bytes = static_cast<double>(args.sizes.vocab) * sizeof(float)}};
  return Launch(runtime, "sample", SampleKernel, shape, args);
}

}  // namespace recurve::cuda
