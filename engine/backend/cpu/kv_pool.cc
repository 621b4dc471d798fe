// SPDX-License-Identifier: Apache-2.0
#include "engine/backend/cpu/kv_pool.h"

#include <algorithm>
#include <cstring>

#include "engine/backend/model_shape.h"
#include "engine/base/status_macros.h"

namespace recurve {
namespace {

PageLayout LayoutOf(const ModelConfig& config, Precision precision) {
  PageLayout layout;
  layout.precision = precision;
  layout.max_layers = PageTiles(config);
  layout.kv_heads = config.num_kv_heads;
  layout.head_dim = config.head_dim;
  return layout;
}

// Most entries that a page holds: those of a group with one layer.
size_t MaxPageEntries(const PageLayout& layout) { return size_t{kTileEntries} * layout.max_layers; }

}  // namespace

size_t CpuPageBytes(const ModelConfig& config, Precision precision) {
  const PageLayout layout = LayoutOf(config, precision);
  return layout.page_bytes() + MaxPageEntries(layout) * (sizeof(uint32_t) + sizeof(float));
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
  ASSIGN_OR_RETURN(pool.scores_,
                   HugeBuffer::Allocate(pages * MaxPageEntries(pool.layout_) * sizeof(float)));
  return pool;
}

size_t KvPool::TileOffset(const Slot& slot, uint32_t group, uint32_t layer, uint32_t kv_head,
                          uint32_t tile) const {
  const uint32_t tiles = layout_.tiles_per_page(layers_[group]);
  return slot.pages[group][tile / tiles] * layout_.page_bytes() +
         layout_.tile_offset(layers_[group], layer, kv_head, tile % tiles);
}

std::byte* KvPool::Tile(const Slot& slot, uint32_t group, uint32_t layer, uint32_t kv_head,
                        uint32_t tile) {
  return pages_.data() + TileOffset(slot, group, layer, kv_head, tile);
}

const std::byte* KvPool::Tile(const Slot& slot, uint32_t group, uint32_t layer, uint32_t kv_head,
                              uint32_t tile) const {
  return pages_.data() + TileOffset(slot, group, layer, kv_head, tile);
}

void KvPool::Tiles(const Slot& slot, uint32_t group, uint32_t layer, uint32_t kv_head,
                   uint32_t count, const std::byte** tiles) const {
  const uint32_t per_page = layout_.tiles_per_page(layers_[group]);
  const size_t offset = layout_.tile_offset(layers_[group], layer, kv_head, 0);
  for (uint32_t first = 0, page = 0; first < count; first += per_page, ++page) {
    const std::byte* tile = pages_.data() + slot.pages[group][page] * layout_.page_bytes() + offset;
    const uint32_t end = std::min(count, first + per_page);
    for (uint32_t i = first; i < end; ++i, tile += layout_.tile_bytes()) tiles[i] = tile;
  }
}

size_t KvPool::EntryIndex(const Slot& slot, uint32_t group, uint32_t entry) const {
  const uint32_t entries = layout_.entries_per_page(layers_[group]);
  return slot.pages[group][entry / entries] * MaxPageEntries(layout_) + entry % entries;
}

uint32_t& KvPool::Position(const Slot& slot, uint32_t group, uint32_t entry) {
  return reinterpret_cast<uint32_t*>(positions_.data())[EntryIndex(slot, group, entry)];
}

uint32_t KvPool::Position(const Slot& slot, uint32_t group, uint32_t entry) const {
  return reinterpret_cast<const uint32_t*>(positions_.data())[EntryIndex(slot, group, entry)];
}

float& KvPool::Score(const Slot& slot, uint32_t group, uint32_t entry) {
  return reinterpret_cast<float*>(scores_.data())[EntryIndex(slot, group, entry)];
}

void KvPool::Move(const Slot& slot, uint32_t group, const EntryMove& move) {
  for (uint32_t layer = 0; layer < layers_[group]; ++layer) {
    for (uint32_t head = 0; head < layout_.kv_heads; ++head) {
      CopyKv(layout_, Tile(slot, group, layer, head, move.from / kTileEntries),
             move.from % kTileEntries, Tile(slot, group, layer, head, move.to / kTileEntries),
             move.to % kTileEntries);
    }
  }
  Position(slot, group, move.to) = Position(slot, group, move.from);
  Score(slot, group, move.to) = Score(slot, group, move.from);
}

void KvPool::Copy(const PageCopy& copy) {
  const size_t entries = MaxPageEntries(layout_);
  const auto copy_part = [&copy](HugeBuffer& buffer, size_t page_bytes) {
    std::memcpy(buffer.data() + copy.to * page_bytes, buffer.data() + copy.from * page_bytes,
                page_bytes);
  };
  copy_part(pages_, layout_.page_bytes());
  copy_part(positions_, entries * sizeof(uint32_t));
  copy_part(scores_, entries * sizeof(float));
}

}  // namespace recurve
