// SPDX-License-Identifier: Apache-2.0
#include "engine/kv/prefix_cache.h"

#include <algorithm>
#include <utility>

#include "engine/base/check.h"

namespace recurve {

PrefixCache::PrefixCache(PagePool* pool, const StepShape& shape,
                         const EntriesPerPage& entries_per_page, uint32_t node_tokens)
    : pool_(pool),
      groups_(shape.groups()),
      entries_per_page_(entries_per_page),
      node_tokens_(node_tokens) {}

PrefixCache::~PrefixCache() {
  while (ForgetOldest()) {
  }
}

void PrefixCache::Walk(const std::string& realm, std::span<const uint32_t> tokens) {
  path_.clear();
  const auto found = realms_.find(realm);
  Nodes* next = found == realms_.end() ? nullptr : &found->second;
  for (; next != nullptr && tokens.size() >= node_tokens_; tokens = tokens.subspan(node_tokens_)) {
    const auto node = next->find(tokens.first(node_tokens_));
    if (node == next->end()) break;
    path_.push_back(node->second.get());
    next = &path_.back()->next;
  }
}

void PrefixCache::UsePath() {
  for (auto node = path_.rbegin(); node != path_.rend(); ++node) {
    by_use_.splice(by_use_.end(), by_use_, (*node)->use);
  }
}

const CachedPrefix& PrefixCache::Find(const std::string& realm, std::span<const uint32_t> tokens) {
  Walk(realm, tokens);
  UsePath();
  found_.Clear();
  for (const Node* node : path_) {
    for (uint32_t group = 0; group < groups_; ++group) {
      // Its first page may hold the last entries of the node before too, which may lie in a page
      // of another sequence there: this one has copied them.
      const uint32_t per_page = entries_per_page_[group];
      if (per_page > 0 && !node->pages[group].empty()) {
        found_.pages[group].resize(found_.count[group] / per_page);
        found_.pages[group].insert(found_.pages[group].end(), node->pages[group].begin(),
                                   node->pages[group].end());
      }
      found_.count[group] = node->count[group];
    }
    found_.counts.push_back(node->count);
    found_.depths.insert(found_.depths.end(), node->depths.begin(), node->depths.end());
    found_.tokens += node_tokens_;
  }
  return found_;
}

void PrefixCache::Add(const std::string& realm, std::span<const uint32_t> tokens,
                      std::span<const std::array<uint32_t, kMaxGroups>> counts,
                      std::span<const uint32_t> depths,
                      std::span<const std::span<const uint32_t>> tables) {
  RECURVE_CHECK(tokens.size() == counts.size() * node_tokens_ && depths.size() == tokens.size() &&
                tables.size() == groups_);
  Walk(realm, tokens);
  while (path_.size() < counts.size()) {
    auto node = std::make_unique<Node>();
    node->parent = path_.empty() ? nullptr : path_.back();
    if (path_.empty()) node->realm = realm;
    const std::span<const uint32_t> its_tokens =
        tokens.subspan(path_.size() * node_tokens_, node_tokens_);
    const std::span<const uint32_t> its_depths =
        depths.subspan(path_.size() * node_tokens_, node_tokens_);
    node->tokens.assign(its_tokens.begin(), its_tokens.end());
    node->depths.assign(its_depths.begin(), its_depths.end());
    node->count = counts[path_.size()];
    for (uint32_t group = 0; group < groups_; ++group) {
      const uint32_t per_page = entries_per_page_[group];
      const uint32_t before = path_.empty() ? 0 : counts[path_.size() - 1][group];
      const uint32_t count = node->count[group];
      if (per_page == 0 || count == before) continue;
      const uint32_t first = before / per_page;
      const uint32_t last = (count - 1) / per_page;
      RECURVE_CHECK(last < tables[group].size());
      const auto pages = tables[group].subspan(first, last - first + 1);
      node->pages[group].assign(pages.begin(), pages.end());
      pool_->Keep(node->pages[group]);
    }
    node->use = by_use_.insert(by_use_.end(), node.get());
    Nodes& siblings = path_.empty() ? realms_[realm] : path_.back()->next;
    path_.push_back(node.get());
    siblings.emplace(node->tokens, std::move(node));
  }
  UsePath();
}

bool PrefixCache::ForgetOldest() {
  if (by_use_.empty()) return false;
  Node* const node = by_use_.front();
  RECURVE_CHECK(node->next.empty());
  by_use_.pop_front();
  for (uint32_t group = 0; group < groups_; ++group) pool_->Forget(node->pages[group]);
  if (node->parent != nullptr) {
    Nodes& siblings = node->parent->next;
    siblings.erase(siblings.find(node->tokens));
    return true;
  }
  const auto realm = realms_.find(node->realm);
  realm->second.erase(realm->second.find(node->tokens));
  if (realm->second.empty()) realms_.erase(realm);
  return true;
}

}  // namespace recurve
