// SPDX-License-Identifier: Apache-2.0
// Rows between their stages: into the residual stream of a stage, and back to their hidden rows.
//
//   LoadRows      x [rows][hidden] <- the rows' embeddings, H, or what the block reads
//   LoadRowsBf16  the same, with what the first norm needs beside it (residual.h)
//   StoreRows     H of the rows' hidden rows <- x
//
// A row is 4 * hidden bytes read and as many written. LoadRowsBf16 reads an embedding of 2 * hidden
// instead, and writes 2 * hidden of the operand and 4 of squares for 16 columns more.
#ifndef RECURVE_ENGINE_BACKEND_CUDA_HIDDEN_ROWS_H_
#define RECURVE_ENGINE_BACKEND_CUDA_HIDDEN_ROWS_H_

#include <cstdint>

#include "absl/status/status.h"
#include "engine/backend/arithmetic.h"
#include "engine/backend/cuda/residual.h"
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

// Where the rows of a stage come from.
struct RowSources {
  TableSizes sizes;
  RowSet set;
  RowSource source;
  uint32_t hidden = 0;
  simt::In<ListCounts> counts;
  simt::In<Row> rows;
  simt::In<TokenId> tokens;     // SlotTables::tokens
  simt::In<float> hidden_rows;  // H: [hidden rows][hidden]
  simt::In<float> stream;       // token-choice: [hidden rows][hidden]
  bool has_stream = false;
  simt::Out<uint64_t> stamps;  // with kBlock: when the block begins
};

struct LoadRowsArgs {
  RowSources from;
  simt::Constant<float> embedding;  // [vocab][hidden]
  simt::Out<float> x;               // [rows][hidden]
};
absl::Status LaunchLoadRows(Runtime& runtime, const LoadRowsArgs& args);

struct LoadRowsBf16Args {
  RowSources from;
  simt::Constant<Bf16> embedding;  // [vocab][hidden]
  ResidualArgs to;
};
absl::Status LaunchLoadRows(Runtime& runtime, const LoadRowsBf16Args& args);

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
