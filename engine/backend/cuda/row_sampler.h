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

inline constexpr uint32_t kMostSampleThreads = 1024;
inline constexpr uint32_t kDigits = 256;  // of a filter's search, eight bits a round

// All threads of a block have a copy and call every method.
class RowSampler {
 public:
  static size_t SharedBytes(uint32_t threads) {
    return simt::SharedBytes<uint64_t>(threads) + simt::SharedBytes<uint64_t>(kDigits) +
           simt::SharedBytes<uint64_t>(2);
  }

  RECURVE_DEVICE RowSampler(const SampleArgs& args, simt::SharedMemory& shared)
      : args_(args),
        vocab_(args.sizes.vocab),
        scan_(shared.Array<uint64_t>(simt::BlockSize())),
        mass_(shared.Array<uint64_t>(kDigits)),
        found_(shared.Array<uint64_t>(2)),
        adjusted_(args.adjusted.Part(size_t{simt::BlockIndex()} * vocab_, vocab_)),
        weights_(args.weights.Part(size_t{simt::BlockIndex()} * vocab_, vocab_)) {}

  // From now on the row is `logits` ([vocab]). Its RankOf the largest, or kNoRank where a logit is
  // not finite.
  RECURVE_DEVICE uint64_t Begin(simt::In<float> logits) {
    logits_ = logits;
    uint32_t largest = 0;  // by KeyOf
    uint32_t largest_id = 0xFFFFFFFFU;
    uint32_t magnitude = 0;
    ForEachToken<8>([this](uint32_t id) { return logits_[id]; },
                    [&](uint32_t id, float logit) {
                      const uint32_t key = KeyOf(logit);
                      if (key > largest) {  // in a thread ids ascend: of equals the first
                        largest = key;
                        largest_id = id;
                      }
                      const uint32_t bits = FloatBits(logit) & 0x7FFFFFFFU;
                      if (bits > magnitude) magnitude = bits;
                    });
    const bool is_finite = IsFinite(FloatFromBits(magnitude));
    return BlockMax(is_finite ? uint64_t{largest} << 32 | (0xFFFFFFFFU - largest_id) : kNoRank,
                    scan_);
  }

  RECURVE_DEVICE float logit(uint32_t id) const { return logits_[id]; }

  // The sum over all tokens of the weights of their logits at temperature 1.
  RECURVE_DEVICE uint64_t SumOfWeights(float largest) {
    uint64_t sum = 0;
    ForEachToken<8>(
        [this](uint32_t id) { return logits_[id]; },
        [&](uint32_t /*id*/, float logit) { sum += Weight(logit - largest, kLog2OfE); });
    return BlockSum(sum, scan_);
  }

  // The first token of the largest logit among those that come behind `last`, by logit and then by
  // id; last: RankOf the token found before, or kNoRank.
  static constexpr uint64_t kNoRank = ~uint64_t{0};
  RECURVE_DEVICE uint64_t LargestBehind(uint64_t last) {
    return Largest(last, [this](uint32_t id) { return logits_[id]; });
  }
  // Orders tokens by their logits, and equal ones by their ids, the lower first.
  RECURVE_DEVICE static uint64_t RankOf(float logit, uint32_t id) {
    return uint64_t{KeyOf(logit)} << 32 | (0xFFFFFFFFU - id);
  }
  RECURVE_DEVICE static uint32_t IdOf(uint64_t rank) {
    return 0xFFFFFFFFU - static_cast<uint32_t>(rank);
  }

