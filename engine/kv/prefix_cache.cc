// SPDX-License-Identifier: Apache-2.0
#include "engine/kv/prefix_cache.h"

#include <algorithm>
#include <utility>

#include "engine/base/check.h"

namespace recurve {

PrefixCache::PrefixCache(PagePool* pool, const StepShape& shape,
                         const EntriesPerPage& entries_per_page, uint32_t chunk)
    : pool_(pool), groups_(shape.groups()), entries_per_page_(entries_per_page), chunk_(chunk) {}

PrefixCache::~PrefixCache() {
  while (ForgetOldest()) {
  }
}

std::vector<PrefixCache::Chunk*> PrefixCache::Walk(const std::string& realm,
                                                   std::span<const uint32_t> tokens) {
  std::vector<Chunk*> path;
  const auto found = realms_.find(realm);
  Chunks* next = found == realms_.end() ? nullptr : &found->second;
  for (; next != nullptr && tokens.size() >= chunk_; tokens = tokens.subspan(chunk_)) {
    const auto chunk = next->find(Tokens(tokens.begin(), tokens.begin() + chunk_));
    if (chunk == next->end()) break;
    path.push_back(chunk->second.get());
    next = &path.back()->next;
  }
  return path;
}

void PrefixCache::Use(const std::vector<Chunk*>& path) {
  for (auto chunk = path.rbegin(); chunk != path.rend(); ++chunk) {
    by_use_.splice(by_use_.end(), by_use_, (*chunk)->use);
  }
}

CachedPrefix PrefixCache::Find(const std::string& realm, std::span<const uint32_t> tokens) {
  const std::vector<Chunk*> path = Walk(realm, tokens);
  Use(path);
  CachedPrefix prefix;
  for (const Chunk* chunk : path) {
    for (uint32_t group = 0; group < groups_; ++group) {
      // Its first page may hold the last entries of the chunk before too, which may lie in a page
      // of another sequence there: this one has copied them.
      const uint32_t per_page = entries_per_page_[group];
      if (per_page > 0 && !chunk->pages[group].empty()) {
        prefix.pages[group].resize(prefix.count[group] / per_page);
        prefix.pages[group].insert(prefix.pages[group].end(), chunk->pages[group].begin(),
                                   chunk->pages[group].end());
      }
      prefix.count[group] = chunk->count[group];
    }
    prefix.counts.push_back(chunk->count);
    prefix.depths.insert(prefix.depths.end(), chunk->depths.begin(), chunk->depths.end());
    prefix.tokens += chunk_;
  }
  return prefix;
}

void PrefixCache::Add(const std::string& realm, std::span<const uint32_t> tokens,
                      std::span<const std::array<uint32_t, kMaxGroups>> counts,
                      std::span<const uint32_t> depths,
                      std::span<const std::span<const uint32_t>> tables) {
  RECURVE_CHECK(tokens.size() == counts.size() * chunk_ && depths.size() == tokens.size() &&
                tables.size() == groups_);
  std::vector<Chunk*> path = Walk(realm, tokens);
  while (path.size() < counts.size()) {
    auto chunk = std::make_unique<Chunk>();
    chunk->parent = path.empty() ? nullptr : path.back();
    if (path.empty()) chunk->realm = realm;
    const std::span<const uint32_t> its_tokens = tokens.subspan(path.size() * chunk_, chunk_);
    const std::span<const uint32_t> its_depths = depths.subspan(path.size() * chunk_, chunk_);
    chunk->tokens.assign(its_tokens.begin(), its_tokens.end());
    chunk->depths.assign(its_depths.begin(), its_depths.end());
    chunk->count = counts[path.size()];
    for (uint32_t group = 0; group < groups_; ++group) {
      const uint32_t per_page = entries_per_page_[group];
      const uint32_t before = path.empty() ? 0 : counts[path.size() - 1][group];
      const uint32_t count = chunk->count[group];
      if (per_page == 0 || count == before) continue;
      const uint32_t first = before / per_page;
      const uint32_t last = (count - 1) / per_page;
      RECURVE_CHECK(last < tables[group].size());
      const auto pages = tables[group].subspan(first, last - first + 1);
      chunk->pages[group].assign(pages.begin(), pages.end());
      pool_->Keep(chunk->pages[group]);
    }
    chunk->use = by_use_.insert(by_use_.end(), chunk.get());
    Chunks& siblings = path.empty() ? realms_[realm] : path.back()->next;
    path.push_back(chunk.get());
    siblings.emplace(chunk->tokens, std::move(chunk));
  }
  Use(path);
}

bool PrefixCache::ForgetOldest() {
  if (by_use_.empty()) return false;
  Chunk* const chunk = by_use_.front();
  RECURVE_CHECK(chunk->next.empty());
  by_use_.pop_front();
  for (uint32_t group = 0; group < groups_; ++group) pool_->Forget(chunk->pages[group]);
  const Tokens tokens = chunk->tokens;
  if (chunk->parent != nullptr) {
    chunk->parent->next.erase(tokens);
    return true;
  }
  const auto realm = realms_.find(chunk->realm);
  realm->second.erase(tokens);
  if (realm->second.empty()) realms_.erase(realm);
  return true;
}

}  // namespace recurve
