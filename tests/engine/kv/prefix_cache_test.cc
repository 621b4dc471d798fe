// SPDX-License-Identifier: Apache-2.0
#include "engine/kv/prefix_cache.h"

#include <algorithm>
#include <random>
#include <string>
#include <vector>

#include "gtest/gtest.h"

namespace recurve {
namespace {

constexpr uint32_t kChunk = 64;
constexpr StepShape kShape = {3, 0};  // groups: entry 0, recursions 1 to 3, exit 4
constexpr EntriesPerPage kEntriesPerPage = {16, 48, 48, 48, 0};

uint64_t Mix(uint64_t a, uint64_t b) {
  uint64_t x = (a ^ (b + 0x9E3779B97F4A7C15U)) * 0xBF58476D1CE4E5B9U;
  return x ^ (x >> 29);
}

// Pages with contents, and sequences that fill them as a model would: what an entry is, and whether
// a token has one, depends on all tokens up to its own.
class World {
 public:
  explicit World(uint32_t pages) : pool_(pages), cache_(&pool_, kShape, kEntriesPerPage, kChunk) {
    contents_.resize(pages, std::vector<uint64_t>(48));
  }

  // Runs a sequence of `tokens`, from the longest cached prefix on, adds it to the cache and lets
  // go of it. Returns how many tokens were found.
  uint32_t Run(const std::string& realm, const std::vector<uint32_t>& tokens) {
    const CachedPrefix prefix = cache_.Find(realm, tokens);
    std::array<uint32_t, kMaxGroups> count = prefix.count;
    std::array<std::vector<uint32_t>, kMaxGroups> tables;
    for (uint32_t group = 0; group < kShape.groups(); ++group) Adopt(prefix, group, tables[group]);
    CheckContents(realm, tokens, prefix, tables);
    std::vector<std::array<uint32_t, kMaxGroups>> counts =
        ChunkCounts(realm, tokens, prefix.tokens);
    uint64_t hash = Hash(realm, tokens, prefix.tokens);
    for (uint32_t position = prefix.tokens; position < tokens.size(); ++position) {
      hash = Mix(hash, tokens[position]);
      for (uint32_t group = 0; group < 4; ++group) {
        if (Has(hash, group)) Append(group, count[group]++, Mix(hash, group), tables[group]);
      }
      if ((position + 1) % kChunk == 0) counts.push_back(count);
    }
    std::vector<std::span<const uint32_t>> spans;
    for (uint32_t group = 0; group < kShape.groups(); ++group) spans.push_back(tables[group]);
    const size_t whole = tokens.size() / kChunk * kChunk;
    std::vector<uint32_t> depths(whole);
    for (size_t i = 0; i < whole; ++i) depths[i] = 1 + tokens[i] % 3;
    cache_.Add(realm, std::span(tokens).first(whole), counts, depths, spans);
    for (uint32_t group = 0; group < kShape.groups(); ++group) pool_.Free(tables[group]);
    return prefix.tokens;
  }

  PagePool pool_;
  PrefixCache cache_;

 private:
  static bool Has(uint64_t hash, uint32_t group) { return group < 2 || Mix(hash, 77) % 4 >= group; }
  static uint64_t Hash(const std::string& realm, const std::vector<uint32_t>& tokens, uint32_t n) {
    uint64_t hash = realm.size();
    for (uint32_t i = 0; i < n; ++i) hash = Mix(hash, tokens[i]);
    return hash;
  }
  // What each node of the first `n` tokens has at its end.
  static std::vector<std::array<uint32_t, kMaxGroups>> ChunkCounts(
      const std::string& realm, const std::vector<uint32_t>& tokens, uint32_t n) {
    std::vector<std::array<uint32_t, kMaxGroups>> counts;
    std::array<uint32_t, kMaxGroups> count{};
    for (uint32_t i = 1; i <= n; ++i) {
      const uint64_t hash = Hash(realm, tokens, i);
      for (uint32_t group = 0; group < 4; ++group) count[group] += Has(hash, group) ? 1 : 0;
      if (i % kChunk == 0) counts.push_back(count);
    }
    return counts;
  }

