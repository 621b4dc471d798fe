// SPDX-License-Identifier: Apache-2.0
#include "engine/backend/cpu/kv_pool.h"

#include "engine/backend/model_shape.h"
#include "engine/base/status_macros.h"

namespace recurve {
namespace {

static_assert(kEntriesPerBlock == kTileEntries);

PageLayout LayoutOf(const ModelConfig& config, Precision precision) {
  PageLayout layout;
  layout.precision = precision;
  layout.max_layers = PageTiles(config);
  layout.kv_heads = config.num_kv_heads;
  layout.head_dim = config.head_dim;
  return layout;
}

// Most entries that a page holds: those of a group with one layer.
size_t MaxPageEntries(const PageLayout& layout) { return size_t{16} * layout.max_layers; }

}  // namespace

size_t CpuPageBytes(const ModelConfig& config, Precision precision) {
  const PageLayout layout = LayoutOf(config, precision);
  return layout.page_bytes() + MaxPageEntries(layout) * sizeof(uint32_t);
}

absl::StatusOr<KvPool> KvPool::Create(const ModelConfig& config, Precision precision,
                                      uint32_t pages) {
  KvPool pool;
  pool.layout_ = LayoutOf(config, precision);
  for (uint32_t group = 0; group < kMaxGroups; ++group) {
    pool.layers_[group] = GroupLayers(config, group);
  }
  ASSIGN_OR_RETURN(pool.pages_, HugeBuffer::Allocate(pages * pool.layout_.page_bytes()));
  ASSIGN_OR_RETURN(pool.positions_,
                   HugeBuffer::Allocate(pages * MaxPageEntries(pool.layout_) * sizeof(uint32_t)));
  return pool;
}

size_t KvPool::TileOffset(const Slot& slot, uint32_t group, uint32_t layer, uint32_t kv_head,
                          uint32_t block) const {
  const uint32_t blocks = layout_.blocks_per_page(layers_[group]);
  return slot.pages[group][block / blocks] * layout_.page_bytes() +
         layout_.tile_offset(layers_[group], layer, kv_head, block % blocks);
}

std::byte* KvPool::Tile(const Slot& slot, uint32_t group, uint32_t layer, uint32_t kv_head,
                        uint32_t block) {
  return pages_.data() + TileOffset(slot, group, layer, kv_head, block);
}

const std::byte* KvPool::Tile(const Slot& slot, uint32_t group, uint32_t layer, uint32_t kv_head,
                              uint32_t block) const {
  return pages_.data() + TileOffset(slot, group, layer, kv_head, block);
}

size_t KvPool::PositionIndex(const Slot& slot, uint32_t group, uint32_t entry) const {
  const uint32_t entries = layout_.entries_per_page(layers_[group]);
  return slot.pages[group][entry / entries] * MaxPageEntries(layout_) + entry % entries;
}

uint32_t& KvPool::Position(const Slot& slot, uint32_t group, uint32_t entry) {
  return reinterpret_cast<uint32_t*>(positions_.data())[PositionIndex(slot, group, entry)];
}

uint32_t KvPool::Position(const Slot& slot, uint32_t group, uint32_t entry) const {
  return reinterpret_cast<const uint32_t*>(positions_.data())[PositionIndex(slot, group, entry)];
}

}  // namespace recurve