  // The token that stands at `position` after the row, which is finite, of `slot`; first: what
  // Begin gave.
  RECURVE_DEVICE TokenId Sample(uint64_t first, uint32_t slot, uint32_t position) {
    const SamplingParams& params = args_.slots.records[slot].sampling;
    bool masks = position < params.min_end;
    const bool adjusts = masks || UsesTokenCounts(params) || args_.slots.bias_counts[slot] != 0;
    sampled_ = adjusts ? adjusted_.ToRead() : logits_;
    uint32_t largest = IdOf(first);
    while (adjusts) {
      largest = IdOf(Adjust(params, slot, masks));
      if (IsFinite(sampled_[largest])) break;
      // Every token is a stop id: there is nothing else to sample.
      simt::SyncBlock();
      masks = false;
    }
    if (!(params.temperature > 0.0F)) return largest;
    const uint64_t sum = Filter(params, Weigh(params.temperature, sampled_[largest]));
    const uint64_t target = DrawTarget(params.seed_low, params.seed_high, position, sum);
    return FindTarget([this](uint32_t id) { return weights_[id]; }, target);
  }

 private:
  // OrderKey as an unsigned number.
  RECURVE_DEVICE static uint32_t KeyOf(float logit) {
    return static_cast<uint32_t>(OrderKey(logit)) ^ 0x80000000U;
  }

  // Calls use(id, load(id)) for every token, spread over the threads, in each with ascending ids.
  // Of whole tiles, one a warp, a thread loads `AtOnce` tokens before it uses the first.
  template <uint32_t AtOnce, typename Load, typename Use>
  RECURVE_DEVICE void ForEachToken(Load load, Use use) const {
    const uint32_t thread = simt::ThreadIndex();
    const uint32_t lane = thread % simt::kWarp;
    const uint32_t tiled = vocab_ - vocab_ % (AtOnce * simt::kWarp);
    for (uint32_t first = (thread - lane) * AtOnce + lane; first < tiled;
         first += AtOnce * simt::BlockSize()) {
      decltype(load(0)) loaded[AtOnce];
      RECURVE_UNROLL
      for (uint32_t i = 0; i < AtOnce; ++i) loaded[i] = load(first + i * simt::kWarp);
      simt::SyncWarp();  // or the compiler uses the first token before it loads the last
      RECURVE_UNROLL
      for (uint32_t i = 0; i < AtOnce; ++i) use(first + i * simt::kWarp, loaded[i]);
    }
    for (uint32_t id = tiled + thread; id < vocab_; id += simt::BlockSize()) use(id, load(id));
  }

  template <typename Logit>
  RECURVE_DEVICE uint64_t Largest(uint64_t last, Logit logit) {
    uint64_t largest = 0;
    ForEachToken<8>(logit, [&](uint32_t id, float value) {
      const uint64_t rank = RankOf(value, id);
      if (rank < last && rank > largest) largest = rank;
    });
    return BlockMax(largest, scan_);
  }

  // adjusted_ <- the row after penalties, biases and, if it `masks`, without stop ids. RankOf the
  // largest.
  RECURVE_DEVICE uint64_t Adjust(const SamplingParams& params, uint32_t slot, bool masks) {
    const bool penalizes = UsesTokenCounts(params);
    struct Token {
      float logit;
      uint32_t count;
    };
    ForEachToken<4>(
        [&](uint32_t id) {
          const size_t at = size_t{slot} * vocab_ + id;
          return Token{logits_[id], penalizes ? args_.slots.token_counts[at] : 0};
        },
        [&](uint32_t id, const Token& token) {
          float logit = token.logit;
          const uint32_t count = token.count;
          if (count != 0) logit = Penalize(logit, params, count & ~kSeenToken);
          adjusted_.Set(id, logit);
        });
    simt::SyncBlock();
    AddBiases(slot);
    if (masks) MaskStopIds(slot);
    return Largest(kNoRank, [this](uint32_t id) { return adjusted_[id]; });
  }

