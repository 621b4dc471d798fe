// SPDX-License-Identifier: Apache-2.0
// How a block of threads samples a token from a row of logits. For sample.cu alone; SampleToken in
// engine/sampling/sampler.h says what comes out.
#ifndef RECURVE_ENGINE_BACKEND_CUDA_ROW_SAMPLER_H_
#define RECURVE_ENGINE_BACKEND_CUDA_ROW_SAMPLER_H_

#include <cstdint>

#include "engine/backend/cuda/block.h"
#include "engine/backend/cuda/sample.h"
#include "engine/backend/cuda/simt.h"
#include "engine/sampling/arithmetic.h"

namespace recurve::cuda {

inline constexpr uint32_t kMostSampleThreads = 512;
inline constexpr uint32_t kDigits = 256;  // of a filter's search, eight bits a round

// All threads of a block have a copy and call every method.
class RowSampler {
 public:
  static size_t SharedBytes(uint32_t threads) {
    return simt::SharedBytes<uint64_t>(2 * size_t{threads}) + simt::SharedBytes<uint64_t>(kDigits) +
           simt::SharedBytes<uint64_t>(2);
  }

  RECURVE_DEVICE RowSampler(const SampleArgs& args, simt::SharedMemory& shared)
      : args_(args),
        vocab_(args.sizes.vocab),
        scan_(shared.Array<uint64_t>(2 * simt::BlockSize())),
        mass_(shared.Array<uint64_t>(kDigits)),
        found_(shared.Array<uint64_t>(2)),
        adjusted_(args.adjusted.Part(size_t{simt::BlockIndex()} * vocab_, vocab_)),
        weights_(args.weights.Part(size_t{simt::BlockIndex()} * vocab_, vocab_)) {}

  // Calls body(id) for every token, spread over the threads; then all threads go on together.
  template <typename Body>
  RECURVE_DEVICE void ForEachToken(Body body) {
    for (uint32_t id = simt::ThreadIndex(); id < vocab_; id += simt::BlockSize()) body(id);
    simt::SyncBlock();
  }

  // The sum of value(id) over all tokens.
  template <typename Value>
  RECURVE_DEVICE uint64_t SumOver(Value value) {
    uint64_t sum = 0;
    for (uint32_t id = simt::ThreadIndex(); id < vocab_; id += simt::BlockSize()) sum += value(id);
    return BlockSum(sum, scan_);
  }

  // The first token of the largest logit(id) among those that come behind `last`, by logit and
  // then by id; last: RankOf the token found before, or kNoRank.
  static constexpr uint64_t kNoRank = ~uint64_t{0};
  template <typename Logit>
  RECURVE_DEVICE uint64_t Largest(uint64_t last, Logit logit) {
    uint64_t largest = 0;
    for (uint32_t id = simt::ThreadIndex(); id < vocab_; id += simt::BlockSize()) {
      const uint64_t rank = RankOf(logit(id), id);
      if (rank < last && rank > largest) largest = rank;
    }
    return BlockMax(largest, scan_);
  }
  // Orders tokens by their logits, and equal ones by their ids, the lower first.
  RECURVE_DEVICE static uint64_t RankOf(float logit, uint32_t id) {
    return uint64_t{KeyOf(logit)} << 32 | (0xFFFFFFFFU - id);
  }
  RECURVE_DEVICE static uint32_t IdOf(uint64_t rank) {
    return 0xFFFFFFFFU - static_cast<uint32_t>(rank);
  }

