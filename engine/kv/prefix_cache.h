// SPDX-License-Identifier: Apache-2.0
// Prompts that were computed before. Routing is causal, so a prefix of tokens has the same entries
// in every group whoever comes with it; groups hold different numbers of them, so a cached prefix
// is a set of (group, pages, count).
#ifndef RECURVE_ENGINE_KV_PREFIX_CACHE_H_
#define RECURVE_ENGINE_KV_PREFIX_CACHE_H_

#include <array>
#include <cstdint>
#include <list>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "engine/backend/step.h"
#include "engine/kv/page_pool.h"

namespace recurve {

// What a prefix has in each group.
struct CachedPrefix {
  uint32_t tokens = 0;                       // a multiple of the cache's chunk
  std::array<uint32_t, kMaxGroups> count{};  // entries
  // In table order; the last one may hold entries of other tokens behind these.
  std::array<std::vector<uint32_t>, kMaxGroups> pages;
  std::vector<std::array<uint32_t, kMaxGroups>> counts;  // after each chunk
  std::vector<uint32_t> depths;                          // [tokens]: recursions that each ran
};

// A tree of chunks of tokens, found by the tokens themselves, so that no two can be mistaken for
// each other. Each chunk is one more owner of the pages that hold its entries. Borrows the pool,
// which outlives it. Thread-compatible.
class PrefixCache {
 public:
  // chunk: tokens of one.
  PrefixCache(PagePool* pool, const StepShape& shape, const EntriesPerPage& entries_per_page,
              uint32_t chunk);
  ~PrefixCache();  // gives back all pages
  PrefixCache(const PrefixCache&) = delete;
  PrefixCache& operator=(const PrefixCache&) = delete;

  // The longest prefix of `tokens` that is known in `realm`, and how many tokens it has. Counts as
  // a use. A realm is whatever else decides the entries, or who may share them: depth caps,
  // threshold, budget, salt.
  CachedPrefix Find(const std::string& realm, std::span<const uint32_t> tokens);

  // Adds what is not known yet of tokens.size() = k * chunk() tokens. counts [k]: entries of the
  // sequence after each chunk. depths [tokens.size()]: recursions that each token ran. tables
  // [groups]: the sequence's pages, which hold these entries, in table order. Counts as a use.
  void Add(const std::string& realm, std::span<const uint32_t> tokens,
           std::span<const std::array<uint32_t, kMaxGroups>> counts,
           std::span<const uint32_t> depths, std::span<const std::span<const uint32_t>> tables);

  // Forgets the prefix used longest ago, its last chunk first. False: there is none.
  bool ForgetOldest();

  uint32_t chunk() const { return chunk_; }
  uint32_t chunks() const { return static_cast<uint32_t>(by_use_.size()); }

 private:
  using Tokens = std::vector<uint32_t>;  // [chunk_]
  struct Chunk {
    Chunk* parent = nullptr;
    std::string realm;  // of those without a parent
    Tokens tokens;
    std::map<Tokens, std::unique_ptr<Chunk>> next;
    std::array<uint32_t, kMaxGroups> count{};             // entries up to its end
    std::vector<uint32_t> depths;                         // [chunk_]
    std::array<std::vector<uint32_t>, kMaxGroups> pages;  // that hold entries of its tokens
    std::list<Chunk*>::iterator use;
  };
  using Chunks = std::map<Tokens, std::unique_ptr<Chunk>>;

  // The chunks along `tokens` as far as they are known, the first one first.
  std::vector<Chunk*> Walk(const std::string& realm, std::span<const uint32_t> tokens);
  // Puts them behind all others, ancestors last: so the first in use order has no descendants.
  void Use(const std::vector<Chunk*>& path);

  PagePool* const pool_;
  const uint32_t groups_;
  const EntriesPerPage entries_per_page_;
  const uint32_t chunk_;
  std::map<std::string, Chunks> realms_;
  std::list<Chunk*> by_use_;  // used longest ago first
};

}  // namespace recurve

#endif  // RECURVE_ENGINE_KV_PREFIX_CACHE_H_
