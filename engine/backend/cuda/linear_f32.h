// SPDX-License-Identifier: Apache-2.0
// Products of --precision=f32, in the CPU's written order (arithmetic.h), so that both backends
// give equal bits: the oracle of the device, not tuned. Of each row:
//
//   ProjectQkv  q, k, v <- W norm(x); q and k rotated; k and v into the row's entry
//   AddProduct  x += W y: the attention's and the MLP's way back to the residual stream
//   GateUp      y <- silu(W_gate norm(x)) * W_up norm(x)
//   Head        logits <- W norm(x)
//
// A block takes one row and one thread an output (of ProjectQkv a pair that is rotated together).
// Bytes: weights once a row, since no two rows share a block's reads but through the cache; FLOPs:
// 2 * inputs * outputs a row.
#ifndef RECURVE_ENGINE_BACKEND_CUDA_LINEAR_F32_H_
#define RECURVE_ENGINE_BACKEND_CUDA_LINEAR_F32_H_

#include <cstdint>

#include "absl/status/status.h"
#include "engine/backend/cuda/kv_layout.h"
#include "engine/backend/cuda/rotary.h"
#include "engine/backend/cuda/row_set.h"
#include "engine/backend/cuda/runtime.h"
#include "engine/backend/cuda/simt.h"
#include "engine/backend/cuda/step_tables.h"

namespace recurve::cuda {

// The rows and what is multiplied.
struct ProductF32 {
  RowSet set;
  simt::In<ListCounts> counts;
  simt::In<Row> rows;  // where sets differ by recursion
  uint32_t inputs = 0;
  uint32_t outputs = 0;
  uint32_t sets = 1;              // one, or one for each recursion
  simt::Constant<float> weights;  // [sets][inputs][outputs]
  simt::In<float> x;              // [rows][inputs]
};

// RMSNorm of x before a product.
struct NormF32 {
  simt::Constant<float> gamma;  // [inputs]
  float epsilon = 0.0F;
};

struct ProjectQkvArgs {
  ProductF32 product;  // outputs: queries, keys, values
  NormF32 norm;
  TableSizes sizes;
  KvLayout layout;
  uint32_t heads = 0;
  uint32_t layer = 0;  // in the row's cache group
  SlotTables<simt::In> slots;
  RotaryTable rotary;
  simt::Out<float> q;                   // [rows][heads * head_dim]
  simt::Out<float> pages;               // the pool
  simt::Out<uint32_t> entry_positions;  // [pages][layout.page_capacity]
};
absl::Status LaunchProjectQkv(Runtime& runtime, const ProjectQkvArgs& args);

struct AddProductArgs {
  ProductF32 product;
  simt::Out<float> residual;  // [rows][outputs]
};
absl::Status LaunchAddProduct(Runtime& runtime, const AddProductArgs& args);

struct GateUpArgs {
  ProductF32 product;  // of the gate
  NormF32 norm;
  simt::Constant<float> up;  // [inputs][outputs]
  simt::Out<float> y;        // [rows][outputs]
};
absl::Status LaunchGateUp(Runtime& runtime, const GateUpArgs& args);

struct HeadArgs {
  ProductF32 product;
  NormF32 norm;
  simt::Out<float> logits;  // [rows][outputs]
};
absl::Status LaunchHead(Runtime& runtime, const HeadArgs& args);

}  // namespace recurve::cuda

#endif  // RECURVE_ENGINE_BACKEND_CUDA_LINEAR_F32_H_
