// SPDX-License-Identifier: Apache-2.0
// The one pool of cache pages: equal pages, known by their ids. What a page's bytes are, and where
// they lie, is the backend's business.
#ifndef RECURVE_ENGINE_KV_PAGE_POOL_H_
#define RECURVE_ENGINE_KV_PAGE_POOL_H_

#include <cstdint>
#include <span>
#include <vector>

namespace recurve {

// Says which of the pages 0..pages-1 are free. The page freed last is handed out first, since it is
// the likeliest to be in a processor's cache; a fresh pool hands out the lowest ids first, so that
// a light load touches little memory. Thread-compatible.
class PagePool {
 public:
  explicit PagePool(uint32_t pages);
  ~PagePool();  // every page must have come back
  PagePool(const PagePool&) = delete;
  PagePool& operator=(const PagePool&) = delete;

  // Appends `count` pages to `pages`. False, and nothing is taken, when fewer are free.
  [[nodiscard]] bool Allocate(uint32_t count, std::vector<uint32_t>& pages);

  // Takes back pages that Allocate gave; a page that is free already is a broken invariant.
  void Free(std::span<const uint32_t> pages);

  uint32_t size() const { return static_cast<uint32_t>(taken_.size()); }
  uint32_t free() const { return static_cast<uint32_t>(free_.size()); }
  uint32_t in_use() const { return size() - free(); }
  // The most pages ever in use at once.
  uint32_t peak() const { return peak_; }

 private:
  std::vector<uint32_t> free_;  // a stack: the next page to hand out is the last
  std::vector<bool> taken_;     // [pages]
  uint32_t peak_ = 0;
};

}  // namespace recurve

#endif  // RECURVE_ENGINE_KV_PAGE_POOL_H_