  // The token that stands at `position` after the row `logits` ([vocab], finite) of `slot`.
  RECURVE_DEVICE TokenId Sample(simt::In<float> logits, uint32_t slot, uint32_t position) {
    const SamplingParams& params = args_.slots.records[slot].sampling;
    const bool masks = position < params.min_end;
    Adjust(logits, slot, masks);
    uint32_t largest = IdOf(Largest(kNoRank, [this](uint32_t id) { return adjusted_[id]; }));
    if (!IsFinite(adjusted_[largest])) {
      // Every token is a stop id: there is nothing else to sample.
      simt::SyncBlock();
      Adjust(logits, slot, /*masks=*/false);
      largest = IdOf(Largest(kNoRank, [this](uint32_t id) { return adjusted_[id]; }));
    }
    if (!(params.temperature > 0.0F)) return largest;
    const float highest = adjusted_[largest];
    const float scale = ExponentScale(params.temperature);
    ForEachToken([&](uint32_t id) { weights_.Set(id, Weight(adjusted_[id] - highest, scale)); });
    Filter(params);
    const uint64_t sum = SumOver([this](uint32_t id) { return weights_[id]; });
    return FindTarget(DrawTarget(params.seed_low, params.seed_high, position, sum));
  }

 private:
  // OrderKey as an unsigned number.
  RECURVE_DEVICE static uint32_t KeyOf(float logit) {
    return static_cast<uint32_t>(OrderKey(logit)) ^ 0x80000000U;
  }

  // adjusted_ <- logits after penalties, biases and, if it `masks`, without stop ids.
  RECURVE_DEVICE void Adjust(simt::In<float> logits, uint32_t slot, bool masks) {
    const SamplingParams& params = args_.slots.records[slot].sampling;
    const bool penalizes = UsesTokenCounts(params);
    ForEachToken([&](uint32_t id) {
      float logit = logits[id];
      if (penalizes) {
        const uint32_t count = args_.slots.token_counts[size_t{slot} * vocab_ + id];
        if (count != 0) logit = Penalize(logit, params, count & ~kSeenToken);
      }
      adjusted_.Set(id, logit);
    });
    AddBiases(slot);
    if (!masks) return;
    const size_t first = size_t{slot} * args_.sizes.max_stop_ids;
    for (uint32_t i = simt::ThreadIndex(); i < args_.slots.stop_counts[slot];
         i += simt::BlockSize()) {
      const TokenId id = args_.slots.stop_ids[first + i];
      if (id < vocab_) adjusted_.Set(id, -math_internal::kInfinity);
    }
    simt::SyncBlock();
  }

  // Biases are added one by one; of a token that has several one thread adds them all.
  RECURVE_DEVICE void AddBiases(uint32_t slot) {
    const size_t first = size_t{slot} * args_.sizes.max_biases;
    const uint32_t count = args_.slots.bias_counts[slot];
    for (uint32_t i = simt::ThreadIndex(); i < count; i += simt::BlockSize()) {
      const TokenId token = args_.slots.biases[first + i].token;
      bool is_first = true;
      for (uint32_t j = 0; j < i; ++j) {
        if (args_.slots.biases[first + j].token == token) is_first = false;
      }
      if (!is_first) continue;
      for (uint32_t j = i; j < count; ++j) {
        const TokenBias& bias = args_.slots.biases[first + j];
        if (bias.token != token) continue;
        adjusted_.Set(token, ClampLogit(adjusted_[token] + bias.value));
      }
    }
    simt::SyncBlock();
  }

  // Top-k, top-p and min-p, in this order: tokens that leave get the weight 0.
  RECURVE_DEVICE void Filter(const SamplingParams& params) {
    const auto key = [this](uint32_t id) { return KeyOf(adjusted_[id]); };
    const auto weight = [this](uint32_t id) { return weights_[id]; };
    if (params.top_k > 0) {
      const uint64_t left = SumOver([&](uint32_t id) { return weights_[id] != 0 ? 1U : 0U; });
      if (params.top_k < left) {
        KeepHighest(
            key, [](uint32_t /*rank*/) { return 1U; }, params.top_k);
      }
    }
    if (params.top_p < 1.0F) {
      const uint64_t sum = SumOver([this](uint32_t id) { return weights_[id]; });
      KeepHighest(
          weight, [](uint32_t rank) { return rank; }, TopPTarget(params.top_p, sum));
    }
    if (params.min_p > 0.0F) {
      const uint32_t least = MinPWeight(params.min_p);
      ForEachToken([&](uint32_t id) {
        if (weights_[id] < least) weights_.Set(id, 0);
      });
    }
  }

