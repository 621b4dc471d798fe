// SPDX-License-Identifier: Apache-2.0
// Rows between their stages: into the residual stream of a stage, and back to their hidden rows.
//
//   LoadRows   x [rows][hidden] <- the rows' embeddings, H, or what the block reads
//   StoreRows  H of the rows' hidden rows <- x
//
// A row is 4 * hidden bytes read and as many written; no arithmetic.
#ifndef RECURVE_ENGINE_BACKEND_CUDA_HIDDEN_ROWS_H_
#define RECURVE_ENGINE_BACKEND_CUDA_HIDDEN_ROWS_H_

#include <cstdint>

#include "absl/status/status.h"
#include "engine/backend/cuda/row_set.h"
#include "engine/backend/cuda/runtime.h"
#include "engine/backend/cuda/simt.h"
#include "engine/backend/cuda/step_tables.h"

namespace recurve::cuda {

enum class RowSource : uint32_t {
  kEmbedding,  // of the token at the row's position
  kHidden,     // H
  kBlock,      // H, or with `stream` for recursions from the second on the stream between them
};

struct LoadRowsArgs {
  TableSizes sizes;
  RowSet set;
  RowSource source;
  uint32_t hidden = 0;
  uint32_t vocab = 0;
  simt::In<ListCounts> counts;
  simt::In<Row> rows;
  simt::In<TokenId> tokens;         // SlotTables::tokens
  simt::Constant<float> embedding;  // [vocab][hidden]
  simt::In<float> hidden_rows;      // H: [hidden rows][hidden]
  simt::In<float> stream;           // token-choice: [hidden rows][hidden]
  uint32_t has_stream = 0;
  simt::Out<float> x;          // [rows][hidden]
  simt::Out<uint64_t> stamps;  // with kBlock: when the block begins
};
absl::Status LaunchLoadRows(Runtime& runtime, const LoadRowsArgs& args);

struct StoreRowsArgs {
  RowSet set;
  uint32_t hidden = 0;
  simt::In<ListCounts> counts;
  simt::In<Row> rows;
  simt::In<float> x;             // [rows][hidden]
  simt::Out<float> hidden_rows;  // [hidden rows][hidden]
};
absl::Status LaunchStoreRows(Runtime& runtime, const StoreRowsArgs& args);

}  // namespace recurve::cuda

#endif  // RECURVE_ENGINE_BACKEND_CUDA_HIDDEN_ROWS_H_
