// SPDX-License-Identifier: Apache-2.0
#include "engine/tokenizer/bpe.h"

#include <algorithm>
#include <bit>
#include <utility>

namespace recurve {
namespace {

uint64_t PairKey(TokenId left, TokenId right) { return uint64_t{left} << 32 | right; }

}  // namespace

MergeTable::MergeTable(const std::vector<Merge>& merges) {
  const size_t size = std::bit_ceil(std::max<size_t>(2 * merges.size(), 2));
  shift_ = 64 - std::countr_zero(size);
  buckets_.resize(size);
  for (size_t rank = 0; rank < merges.size(); ++rank) {
    const uint64_t pair = PairKey(merges[rank].left, merges[rank].right);
    buckets_[Slot(pair)] = {pair, {static_cast<int32_t>(rank), merges[rank].merged}};
  }
}

size_t MergeTable::Slot(uint64_t pair) const {
  size_t slot = Home(pair);
  while (buckets_[slot].entry.rank >= 0 && buckets_[slot].pair != pair) {
    slot = (slot + 1) & (buckets_.size() - 1);
  }
  return slot;
}

MergeTable::Entry MergeTable::Find(TokenId left, TokenId right) const {
  return buckets_[Slot(PairKey(left, right))].entry;
}

Bpe::Bpe(const std::array<TokenId, 256>& byte_ids, MergeTable merges)
    : byte_ids_(byte_ids), merges_(std::move(merges)) {}

size_t Bpe::KnownBytes(std::string_view word) const {
  return static_cast<size_t>(std::count_if(word.begin(), word.end(), [this](char c) {
    return byte_ids_[static_cast<uint8_t>(c)] != kNoToken;
  }));
}

// Notes the merge of the symbol at `at` with the one after it, if there is such a merge.
void Bpe::AddCandidate(int32_t at, Scratch* scratch) const {
  const Scratch::Symbol& symbol = scratch->symbols_[at];
  if (symbol.next < 0) return;
  const auto found = merges_.Find(symbol.id, scratch->symbols_[symbol.next].id);
  if (found.rank >= 0) scratch->candidates_.push_back({found.rank, at, found.merged});
}

void Bpe::EncodeWord(std::string_view word, Scratch* scratch, std::vector<TokenId>* ids) const {
  auto& symbols = scratch->symbols_;
  auto& heap = scratch->candidates_;
  const auto later = [](const Scratch::Candidate& a, const Scratch::Candidate& b) {
    return a.rank != b.rank ? a.rank > b.rank : a.at > b.at;
  };
  symbols.clear();
  heap.clear();
  for (const char c : word) {
    const TokenId id = byte_ids_[static_cast<uint8_t>(c)];
    if (id == kNoToken) continue;
    const int32_t at = static_cast<int32_t>(symbols.size());
    symbols.push_back({id, at - 1, at + 1});
  }
  if (symbols.empty()) return;
  symbols.back().next = -1;
  for (size_t at = 0; at + 1 < symbols.size(); ++at)
    AddCandidate(static_cast<int32_t>(at), scratch);
  std::make_heap(heap.begin(), heap.end(), later);

  while (!heap.empty()) {
    std::pop_heap(heap.begin(), heap.end(), later);
    const Scratch::Candidate top = heap.back();
    heap.pop_back();
    Scratch::Symbol& left = symbols[top.at];
    if (left.id == kNoToken || left.next < 0) continue;
    Scratch::Symbol& right = symbols[left.next];
    // Either symbol may have changed since. What counts, as in `tokenizers`, is that the pair still
    // merges to the same token, be it by another merge of another rank.
    if (merges_.Find(left.id, right.id).merged != top.merged) continue;
    left.id = top.merged;
    left.next = right.next;
    right.id = kNoToken;
    if (left.next >= 0) symbols[left.next].previous = top.at;
    const size_t size = heap.size();
    if (left.previous >= 0) AddCandidate(left.previous, scratch);
    AddCandidate(top.at, scratch);
    for (auto end = heap.begin() + static_cast<ptrdiff_t>(size); end != heap.end();) {
      std::push_heap(heap.begin(), ++end, later);
    }
  }
  for (int32_t at = 0; at >= 0; at = symbols[at].next) ids->push_back(symbols[at].id);
}

}  // namespace recurve
