// SPDX-License-Identifier: Apache-2.0
// Where keys and values lie in the pool of cache pages of a device.
#ifndef RECURVE_ENGINE_BACKEND_CUDA_KV_LAYOUT_H_
#define RECURVE_ENGINE_BACKEND_CUDA_KV_LAYOUT_H_

#include <cstddef>
#include <cstdint>

#include "engine/backend/precision.h"
#include "engine/backend/step.h"
#include "engine/base/host_device.h"
#include "engine/model/config.h"

namespace recurve::cuda {

// A page holds, for a group with `layers` layers, consecutive entries of all its layers:
//   [layers][2: keys, values][kv heads][entries of a page][stride]
// so that a key or value is one run of numbers, which moves and copies as it is: head_dim of them,
// and zeros up to `stride`. In units of elements. A plain value.
struct KvLayout {
  uint32_t kv_heads = 1;
  uint32_t head_dim = 1;
  uint32_t stride = 1;               // in bf16 a multiple of 16, as tensor cores take them
  uint32_t page_capacity = 0;        // most entries of a page: those of a group with one layer
  size_t page_elements = 0;          // of a whole page
  uint32_t layers[kMaxGroups] = {};  // by group

  // The first element of a key (value = 0) or value (1). `page_entries`: of the group's pages.
  RECURVE_HOST_DEVICE size_t Offset(uint32_t page, uint32_t page_entries, uint32_t layer,
                                    uint32_t value, uint32_t kv_head, uint32_t entry) const {
    const size_t head = (size_t{layer} * 2 + value) * kv_heads + kv_head;
    return page * page_elements + (head * page_entries + entry) * stride;
  }
};
KvLayout LayoutOf(const ModelConfig& config, Precision precision);

// As many pages as can be: in bf16 attention counts the pool's numbers in steps of 16, with a word.
uint32_t MostPages(const KvLayout& layout, Precision precision);

// The same pages in words of 32 bits, for those who move them as they are.
KvLayout WordsOf(const KvLayout& layout, Precision precision);

}  // namespace recurve::cuda

#endif  // RECURVE_ENGINE_BACKEND_CUDA_KV_LAYOUT_H_
