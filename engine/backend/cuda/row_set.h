// SPDX-License-Identifier: Apache-2.0
// Which rows of a step a kernel works on.
#ifndef RECURVE_ENGINE_BACKEND_CUDA_ROW_SET_H_
#define RECURVE_ENGINE_BACKEND_CUDA_ROW_SET_H_

#include <cstdint>

#include "engine/backend/cuda/step_tables.h"
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

}  // namespace recurve::cuda

#endif  // RECURVE_ENGINE_BACKEND_CUDA_ROW_SET_H_