  // Keeps the smallest set of tokens of the highest ranks, ties to the lower id, whose mass reaches
  // `target`, which is above 0 and at most the mass of all. Finds the last rank that is needed
  // digit by digit, from the top.
  template <typename Rank, typename Mass>
  RECURVE_DEVICE void KeepHighest(Rank rank, Mass mass, uint64_t target) {
    uint32_t prefix = 0;  // the digits found
    for (uint32_t shift = 24;; shift -= 8) {
      for (uint32_t d = simt::ThreadIndex(); d < kDigits; d += simt::BlockSize()) mass_[d] = 0;
      simt::SyncBlock();
      ForEachToken([&](uint32_t id) {
        const uint32_t r = rank(id);
        const bool shares = shift == 24 || r >> (shift + 8) == prefix;
        if (weights_[id] == 0 || !shares) return;
        simt::AddShared(mass_, (r >> shift) % kDigits, uint64_t{mass(r)});
      });
      if (simt::ThreadIndex() == 0) {
        uint32_t digit = kDigits - 1;
        while (digit > 0 && mass_[digit] < target) target -= mass_[digit--];
        found_[0] = prefix << 8 | digit;
        found_[1] = target;
      }
      simt::SyncBlock();
      prefix = static_cast<uint32_t>(found_[0]);
      target = found_[1];
      simt::SyncBlock();
      if (shift == 0) break;
    }
    const uint64_t each = mass(prefix);
    Cut(rank, prefix, (target + each - 1) / each);
  }

  // Takes out the tokens below rank `least`, and of those at it all but the first `ties`.
  template <typename Rank>
  RECURVE_DEVICE void Cut(Rank rank, uint32_t least, uint64_t ties) {
    const TokenRange range = OwnRange();
    uint64_t at_least = 0;
    for (uint32_t id = range.begin; id < range.end; ++id) {
      at_least += weights_[id] != 0 && rank(id) == least ? 1 : 0;
    }
    uint64_t before = BlockScan(at_least, scan_) - at_least;
    for (uint32_t id = range.begin; id < range.end; ++id) {
      if (weights_[id] == 0) continue;
      const uint32_t r = rank(id);
      const bool leaves = r < least || (r == least && before >= ties);
      if (r == least) ++before;
      if (leaves) weights_.Set(id, 0);
    }
    simt::SyncBlock();
  }

  // The first token whose running sum of weights exceeds `target`, which is below their sum.
  RECURVE_DEVICE TokenId FindTarget(uint64_t target) {
    const TokenRange range = OwnRange();
    uint64_t sum = 0;
    for (uint32_t id = range.begin; id < range.end; ++id) sum += weights_[id];
    uint64_t before = BlockScan(sum, scan_) - sum;
    if (before <= target && target < before + sum) {
      uint32_t id = range.begin;
      while (target - before >= weights_[id]) before += weights_[id++];
      found_[0] = id;
    }
    simt::SyncBlock();
    const auto token = static_cast<TokenId>(found_[0]);
    simt::SyncBlock();
    return token;
  }

  // Consecutive tokens of this thread, where the order of the ids counts.
  struct TokenRange {
    uint32_t begin, end;
  };
  RECURVE_DEVICE TokenRange OwnRange() const {
    const uint64_t threads = simt::BlockSize();
    const uint64_t thread = simt::ThreadIndex();
    return {static_cast<uint32_t>(vocab_ * thread / threads),
            static_cast<uint32_t>(vocab_ * (thread + 1) / threads)};
  }

  const SampleArgs& args_;
  const uint32_t vocab_;
  const simt::SharedArray<uint64_t> scan_;   // [2 * BlockSize()]
  const simt::SharedArray<uint64_t> mass_;   // [kDigits]
  const simt::SharedArray<uint64_t> found_;  // [2]
  const simt::Out<float> adjusted_;          // [vocab]
  const simt::Out<uint32_t> weights_;        // [vocab]
};

}  // namespace recurve::cuda

#endif  // RECURVE_ENGINE_BACKEND_CUDA_ROW_SAMPLER_H_
