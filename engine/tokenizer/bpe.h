// SPDX-License-Identifier: Apache-2.0
// Byte-pair encoding of one word.
#ifndef RECURVE_ENGINE_TOKENIZER_BPE_H_
#define RECURVE_ENGINE_TOKENIZER_BPE_H_

#include <array>
#include <cstddef>
#include <cstdint>
#include <string_view>
#include <vector>

#include "engine/base/token_id.h"

namespace recurve {

struct Merge {
  TokenId left;
  TokenId right;
  TokenId merged;
};

// (left, right) -> (rank, merged), an open-addressing hash table. Immutable once built.
class MergeTable {
 public:
  struct Entry {
    int32_t rank = -1;  // -1: no such merge
    TokenId merged = kNoToken;
  };

  MergeTable() : MergeTable(std::vector<Merge>()) {}

  // The rank of a merge is its index. Of merges of the same pair the last one counts.
  explicit MergeTable(const std::vector<Merge>& merges);

  Entry Find(TokenId left, TokenId right) const;

 private:
  struct Bucket {
    uint64_t pair = 0;
    Entry entry;
  };
  size_t Home(uint64_t pair) const { return (pair * 0x9E3779B97F4A7C15u) >> shift_; }
  size_t Slot(uint64_t pair) const;  // the bucket of `pair`, or the empty one where it belongs

  int shift_;
  std::vector<Bucket> buckets_;  // a power of two, at most half full
};

// The merges of a vocabulary and the ids of single bytes. Immutable; any number of threads may
// encode at once, each with its own Scratch.
class Bpe {
 public:
  // Working memory, to be kept over the words of a text.
  class Scratch {
    friend class Bpe;
    struct Symbol {
      TokenId id;  // kNoToken: merged into a symbol to its left
      int32_t previous;
      int32_t next;
    };
    struct Candidate {
      int32_t rank;
      int32_t at;
      TokenId merged;
    };
    std::vector<Symbol> symbols_;        // [bytes of the word that have an id]
    std::vector<Candidate> candidates_;  // a heap, lowest (rank, at) first
  };

  // byte_ids: the token of each byte value, kNoToken where the vocabulary has none: `tokenizers`
  // drops such bytes, and so do we.
  Bpe(const std::array<TokenId, 256>& byte_ids, MergeTable merges);

  // Appends the ids of `word` (fewer than 2^31 bytes). The lowest-ranked merge goes first, the
  // leftmost among equals: O(n log n) with a heap over a linked list, the algorithm of
  // `tokenizers`.
  void EncodeWord(std::string_view word, Scratch* scratch, std::vector<TokenId>* ids) const;

  // Bytes of `word` that have a token; the others have no part in its ids.
  size_t KnownBytes(std::string_view word) const;

 private:
  void AddCandidate(int32_t at, Scratch* scratch) const;

  std::array<TokenId, 256> byte_ids_;
  MergeTable merges_;
};

}  // namespace recurve

#endif  // RECURVE_ENGINE_TOKENIZER_BPE_H_
