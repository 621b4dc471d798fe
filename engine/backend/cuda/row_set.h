// SPDX-License-Identifier: Apache-2.0
// Which rows of a step a kernel works on.
#ifndef RECURVE_ENGINE_BACKEND_CUDA_ROW_SET_H_
#define RECURVE_ENGINE_BACKEND_CUDA_ROW_SET_H_

#include <cstdint>

#include "engine/backend/cuda/kv_layout.h"
#include "engine/backend/cuda/step_tables.h"
#include "engine/backend/kernel_work.h"
#include "engine/backend/step.h"
#include "engine/base/host_device.h"

namespace recurve::cuda {

enum class RowSet : uint32_t {
  kExit,
  kQueries,  // of EXIT: the leading rows that attend in the last layer
  kLogits,   // of EXIT: the leading rows whose logits are wanted
  kEntry,
  kBlock,
};

RECURVE_HOST_DEVICE inline uint32_t CountOf(const ListCounts& counts, RowSet set) {
  switch (set) {
    case RowSet::kExit:
      return counts.exit_rows;
    case RowSet::kQueries:
      return counts.query_rows;
    case RowSet::kLogits:
      return counts.logit_rows;
    case RowSet::kEntry:
      return counts.entry_rows;
    case RowSet::kBlock:
      return counts.block_rows;
  }
  return 0;
}

// The part of a step whose rows they are.
inline StepPart PartOf(RowSet set) {
  switch (set) {
    case RowSet::kExit:
    case RowSet::kQueries:
      return kPartExit;
    case RowSet::kLogits:
      return kPartSampling;
    case RowSet::kEntry:
      return kPartEntry;
    case RowSet::kBlock:
      return kPartBlock;
  }
  return kPartExit;
}

// Keys and values of an entry once for each row, although rows of one slot share them; a product
// and a weighted sum for each head.
inline WorkCount AttentionWork(RowSet set, const KvLayout& layout, uint32_t heads,
                               size_t number_bytes) {
  const double vector = layout.stride;
  return {.part = PartOf(set),
          .row_bytes = 2 * vector * heads * static_cast<double>(number_bytes),
          .entry_bytes = 2 * vector * layout.kv_heads * static_cast<double>(number_bytes),
          .entry_flops = 4 * vector * heads};
}

}  // namespace recurve::cuda

#endif  // RECURVE_ENGINE_BACKEND_CUDA_ROW_SET_H_
