// SPDX-License-Identifier: Apache-2.0
#include "engine/sampling/sampler.h"

#include <algorithm>
#include <bit>
#include <limits>

#include "engine/base/check.h"
#include "engine/sampling/arithmetic.h"

namespace recurve {
namespace {

using Candidate = SamplerScratch::Candidate;

// Spreads token ids over a table whose size is a power of two.
uint32_t HashToken(TokenId token) { return token * 0x9E3779B1U; }

// Ids are searched for in two levels: a stretch that the compiler's vectors run through, then one
// by one.
constexpr size_t kStretch = 256;

// The sum of weights, at most 2^31 each.
uint64_t Sum(std::span<const uint32_t> weights) {
  uint64_t sum = 0;
  for (const uint32_t weight : weights) sum += weight;
  return sum;
}

// The first id whose running sum of `weights` ([vocab]) exceeds `target`, which is below their sum.
uint32_t FindTarget(std::span<const uint32_t> weights, uint64_t target) {
  size_t id = 0;
  while (true) {
    RECURVE_CHECK(id < weights.size());
    const uint64_t here = Sum(weights.subspan(id, std::min(kStretch, weights.size() - id)));
    if (target < here) break;
    target -= here;
    id += kStretch;
  }
  while (target >= weights[id]) target -= weights[id++];
  return static_cast<uint32_t>(id);
}

// The sum of the weights of a row, each of which it tells `keep`, in id order.
template <typename Keep>
uint64_t Weigh(const LogitRow& row, float scale, Keep keep) {
  const float largest = row.at_largest();
  uint64_t sum = 0;
  for (size_t id = 0; id < row.logits.size(); ++id) {
    const uint32_t weight = Weight(row.logits[id] - largest, scale);
    keep(id, weight);
    sum += weight;
  }
  return sum;
}

// What a filter keeps of ranked candidates: those above `rank`, and the first `ties` of those at
// it.
struct Cut {
  uint32_t rank;
  uint32_t ties;
};

// What candidates of a rank add towards a filter's target.
enum class Mass { kOne, kRank };

// The smallest set of highest `ranks`, ties to the lower id, whose mass reaches `target`, which is
// above 0 and at most the mass of all. Finds the last rank that is needed digit by digit, from the
// top, in each round among the ranks that share the digits found. Reorders `ranks`.
Cut SelectHighest(std::span<uint32_t> ranks, Mass mass, uint64_t target) {
  constexpr uint32_t kDigitBits = 8;
  constexpr uint32_t kDigits = 1U << kDigitBits;
  uint32_t shift = 32;
  while (shift > 0) {
    shift -= kDigitBits;
    uint64_t mass_of[kDigits] = {};
    for (const uint32_t rank : ranks) {
      mass_of[(rank >> shift) % kDigits] += mass == Mass::kOne ? 1 : rank;
    }
    uint32_t digit = kDigits - 1;
    while (mass_of[digit] < target) {
      RECURVE_CHECK(digit > 0);
      target -= mass_of[digit--];
    }
    size_t kept = 0;
    for (const uint32_t rank : ranks) {
      ranks[kept] = rank;
      kept += (rank >> shift) % kDigits == digit ? 1 : 0;
    }
    ranks = ranks.first(kept);
  }
  const uint64_t each = mass == Mass::kOne ? 1 : ranks.front();
  return {ranks.front(), static_cast<uint32_t>((target + each - 1) / each)};
}

// Keeps what the cut keeps, in id order, and returns it.
template <typename Rank>
std::span<Candidate> ApplyCut(std::span<Candidate> candidates, Cut cut, Rank rank) {
  size_t kept = 0;
  for (const Candidate& c : candidates) {
    if (rank(c) < cut.rank || (rank(c) == cut.rank && cut.ties == 0)) continue;
    if (rank(c) == cut.rank) --cut.ties;
    candidates[kept++] = c;
  }
  return candidates.first(kept);
}

uint64_t SumOfWeights(std::span<const Candidate> candidates) {
  uint64_t sum = 0;
  for (const Candidate& c : candidates) sum += c.weight;
  return sum;
}

// The `ranks` of candidates, copied where SelectHighest may reorder them.
template <typename Rank>
std::span<uint32_t> CopyRanks(std::span<const Candidate> candidates, Rank rank,
                              std::vector<uint32_t>& ranks) {
  std::transform(candidates.begin(), candidates.end(), ranks.begin(), rank);
  return std::span(ranks).first(candidates.size());
}

// Top-k, top-p and min-p, in this order, on the tokens of non-zero weight, which lies in `scratch`
// as what they leave does, in id order.
std::span<const Candidate> Filter(const LogitRow& row, const SamplingParams& params,
                                  SamplerScratch& scratch) {
  const auto key = [](const Candidate& c) { return c.key; };
  const auto weight = [](const Candidate& c) { return c.weight; };
  size_t count = 0;
  for (uint32_t id = 0; id < scratch.weights.size(); ++id) {
    const uint32_t order = static_cast<uint32_t>(OrderKey(row.logits[id])) ^ 0x80000000U;
    scratch.candidates[count] = {id, order, scratch.weights[id]};
    count += scratch.weights[id] != 0 ? 1 : 0;
  }
  std::span<Candidate> left = std::span(scratch.candidates).first(count);
  if (params.top_k > 0 && params.top_k < left.size()) {
    const std::span<uint32_t> ranks = CopyRanks(left, key, scratch.ranks);
    left = ApplyCut(left, SelectHighest(ranks, Mass::kOne, params.top_k), key);
  }
  if (params.top_p < 1.0F) {
    const uint64_t target = TopPTarget(params.top_p, SumOfWeights(left));
    const std::span<uint32_t> ranks = CopyRanks(left, weight, scratch.ranks);
    left = ApplyCut(left, SelectHighest(ranks, Mass::kRank, target), weight);
  }
  if (params.min_p > 0.0F) {
    const uint32_t least = MinPWeight(params.min_p);
    left = ApplyCut(left, {least, std::numeric_limits<uint32_t>::max()}, weight);
  }
  return left;
}

// Whether Adjust would change anything.
bool IsAdjusted(const SamplingParams& params, std::span<const TokenCount> counts,
                std::span<const TokenBias> biases, std::span<const TokenId> stop_ids,
                uint32_t position) {
  return (UsesTokenCounts(params) && !counts.empty()) || !biases.empty() ||
         (position < params.min_end && !stop_ids.empty());
}

// The row after penalties, biases and the mask of stop ids, in `scratch`.
LogitRow Adjust(const LogitRow& row, const SamplingParams& params,
                std::span<const TokenCount> counts, std::span<const TokenBias> biases,
                std::span<const TokenId> stop_ids, uint32_t position, SamplerScratch& scratch) {
  std::vector<float>& logits = scratch.logits;
  std::copy(row.logits.begin(), row.logits.end(), logits.begin());
  if (UsesTokenCounts(params)) {
    for (const TokenCount& count : counts) {
      logits[count.token] = Penalize(logits[count.token], params, count.generated);
    }
  }
  for (const TokenBias& bias : biases) {
    logits[bias.token] = ClampLogit(logits[bias.token] + bias.value);
  }
  if (position < params.min_end) {
    for (const TokenId id : stop_ids) {
      if (id < logits.size()) logits[id] = -std::numeric_limits<float>::infinity();
    }
  }
  return LogitRow(logits);
}

uint32_t Draw(const LogitRow& row, const SamplingParams& params, uint32_t position,
              SamplerScratch& scratch) {
  const std::span<uint32_t> weights = scratch.weights;
  const uint64_t sum = Weigh(row, ExponentScale(params.temperature),
                             [weights](size_t id, uint32_t weight) { weights[id] = weight; });
  if (params.top_k == 0 && params.top_p >= 1.0F && params.min_p <= 0.0F) {
    return FindTarget(weights, DrawTarget(params.seed_low, params.seed_high, position, sum));
  }
  const std::span<const Candidate> candidates = Filter(row, params, scratch);
  uint64_t target =
      DrawTarget(params.seed_low, params.seed_high, position, SumOfWeights(candidates));
  const Candidate* candidate = candidates.data();
  while (target >= candidate->weight) target -= (candidate++)->weight;
  return candidate->id;
}

}  // namespace

TokenCounts::TokenCounts(uint32_t capacity)
    : capacity_(capacity), table_(std::bit_ceil(2 * size_t{std::max(capacity, 1U)}), 0) {
  entries_.reserve(capacity);
}

void TokenCounts::Clear() {
  entries_.clear();
  std::fill(table_.begin(), table_.end(), 0);
}

void TokenCounts::Add(TokenId token, bool generated) {
  const size_t mask = table_.size() - 1;
  size_t place = HashToken(token) & mask;
  while (table_[place] != 0 && entries_[table_[place] - 1].token != token) {
    place = (place + 1) & mask;
  }
  if (table_[place] == 0) {
    RECURVE_CHECK(entries_.size() < capacity_);
    entries_.push_back({token, 0});
    table_[place] = static_cast<uint32_t>(entries_.size());
  }
  if (generated) ++entries_[table_[place] - 1].generated;
}

SamplerScratch::SamplerScratch(uint32_t vocab, uint32_t max_logprobs)
    : logits(vocab), weights(vocab), ranks(vocab), candidates(vocab) {
  logprobs.reserve(size_t{max_logprobs} + 1);
}

LogitRow::LogitRow(std::span<const float> row) : logits(row) {
  RECURVE_CHECK(!row.empty());
  // Keys of NaN lie beyond those of the infinities, on both sides.
  int32_t largest_key = std::numeric_limits<int32_t>::min();
  int32_t smallest_key = std::numeric_limits<int32_t>::max();
  size_t stretch = 0;  // the first one that holds the largest
  for (size_t begin = 0; begin < row.size(); begin += kStretch) {
    int32_t largest_here = std::numeric_limits<int32_t>::min();
    for (const float logit : row.subspan(begin, std::min(kStretch, row.size() - begin))) {
      largest_here = std::max(largest_here, OrderKey(logit));
      smallest_key = std::min(smallest_key, OrderKey(logit));
    }
    if (largest_here > largest_key) {
      largest_key = largest_here;
      stretch = begin;
    }
  }
  constexpr float kInfinity = std::numeric_limits<float>::infinity();
  finite = largest_key < OrderKey(kInfinity) && smallest_key > OrderKey(-kInfinity);
  while (OrderKey(row[stretch]) != largest_key) ++stretch;
  largest = static_cast<TokenId>(stretch);
}

SampleResult SampleToken(const LogitRow& row, const SamplingParams& params,
                         std::span<const TokenCount> counts, std::span<const TokenBias> biases,
                         std::span<const TokenId> stop_ids, uint32_t position,
                         SamplerScratch& scratch) {
  RECURVE_CHECK(row.finite && row.logits.size() == scratch.logits.size());
  LogitRow adjusted = row;
  if (IsAdjusted(params, counts, biases, stop_ids, position)) {
    adjusted = Adjust(row, params, counts, biases, stop_ids, position, scratch);
    if (!IsFinite(adjusted.at_largest())) {
      // Every token is a stop id: there is nothing else to sample.
      adjusted = Adjust(row, params, counts, biases, {}, position, scratch);
    }
  }
  const TokenId token =
      params.temperature > 0.0F ? Draw(adjusted, params, position, scratch) : adjusted.largest;
  const bool is_stop_id = std::find(stop_ids.begin(), stop_ids.end(), token) != stop_ids.end();
  return {.token = token, .is_stop_id = is_stop_id};
}

std::span<const IdLogprob> Logprobs(const LogitRow& row, TokenId token, uint32_t top_n,
                                    SamplerScratch& scratch) {
  const std::span<const float> logits = row.logits;
  RECURVE_CHECK(row.finite && token < logits.size());
  const float largest = row.at_largest();
  const uint64_t sum = Weigh(row, kLog2OfE, [](size_t, uint32_t) {});
  const size_t wanted = 1 + std::min<size_t>(top_n, logits.size());
  RECURVE_CHECK(wanted <= scratch.logprobs.capacity());
  const auto logprob = [&](TokenId id) {
    return IdLogprob{id, LogProbability(logits[id] - largest, sum)};
  };
  std::vector<IdLogprob>& best = scratch.logprobs;
  best.assign(1, logprob(token));
  if (wanted == 1) return best;
  // Insertion into the list of the best so far, which few ids of a long row enter.
  int32_t last = std::numeric_limits<int32_t>::min();  // key of the list's end, once it is full
  for (uint32_t id = 0; id < logits.size(); ++id) {
    const int32_t key = OrderKey(logits[id]);
    if (best.size() == wanted) {
      if (key <= last) continue;
      best.pop_back();
    }
    const auto place = std::find_if(best.begin() + 1, best.end(), [&](const IdLogprob& entry) {
      return OrderKey(logits[entry.id]) < key;
    });
    best.insert(place, {id, 0.0F});
    last = OrderKey(logits[best.back().id]);
  }
  for (size_t i = 1; i < best.size(); ++i) best[i] = logprob(best[i].id);
  return best;
}

}  // namespace recurve
