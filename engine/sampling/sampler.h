// SPDX-License-Identifier: Apache-2.0
// From one row of logits to a token, and to log probabilities. Pure functions of their arguments:
// the same logits, parameters, counts and position give the same token on every machine and in any
// batch.
#ifndef RECURVE_ENGINE_SAMPLING_SAMPLER_H_
#define RECURVE_ENGINE_SAMPLING_SAMPLER_H_

#include <cstdint>
#include <span>
#include <vector>

#include "engine/base/token_id.h"
#include "engine/sampling/params.h"

namespace recurve {

// One token of a sequence's history.
struct TokenCount {
  TokenId token;
  uint32_t generated;  // times that it was generated; 0: it stands in the prompt alone
};

// The distinct tokens of one sequence's history: what penalties touch. Memory is taken at
// construction and never grows. Thread-compatible.
class TokenCounts {
 public:
  // `capacity`: most distinct tokens, that is min(positions of the sequence, vocabulary).
  explicit TokenCounts(uint32_t capacity);

  // Forgets the sequence.
  void Clear();

  // Appends a token of the history; `generated`: its position is at or past
  // SamplingParams::generated.
  void Add(TokenId token, bool generated);

  // Distinct tokens in the order in which they first appeared.
  std::span<const TokenCount> entries() const { return entries_; }

 private:
  uint32_t capacity_;
  std::vector<TokenCount> entries_;
  // Open-addressing table, a power of two of at least 2 * capacity: index in entries_ plus one; 0:
  // empty.
  std::vector<uint32_t> table_;
};

struct IdLogprob {
  TokenId id;
  float value;  // natural logarithm of the probability
};

// Working memory of SampleToken and Logprobs, which alone touch its members; one for each thread.
// Nothing is allocated after construction.
struct SamplerScratch {
  struct Candidate {
    TokenId id;
    uint32_t key;     // orders candidates by their logits
    uint32_t weight;  // > 0
  };

  // `vocab`: length of the rows; `max_logprobs`: largest `top_n` of Logprobs.
  SamplerScratch(uint32_t vocab, uint32_t max_logprobs);

  std::vector<float> logits;      // [vocab] after penalties, biases and the mask
  std::vector<uint32_t> weights;  // [vocab]
  std::vector<uint32_t> ranks;    // [vocab], work of the filters
  // [vocab], of which the filters use the first ones, in id order.
  std::vector<Candidate> candidates;
  std::vector<IdLogprob> logprobs;  // at most 1 + max_logprobs
};

// The logits that follow a token, [vocab] as the LM head wrote them, and what one look at all of
// them found. Borrows them.
struct LogitRow {
  explicit LogitRow(std::span<const float> row);

  float at_largest() const { return logits[largest]; }

  std::span<const float> logits;
  TokenId largest = 0;  // the first id of the largest logit; meaningless if one is a NaN
  bool finite = true;   // they hold neither a NaN nor an infinity
};

struct SampleResult {
  TokenId token = 0;
  bool is_stop_id = false;  // `token` is one of `stop_ids`
};

// The token that stands at `position` after `row`, which is finite.
//
// In this order: repetition, presence and frequency penalties on the tokens of `counts`; `biases`
// (token < vocab), added one by one; below params.min_end, stop ids leave (unless they are the
// whole vocabulary). Temperature 0: the largest logit, ties to the lower id. Else every token
// weighs floor(2^31 * e^((logit - largest) / temperature)); those of weight 0 leave; of the rest
// top-k keeps the k largest logits, top-p the smallest set of largest weights whose sum reaches
// ceil(p * sum), min-p the weights from floor(min_p * 2^31) on, each with ties to the lower id. The
// token is the first in id order whose running sum of weights exceeds a number drawn from [0, sum)
// by (seed, position).
//
// `params` has been validated: its fields are within the ranges of params.h. O(vocab), but for
// temperature 0 with nothing that changes a logit: then `row` knows the token.
SampleResult SampleToken(const LogitRow& row, const SamplingParams& params,
                         std::span<const TokenCount> counts, std::span<const TokenBias> biases,
                         std::span<const TokenId> stop_ids, uint32_t position,
                         SamplerScratch& scratch);

// Log probabilities under the raw logits of `row`, finite, at temperature 1: first that of `token`,
// then the min(top_n, vocab) most likely ones, best first, ties to the lower id (so `token` may
// come twice). The result lies in `scratch` until its next use. Absolute error below 3e-5 for
// vocabularies to 2^18.
std::span<const IdLogprob> Logprobs(const LogitRow& row, TokenId token, uint32_t top_n,
                                    SamplerScratch& scratch);

}  // namespace recurve

#endif  // RECURVE_ENGINE_SAMPLING_SAMPLER_H_
