// SPDX-License-Identifier: Apache-2.0
// What a plan does to the pool of cache pages before its step:
//
//   Evict       each command's entries leave their group; survivors fill the holes (eviction.h)
//   CopyPages   pages become copies of others, in the plan's order
//
// Both run only for plans that have such changes. Evict: a block a command; the order of n entries
// costs n * n comparisons, which are no FLOPs.
//
// Bytes of a command that lets `keep` of `count` entries stay, at most: of each entry its position
// and score read, 4 + 8; of each that leaves its mass cleared, 8; of each survivor that moves, no
// more than min(keep, count - keep) of them, its position written, 4, and its router score, mass,
// keys and values read and written, 2 * (4 + 8 + layers of the group * 2 * kv_heads * stride
// words). Scratch, which stays in the caches, is not counted. Bytes of a copy: a page read and
// written, 2 * (page_elements words + page_capacity * (4 + 4)).
#ifndef RECURVE_ENGINE_BACKEND_CUDA_PAGE_CHANGES_H_
#define RECURVE_ENGINE_BACKEND_CUDA_PAGE_CHANGES_H_

#include <cstdint>
#include <span>

#include "absl/status/status.h"
#include "engine/backend/cuda/kv_layout.h"
#include "engine/backend/cuda/plan_words.h"
#include "engine/backend/cuda/runtime.h"
#include "engine/backend/cuda/simt.h"
#include "engine/backend/cuda/step_tables.h"
#include "engine/backend/step.h"

namespace recurve::cuda {

// The pool, in words whatever they mean, and what stands beside each entry. Layouts are in words.
struct PageSpans {
  simt::Out<uint32_t> pages;
  simt::Out<uint32_t> positions;  // [pages][layout.page_capacity]
  simt::Out<float> scores;        // [pages][layout.page_capacity]
};

struct EvictArgs {
  TableSizes sizes;
  KvLayout layout;
  simt::In<uint32_t> plan;
  SlotTables<simt::In> slots;
  simt::Out<uint64_t> mass;  // SlotTables::mass
  PageSpans pool;
  // Of each block of the launch, [blocks][max_positions] each.
  simt::Out<uint32_t> positions, stays, holes, survivors;
  simt::Out<uint64_t> scores;
};

// Blocks of a launch: as many as have scratch.
uint32_t EvictBlocks(const Runtime& runtime);
// `evicts`: the plan's, of which the work is counted.
absl::Status LaunchEvict(Runtime& runtime, const EvictArgs& args, std::span<const Evict> evicts);

struct CopyPagesArgs {
  KvLayout layout;
  simt::In<uint32_t> plan;
  PageSpans pool;
};
// `copies`: how many the plan has.
absl::Status LaunchCopyPages(Runtime& runtime, const CopyPagesArgs& args, size_t copies);

}  // namespace recurve::cuda

#endif  // RECURVE_ENGINE_BACKEND_CUDA_PAGE_CHANGES_H_