  // Shares the full pages of a prefix, and copies the one that is not.
  void Adopt(const CachedPrefix& prefix, uint32_t group, std::vector<uint32_t>& table) {
    const uint32_t per_page = kEntriesPerPage[group];
    if (per_page == 0) return;
    ASSERT_EQ(prefix.pages[group].size(), (prefix.count[group] + per_page - 1) / per_page);
    const auto full = std::span(prefix.pages[group]).first(prefix.count[group] / per_page);
    table.assign(full.begin(), full.end());
    pool_.Share(full);
    if (full.size() == prefix.pages[group].size()) return;
    ASSERT_TRUE(Grow(table));
    contents_[table.back()] = contents_[prefix.pages[group].back()];
  }
  bool Grow(std::vector<uint32_t>& table) {
    while (!pool_.Allocate(1, table)) {
      if (!cache_.ForgetOldest()) return false;
    }
    return true;
  }
  void Append(uint32_t group, uint32_t entry, uint64_t value, std::vector<uint32_t>& table) {
    const uint32_t per_page = kEntriesPerPage[group];
    if (entry / per_page == table.size()) {
      ASSERT_TRUE(Grow(table));
    }
    ASSERT_TRUE(pool_.of_one_sequence(table[entry / per_page])) << "appends to a shared page";
    contents_[table[entry / per_page]][entry % per_page] = value;
  }
  void CheckContents(const std::string& realm, const std::vector<uint32_t>& tokens,
                     const CachedPrefix& prefix,
                     const std::array<std::vector<uint32_t>, kMaxGroups>& tables) {
    std::array<uint32_t, kMaxGroups> count{};
    for (uint32_t i = 1; i <= prefix.tokens; ++i) {
      const uint64_t hash = Hash(realm, tokens, i);
      for (uint32_t group = 0; group < 4; ++group) {
        if (!Has(hash, group)) continue;
        const uint32_t per_page = kEntriesPerPage[group];
        const uint32_t entry = count[group]++;
        ASSERT_EQ(contents_[tables[group][entry / per_page]][entry % per_page], Mix(hash, group));
      }
    }
    for (uint32_t group = 0; group < 4; ++group) EXPECT_EQ(prefix.count[group], count[group]);
    ASSERT_EQ(prefix.depths.size(), prefix.tokens);
    for (uint32_t i = 0; i < prefix.tokens; ++i) EXPECT_EQ(prefix.depths[i], 1 + tokens[i] % 3);
  }

  std::vector<std::vector<uint64_t>> contents_;  // [pages]
};

std::vector<uint32_t> Tokens(uint32_t seed, uint32_t count) {
  std::mt19937 random(seed);
  std::vector<uint32_t> tokens(count);
  for (uint32_t& token : tokens) token = static_cast<uint32_t>(random());
  return tokens;
}

TEST(PrefixCacheTest, FindsWholeChunksOfWhatWasAdded) {
  World world(1000);
  const std::vector<uint32_t> tokens = Tokens(1, 300);
  EXPECT_EQ(world.Run("", tokens), 0U);
  EXPECT_EQ(world.Run("", tokens), 256U);
  EXPECT_EQ(world.cache_.nodes(), 4U);
  std::vector<uint32_t> other = tokens;
  other[200] += 1;
  EXPECT_EQ(world.Run("", other), 192U);
  EXPECT_EQ(world.Run("", std::vector<uint32_t>(tokens.begin(), tokens.begin() + 63)), 0U);
  EXPECT_EQ(world.Run("another", tokens), 0U) << "realms share nothing";
}

TEST(PrefixCacheTest, ForgetsTheLastChunkOfWhatWasUsedLongestAgo) {
  World world(1000);
  world.Run("", Tokens(1, 128));
  world.Run("", Tokens(2, 128));
  world.Run("", Tokens(1, 128));  // used again
  EXPECT_TRUE(world.cache_.ForgetOldest());
  EXPECT_EQ(world.cache_.Find("", Tokens(2, 128)).tokens, 64U);
  EXPECT_EQ(world.cache_.Find("", Tokens(1, 128)).tokens, 128U);
  EXPECT_EQ(world.pool_.in_use(), world.pool_.cached());
  while (world.cache_.ForgetOldest()) {
  }
  EXPECT_EQ(world.pool_.in_use(), 0U);
  EXPECT_EQ(world.cache_.Find("", Tokens(1, 128)).tokens, 0U);
}

TEST(PrefixCacheTest, RandomSequencesFindTheirOwnEntries) {
  World world(160);
  std::mt19937 random(9);
  uint64_t found = 0;
  for (int trial = 0; trial < 400; ++trial) {
    // A few beginnings, a few continuations of each, and tails of their own.
    std::vector<uint32_t> tokens = Tokens(random() % 3, random() % 200);
    const std::vector<uint32_t> middle = Tokens(10 + random() % 3, random() % 150);
    const std::vector<uint32_t> tail = Tokens(100 + random() % 50, 1 + random() % 100);
    tokens.insert(tokens.end(), middle.begin(), middle.end());
    tokens.insert(tokens.end(), tail.begin(), tail.end());
    found += world.Run(random() % 5 == 0 ? "salt" : "", tokens);
    if (HasFatalFailure()) return;
  }
  EXPECT_GT(found, 400U);
  EXPECT_EQ(world.pool_.in_use(), world.pool_.cached());
  while (world.cache_.ForgetOldest()) {
  }
  EXPECT_EQ(world.pool_.in_use(), 0U);
}

}  // namespace
}  // namespace recurve