  RECURVE_DEVICE void MaskStopIds(uint32_t slot) {
    const size_t first = size_t{slot} * args_.sizes.max_stop_ids;
    const uint32_t count = args_.slots.stop_counts[slot];
    for (uint32_t i = simt::ThreadIndex(); i < count; i += simt::BlockSize()) {
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

  // What the tokens weigh that are left, and how many they are.
  struct Mass {
    uint64_t sum, count;
  };

  // weights_ <- those of the logits, the largest of which is `highest`.
  RECURVE_DEVICE Mass Weigh(float temperature, float highest) {
    const float scale = ExponentScale(temperature);
    Mass mass = {0, 0};
    ForEachToken<8>([this](uint32_t id) { return sampled_[id]; },
                    [&](uint32_t id, float logit) {
                      const uint32_t weight = Weight(logit - highest, scale);
                      weights_.Set(id, weight);
                      mass.sum += weight;
                      mass.count += weight != 0 ? 1 : 0;
                    });
    mass.sum = BlockSum(mass.sum, scan_);
    mass.count = BlockSum(mass.count, scan_);
    return mass;
  }

  // Top-k, top-p and min-p, in this order: tokens that leave get the weight 0. The weight of those
  // that stay.
  RECURVE_DEVICE uint64_t Filter(const SamplingParams& params, const Mass& all) {
    uint64_t sum = all.sum;
    if (params.top_k > 0 && params.top_k < all.count) {
      sum = KeepHighest([this](uint32_t id) { return KeyOf(sampled_[id]); },
                        [](uint32_t /*rank*/) { return 1U; }, params.top_k);
    }
    if (params.top_p < 1.0F) {
      sum = KeepHighest([this](uint32_t id) { return weights_[id]; },
                        [](uint32_t rank) { return rank; }, TopPTarget(params.top_p, sum));
    }
    if (params.min_p > 0.0F) {
      const uint32_t least = MinPWeight(params.min_p);
      sum = Keep([this](uint32_t id) { return weights_[id]; },
                 [least](uint32_t /*id*/, uint32_t weight) { return weight >= least; });
    }
    return sum;
  }

  // A token of the weight `weight`, and by what it is ranked.
  struct Ranked {
    uint32_t weight, rank;
  };

  // Takes out the tokens that keeps(id, rank(id)) denies; what those weigh that stay.
  template <typename Rank, typename Keeps>
  RECURVE_DEVICE uint64_t Keep(Rank rank, Keeps keeps) {
    uint64_t sum = 0;
    ForEachToken<4>(
        [&](uint32_t id) {
          return Ranked{weights_[id], rank(id)};
        },
        [&](uint32_t id, const Ranked& token) {
          if (keeps(id, token.rank)) {
            sum += token.weight;
          } else {
            weights_.Set(id, 0);
          }
        });
    return BlockSum(sum, scan_);
  }

  // Keeps the smallest set of tokens of the highest ranks, ties to the lower id, whose mass reaches
  // `target`, which is above 0 and at most the mass of all. Finds the last rank that is needed
  // digit by digit, from the top. What the tokens weigh that stay.
  template <typename Rank, typename MassOf>
  RECURVE_DEVICE uint64_t KeepHighest(Rank rank, MassOf mass, uint64_t target) {
    uint32_t prefix = 0;  // the digits found
    for (uint32_t shift = 24;; shift -= 8) {
      for (uint32_t d = simt::ThreadIndex(); d < kDigits; d += simt::BlockSize()) mass_[d] = 0;
      simt::SyncBlock();
      ForEachToken<4>(
          [&](uint32_t id) {
            return Ranked{weights_[id], rank(id)};
          },
          [&](uint32_t /*id*/, const Ranked& token) {
            const uint32_t r = token.rank;
            const bool shares = shift == 24 || r >> (shift + 8) == prefix;
            if (token.weight == 0 || !shares) return;
            simt::AddShared(mass_, (r >> shift) % kDigits, uint64_t{mass(r)});
          });
      simt::SyncBlock();
      if (simt::ThreadIndex() < simt::kWarp) FindDigit(prefix, target);
      simt::SyncBlock();
      prefix = static_cast<uint32_t>(found_[0]);
      target = found_[1];
      if (shift == 0) break;
    }
    const uint64_t each = mass(prefix);
    const uint64_t ties = (target + each - 1) / each;
    const auto is_tie = [&](uint32_t id) {
      return weights_[id] != 0 && rank(id) == prefix ? 1U : 0U;
    };
    const TokenId last = FindTarget(is_tie, ties - 1);
    return Keep(rank,
                [=](uint32_t id, uint32_t r) { return r > prefix || (r == prefix && id <= last); });
  }

  // found_ <- `prefix` with the digit behind it at which the mass of the digits from the top
  // reaches `target`, and what is left of the target there. By the first warp.
  RECURVE_DEVICE void FindDigit(uint32_t prefix, uint64_t target) const {
    constexpr uint32_t kOfLane = kDigits / simt::kWarp;
    const uint32_t top = kDigits - 1 - simt::ThreadIndex() * kOfLane;
    uint64_t sum = 0;
    for (uint32_t i = 0; i < kOfLane; ++i) sum += mass_[top - i];
    const uint64_t before = WarpScan(sum).up_to_own - sum;
    if (before >= target || target > before + sum) return;
    target -= before;
    uint32_t digit = top;
    while (mass_[digit] < target) target -= mass_[digit--];
    found_[0] = prefix << 8 | digit;
    found_[1] = target;
  }

  // The first token whose running sum of value(id) exceeds `target`, which is below the sum of all:
  // which warp's tokens it is among, and then which of these it is.
  template <typename Value>
  RECURVE_DEVICE TokenId FindTarget(Value value, uint64_t target) {
    const uint32_t warps = simt::BlockSize() / simt::kWarp;
    const uint32_t warp = simt::ThreadIndex() / simt::kWarp;
    const uint32_t lane = simt::ThreadIndex() % simt::kWarp;
    TokenRange range = PartOf({0, vocab_}, warp, warps);
    uint64_t sum = 0;
    for (uint32_t id = range.begin + lane; id < range.end; id += simt::kWarp) sum += value(id);
    sum = WarpSum(sum);
    uint64_t before = BlockScan(lane == 0 ? sum : 0, scan_) - sum;
    if (lane == 0 && before <= target && target < before + sum) {
      found_[0] = warp;
      found_[1] = before;
    }
    simt::SyncBlock();
    range = PartOf({0, vocab_}, static_cast<uint32_t>(found_[0]), warps);
    range = PartOf(range, simt::ThreadIndex(), simt::BlockSize());
    sum = 0;
    for (uint32_t id = range.begin; id < range.end; ++id) sum += value(id);
    before = found_[1] + BlockScan(sum, scan_) - sum;
    if (before <= target && target < before + sum) {
      uint32_t id = range.begin;
      while (target - before >= value(id)) before += value(id++);
      found_[0] = id;
    }
    simt::SyncBlock();
    return static_cast<TokenId>(found_[0]);
  }

  // Consecutive tokens, and the `index`-th of `parts` parts of them.
  struct TokenRange {
    uint32_t begin, end;
  };
  RECURVE_DEVICE static TokenRange PartOf(const TokenRange& all, uint32_t index, uint32_t parts) {
    const uint32_t size = (all.end - all.begin + parts - 1) / parts;
    const uint32_t begin = all.begin + index * size;
    return {begin < all.end ? begin : all.end, begin + size < all.end ? begin + size : all.end};
  }

  const SampleArgs& args_;
  const uint32_t vocab_;
  const simt::SharedArray<uint64_t> scan_;   // [BlockSize()]
  const simt::SharedArray<uint64_t> mass_;   // [kDigits]
  const simt::SharedArray<uint64_t> found_;  // [2], written behind barriers that follow all reads
  const simt::Out<float> adjusted_;          // [vocab]
  const simt::Out<uint32_t> weights_;        // [vocab]
  simt::In<float> logits_;                   // [vocab]
  simt::In<float> sampled_;                  // logits_, or adjusted_ where that is another
};

}  // namespace recurve::cuda

#endif  // RECURVE_ENGINE_BACKEND_CUDA_ROW_SAMPLER_H_
