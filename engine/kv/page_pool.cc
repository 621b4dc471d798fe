// SPDX-License-Identifier: Apache-2.0
#include "engine/kv/page_pool.h"

#include <algorithm>

#include "engine/base/check.h"

namespace recurve {

PagePool::PagePool(uint32_t pages) : free_(pages), owners_(pages, 0) {
  for (uint32_t i = 0; i < pages; ++i) free_[i] = pages - 1 - i;
}

PagePool::~PagePool() { RECURVE_CHECK(in_use() == 0); }

bool PagePool::Allocate(uint32_t count, std::vector<uint32_t>& pages) {
  if (count > free_.size()) return false;
  for (uint32_t i = 0; i < count; ++i) {
    const uint32_t page = free_.back();
    free_.pop_back();
    owners_[page] = 1;
    pages.push_back(page);
  }
  peak_ = std::max(peak_, in_use());
  return true;
}

void PagePool::Share(std::span<const uint32_t> pages) {
  for (const uint32_t page : pages) {
    RECURVE_CHECK(page < owners_.size() && owners_[page] > 0);
    ++owners_[page];
  }
}

void PagePool::Free(std::span<const uint32_t> pages) {
  for (const uint32_t page : pages) {
    RECURVE_CHECK(page < owners_.size() && owners_[page] > 0);
    if (--owners_[page] == 0) free_.push_back(page);
  }
}

}  // namespace recurve
