// SPDX-License-Identifier: Apache-2.0
// The one pool of cache pages: equal pages, known by their ids. What a page's bytes are, and where
// they lie, is the backend's business.
#ifndef RECURVE_ENGINE_KV_PAGE_POOL_H_
#define RECURVE_ENGINE_KV_PAGE_POOL_H_

#include <array>
#include <cstdint>
#include <span>
#include <vector>

#include "engine/backend/step.h"

namespace recurve {

// Entries that one page holds, by cache group; 0: the group has no layers and needs no pages.
using EntriesPerPage = std::array<uint32_t, kMaxGroups>;

// Says which of the pages 0..pages-1 are free, and how many sequences and cached prefixes own each
// of the others. The page freed last is handed out first, since it is the likeliest to be in a
// processor's cache; a fresh pool hands out the lowest ids first, so that a light load touches
// little memory. Thread-compatible.
class PagePool {
 public:
  explicit PagePool(uint32_t pages);
  ~PagePool();  // every page must have come back
  PagePool(const PagePool&) = delete;
  PagePool& operator=(const PagePool&) = delete;

  // Appends `count` pages, of one sequence each, to `pages`. False, and nothing is taken, when
  // fewer are free.
  [[nodiscard]] bool Allocate(uint32_t count, std::vector<uint32_t>& pages);

  // Each of the pages, which is not free, has one sequence more.
  void Share(std::span<const uint32_t> pages);
  // Each of the pages has one sequence less, and is free when it has no owner left; to free a page
  // that no sequence owns is a broken invariant.
  void Free(std::span<const uint32_t> pages);

  // As Share and Free, with cached prefixes for sequences.
  void Keep(std::span<const uint32_t> pages);
  void Forget(std::span<const uint32_t> pages);

  bool in_sequence(uint32_t page) const { return sequences_[page] > 0; }
  // Whether anybody beside one sequence owns the page.
  bool shared(uint32_t page) const { return sequences_[page] + prefixes_[page] > 1; }
  // Whether one sequence, and no other, owns the page; a cached prefix may.
  bool of_one_sequence(uint32_t page) const { return sequences_[page] == 1; }

  uint32_t size() const { return static_cast<uint32_t>(sequences_.size()); }
  uint32_t free() const { return static_cast<uint32_t>(free_.size()); }
  // Pages that cached prefixes alone own.
  uint32_t cached() const { return cached_; }
  uint32_t in_use() const { return size() - free(); }
  // The most pages ever in use at once.
  uint32_t peak() const { return peak_; }

 private:
  std::vector<uint32_t> free_;       // a stack: the next page to hand out is the last
  std::vector<uint32_t> sequences_;  // [pages]: owners
  std::vector<uint32_t> prefixes_;   // [pages]: owners
  uint32_t cached_ = 0;
  uint32_t peak_ = 0;
};

}  // namespace recurve

#endif  // RECURVE_ENGINE_KV_PAGE_POOL_H_
