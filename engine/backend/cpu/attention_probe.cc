// SPDX-License-Identifier: Apache-2.0
#include "engine/backend/cpu/attention_probe.h"

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <numeric>
#include <random>

#include "engine/backend/cpu/kernels/huge_buffer.h"
#include "engine/backend/cpu/kernels/kernels.h"
#include "engine/base/float_env.h"
#include "engine/base/status_macros.h"

namespace recurve {
namespace {

constexpr size_t kBytes = size_t{256} << 20;  // more than caches hold
constexpr uint32_t kContexts[] = {128, 1024, 4096};
constexpr uint64_t kEntriesOfRound = uint64_t{1} << 19;  // of all rows together

// Tiles of random keys and values, in an order in which nothing but a table of them finds the next.
class Cache {
 public:
  static absl::StatusOr<Cache> Create(const PageLayout& layout, std::mt19937_64& random) {
    Cache cache;
    ASSIGN_OR_RETURN(cache.memory_, HugeBuffer::Allocate(kBytes));
    std::normal_distribution<float> normal;
    std::vector<float> vectors(size_t{2} * kTileEntries * layout.head_dim);
    for (float& x : vectors) x = normal(random);
    std::vector<std::byte> one(layout.tile_bytes());
    for (uint32_t lane = 0; lane < kTileEntries; ++lane) {
      const float* const key = &vectors[size_t{2} * lane * layout.head_dim];
      StoreKv(layout, lane, key, key + layout.head_dim, one.data());
    }
    for (size_t at = 0; at + one.size() <= kBytes; at += one.size()) {
      std::byte* const tile = cache.memory_.data() + at;
      std::copy(one.begin(), one.end(), tile);
      cache.tiles_.push_back(tile);
    }
    std::shuffle(cache.tiles_.begin(), cache.tiles_.end(), random);
    return cache;
  }

  const std::vector<const std::byte*>& tiles() const { return tiles_; }

 private:
  HugeBuffer memory_;
  std::vector<const std::byte*> tiles_;
};

// Seconds for each row and entry of one round. Contexts come one after the other from all tiles, or
// are the first one again and again.
double RunRound(const Kernels& kernels, AttentionArgs args, const Cache& cache, bool cached) {
  const std::vector<const std::byte*>& tiles = cache.tiles();
  const uint32_t entries = args.entries[args.rows - 1];
  const uint32_t of_context = (entries + kTileEntries - 1) / kTileEntries;
  const uint64_t calls = std::max<uint64_t>(1, kEntriesOfRound / entries / args.rows);
  size_t at = 0;
  const auto begin = std::chrono::steady_clock::now();
  for (uint64_t call = 0; call < calls; ++call) {
    args.tiles = &tiles[at];
    if (!cached) at = at + 2 * of_context > tiles.size() ? 0 : at + of_context;
    args.next = tiles[at];
    kernels.attention(args);
  }
  const std::chrono::duration<double> time = std::chrono::steady_clock::now() - begin;
  return time.count() / static_cast<double>(calls * args.rows * entries);
}

double Median(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  return values[values.size() / 2];
}

}  // namespace

absl::StatusOr<std::vector<AttentionFigures>> MeasureAttention(const ModelConfig& config, Isa isa,
                                                               Precision kv_precision,
                                                               uint32_t rounds, uint64_t seed) {
  const ScopedFloatEnv env;
  std::mt19937_64 random(seed);
  AttentionArgs args;
  args.layout.precision = kv_precision;
  args.layout.head_dim = config.head_dim;
  args.heads = config.num_heads / config.num_kv_heads;
  ASSIGN_OR_RETURN(const Cache cache, Cache::Create(args.layout, random));
  const uint32_t most_rows = std::max(1U, kQueriesTogether / args.heads);
  args.q_stride = args.out_stride = size_t{args.heads} * config.head_dim;
  std::normal_distribution<float> normal;
  std::vector<float> q(most_rows * args.q_stride);
  for (float& x : q) x = normal(random);
  std::vector<float> out(q.size());
  args.q = q.data();
  args.out = out.data();
  std::vector<AttentionFigures> figures;
  for (const uint32_t context : kContexts) {
    std::vector<float> scratch(AttentionScratch(args.layout, context));
    args.scratch = scratch.data();
    for (args.rows = 1; args.rows <= most_rows; args.rows += std::max(1U, most_rows - 1)) {
      std::vector<uint32_t> visible(args.rows);
      std::iota(visible.begin(), visible.end(), context + 1 - args.rows);
      args.entries = visible.data();
      std::vector<double> from_memory, from_cache;
      for (uint32_t round = 0; round < rounds; ++round) {
        from_memory.push_back(RunRound(KernelsFor(isa), args, cache, false));
        from_cache.push_back(RunRound(KernelsFor(isa), args, cache, true));
      }
      figures.push_back({context, args.rows, Median(from_memory), Median(from_cache)});
    }
  }
  return figures;
}

}  // namespace recurve
