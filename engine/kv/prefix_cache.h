// SPDX-License-Identifier: Apache-2.0
// Prompts that were computed before. Routing is causal, so a prefix of tokens has the same entries
// in every group whoever comes with it; groups hold different numbers of them, so a cached prefix
// is a set of (group, pages, count).
#ifndef RECURVE_ENGINE_KV_PREFIX_CACHE_H_
#define RECURVE_ENGINE_KV_PREFIX_CACHE_H_

#include <algorithm>
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
  // Keeps its memory.
  void Clear() {
    tokens = 0;
    count.fill(0);
    for (std::vector<uint32_t>& of_group : pages) of_group.clear();
    counts.clear();
    depths.clear();
  }

  uint32_t tokens = 0;                       // a multiple of PrefixCache::node_tokens()
  std::array<uint32_t, kMaxGroups> count{};  // entries
  // In table order; the last one may hold entries of other tokens behind these.
  std::array<std::vector<uint32_t>, kMaxGroups> pages;
  std::vector<std::array<uint32_t, kMaxGroups>> counts;  // after each node
  std::vector<uint32_t> depths;                          // [tokens]: recursions that each ran
};

// A tree of nodes, found by the tokens themselves, so that no two can be mistaken for
// each other. Each node is one more owner of the pages that hold its entries. Borrows the pool,
// which outlives it. Thread-compatible.
class PrefixCache {
 public:
  // node_tokens: tokens of a node.
  PrefixCache(PagePool* pool, const StepShape& shape, const EntriesPerPage& entries_per_page,
              uint32_t node_tokens);
  ~PrefixCache();  // gives back all pages
  PrefixCache(const PrefixCache&) = delete;
  PrefixCache& operator=(const PrefixCache&) = delete;

  // The longest prefix of `tokens` that is known in `realm`; valid until the next Find. Counts as a
  // use. A realm is whatever else decides the entries, or who may share them: depth caps,
  // threshold, budget, salt. Allocates nothing unless it finds more than ever before: of a sequence
  // that waits for pages every plan asks.
  const CachedPrefix& Find(const std::string& realm, std::span<const uint32_t> tokens);

  // Adds what is not known yet of tokens.size() = k * node_tokens() tokens. counts [k]: entries of
  // the sequence after each node. depths [tokens.size()]: recursions that each token ran. tables
  // [groups]: the sequence's pages, which hold these entries, in table order. Counts as a use.
  void Add(const std::string& realm, std::span<const uint32_t> tokens,
           std::span<const std::array<uint32_t, kMaxGroups>> counts,
           std::span<const uint32_t> depths, std::span<const std::span<const uint32_t>> tables);

  // Forgets the prefix used longest ago, its last node first. False: there is none.
  bool ForgetOldest();

  uint32_t node_tokens() const { return node_tokens_; }
  uint32_t nodes() const { return static_cast<uint32_t>(by_use_.size()); }

 private:
  using Tokens = std::vector<uint32_t>;  // [node_tokens_]
  // Compares without a copy of what is looked for.
  struct TokensLess {
    using is_transparent = void;
    bool operator()(std::span<const uint32_t> a, std::span<const uint32_t> b) const {
      return std::lexicographical_compare(a.begin(), a.end(), b.begin(), b.end());
    }
  };
  struct Node;
  using Nodes = std::map<Tokens, std::unique_ptr<Node>, TokensLess>;
  struct Node {
    Node* parent = nullptr;
    std::string realm;  // of those without a parent
    Tokens tokens;
    Nodes next;
    std::array<uint32_t, kMaxGroups> count{};             // entries up to its end
    std::vector<uint32_t> depths;                         // [node_tokens_]
    std::array<std::vector<uint32_t>, kMaxGroups> pages;  // that hold entries of its tokens
    std::list<Node*>::iterator use;
  };

  // Has path_ be the nodes along `tokens` as far as they are known.
  void Walk(const std::string& realm, std::span<const uint32_t> tokens);
  // Puts those of path_ behind all others, ancestors last: so the first in use order has no
  // descendants.
  void UsePath();

  PagePool* const pool_;
  const uint32_t groups_;
  const EntriesPerPage entries_per_page_;
  const uint32_t node_tokens_;
  std::map<std::string, Nodes> realms_;
  std::list<Node*> by_use_;  // used longest ago first
  std::vector<Node*> path_;  // of the last Walk, the first node first
  CachedPrefix found_;       // by the last Find
};

}  // namespace recurve

#endif  // RECURVE_ENGINE_KV_PREFIX_CACHE_H_
