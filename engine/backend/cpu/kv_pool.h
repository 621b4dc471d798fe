// SPDX-License-Identifier: Apache-2.0
// The pages that hold all keys and values, and each entry's original position and router score.
#ifndef RECURVE_ENGINE_BACKEND_CPU_KV_POOL_H_
#define RECURVE_ENGINE_BACKEND_CPU_KV_POOL_H_

#include <array>
#include <cstddef>
#include <cstdint>

#include "absl/status/statusor.h"
#include "engine/backend/cpu/kernels/huge_buffer.h"
#include "engine/backend/cpu/kernels/kv_page.h"
#include "engine/backend/eviction.h"
#include "engine/backend/precision.h"
#include "engine/backend/slot_table.h"
#include "engine/backend/step.h"
#include "engine/model/config.h"

namespace recurve {

// Bytes of memory that one page takes, all told, with keys and values of this precision.
size_t CpuPageBytes(const ModelConfig& config, Precision precision);

// Which pages belong to whom is the slots' business. Accesses to different entries may run at the
// same time.
class KvPool {
 public:
  // RESOURCE_EXHAUSTED when there is no memory for so many pages.
  static absl::StatusOr<KvPool> Create(const ModelConfig& config, Precision precision,
                                       uint32_t pages);

  const PageLayout& layout() const { return layout_; }

  // The tile-th tile of a layer and KV head of the slot's group: [layout().tile_bytes()]. `layer`
  // counts the layers of the group.
  std::byte* Tile(const Slot& slot, uint32_t group, uint32_t layer, uint32_t kv_head,
                  uint32_t tile);
  const std::byte* Tile(const Slot& slot, uint32_t group, uint32_t layer, uint32_t kv_head,
                        uint32_t tile) const;

  // The first `count` tiles of that layer and KV head.
  void Tiles(const Slot& slot, uint32_t group, uint32_t layer, uint32_t kv_head, uint32_t count,
             const std::byte** tiles) const;

  // The original position of an entry.
  uint32_t& Position(const Slot& slot, uint32_t group, uint32_t entry);
  uint32_t Position(const Slot& slot, uint32_t group, uint32_t entry) const;

  // The score by which a router let the entry's row into the group; of the groups of recursions
  // from the second on.
  float& Score(const Slot& slot, uint32_t group, uint32_t entry);

  // Entry move.from of the slot's group takes the place of entry move.to, in all layers.
  void Move(const Slot& slot, uint32_t group, const EntryMove& move);

  // Overwrites page copy.to with page copy.from: entries, positions and scores.
  void Copy(const PageCopy& copy);

 private:
  KvPool() = default;
  size_t TileOffset(const Slot& slot, uint32_t group, uint32_t layer, uint32_t kv_head,
                    uint32_t tile) const;
  size_t EntryIndex(const Slot& slot, uint32_t group, uint32_t entry) const;

  PageLayout layout_;
  std::array<uint32_t, kMaxGroups> layers_ = {};  // by group
  HugeBuffer pages_;                              // [pages][layout_.page_bytes()]
  HugeBuffer positions_;                          // [pages][16 * layout_.max_layers] words
  HugeBuffer scores_;                             // [pages][16 * layout_.max_layers] floats
};

}  // namespace recurve

#endif  // RECURVE_ENGINE_BACKEND_CPU_KV_POOL_H_
