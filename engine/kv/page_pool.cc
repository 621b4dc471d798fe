// SPDX-License-Identifier: Apache-2.0
#include "engine/kv/page_pool.h"

#include <algorithm>
#include <numeric>

#include "engine/base/check.h"

namespace recurve {

PagePool::PagePool(uint32_t pages) : free_(pages), sequences_(pages, 0), prefixes_(pages, 0) {
  std::iota(free_.rbegin(), free_.rend(), 0U);
}

PagePool::~PagePool() { RECURVE_CHECK(in_use() == 0); }

bool PagePool::Allocate(uint32_t count, std::vector<uint32_t>& pages) {
  if (count > free()) return false;
  for (uint32_t i = 0; i < count; ++i) {
    pages.push_back(free_.back());
    sequences_[free_.back()] = 1;
    free_.pop_back();
  }
  peak_ = std::max(peak_, in_use());
  return true;
}

void PagePool::Share(std::span<const uint32_t> pages) {
  for (const uint32_t page : pages) {
    RECURVE_CHECK(page < size() && sequences_[page] + prefixes_[page] > 0);
    if (sequences_[page]++ == 0) --cached_;
  }
}

void PagePool::Free(std::span<const uint32_t> pages) {
  for (const uint32_t page : pages) {
    RECURVE_CHECK(page < size() && sequences_[page] > 0);
    if (--sequences_[page] > 0) continue;
    if (prefixes_[page] > 0) {
      ++cached_;
    } else {
      free_.push_back(page);
    }
  }
}

void PagePool::Keep(std::span<const uint32_t> pages) {
  for (const uint32_t page : pages) {
    RECURVE_CHECK(page < size() && sequences_[page] + prefixes_[page] > 0);
    ++prefixes_[page];
  }
}

void PagePool::Forget(std::span<const uint32_t> pages) {
  for (const uint32_t page : pages) {
    RECURVE_CHECK(page < size() && prefixes_[page] > 0);
    if (--prefixes_[page] > 0 || sequences_[page] > 0) continue;
    --cached_;
    free_.push_back(page);
  }
}

}  // namespace recurve
