// SPDX-License-Identifier: Apache-2.0
// Products of --precision=bf16 on tensor cores. Of each row:
//
//   ProjectQkv  q, k, v <- W norm(x); q and k rotated; k and v into the row's entry
//   AddProduct  x += W y, with what the next norm needs (residual.h)
//   GateUp      y <- silu(W_gate norm(x)) * W_up norm(x)
//   Head        logits <- W norm(x)
//
// The bits of an output: k is cut into 8 segments of equal steps of 16, each summed from zero by
// one warp, step after step, and the segments' sums are added in order. They depend on the row and
// the weights alone, not on tiles, grids or other rows. A row's sums are multiplied by its 1 / rms
// after that.
//
// A block takes MT tiles of 16 outputs and NT of 8 rows. It asks for its first weights before it
// waits for the kernel before it. Bytes: 2 * inputs * outputs of weights for 8 NT rows; FLOPs:
// 2 * inputs * outputs a row.
#ifndef RECURVE_ENGINE_BACKEND_CUDA_LINEAR_BF16_H_
#define RECURVE_ENGINE_BACKEND_CUDA_LINEAR_BF16_H_

#include <cstdint>

#include "absl/status/status.h"
#include "engine/backend/arithmetic.h"
#include "engine/backend/cuda/kv_layout.h"
#include "engine/backend/cuda/residual.h"
#include "engine/backend/cuda/rotary.h"
#include "engine/backend/cuda/row_set.h"
#include "engine/backend/cuda/runtime.h"
#include "engine/backend/cuda/simt.h"
#include "engine/backend/cuda/step_tables.h"

namespace recurve::cuda {

// The rows and what is multiplied.
struct ProductBf16 {
  RowSet set;
  simt::In<ListCounts> counts;
  uint32_t inputs = 0;
  uint32_t tiles = 0;                    // of 16 outputs
  uint32_t sets = 1;                     // one, or one for each recursion
  simt::Constant<simt::Words4> weights;  // [sets][tiles][steps][32]
  simt::In<simt::Words2> x;              // the operand of the rows
  // Of a norm before the product; else inputs are taken as they are.
  bool has_norm = false;
  float epsilon = 0.0F;
  simt::In<simt::Words4> squares;  // [rows][SquaresOf(inputs) / 4]
};

// What the device's library multiplies with in place of our kernels. `weights` are in the order of
// the tiles, row after row; the others have room for all rows and any product of the model.
struct PlainMemory {
  DeviceMemory weights;  // [16 * tiles][16 * steps]
  DeviceMemory x;
  DeviceMemory y;
};

// How a launch is cut, which changes no bit; and who makes the product.
struct ProductShape {
  uint32_t rows = 8;  // that are expected at most; more take longer
  bool programmatic = false;
  // Where it is there, the library makes the product (but for Head), with its own bits; `rows`
  // are the most then.
  const PlainMemory* library = nullptr;
};

struct ProjectQkvBf16Args {
  ProductBf16 product;  // heads of queries, keys and values; halves paired
  simt::In<Row> rows;
  TableSizes sizes;
  KvLayout layout;
  uint32_t heads = 0;
  uint32_t layer = 0;  // in the row's cache group
  SlotTables<simt::In> slots;
  RotaryTable rotary;
  simt::Out<Bf16> q;                    // [rows][heads][layout.stride], not scaled
  simt::Out<Bf16> pages;                // the pool
  simt::Out<uint32_t> entry_positions;  // [pages][layout.page_capacity]
};
absl::Status LaunchProjectQkv(Runtime& runtime, const ProductShape& shape,
                              const ProjectQkvBf16Args& args);

struct AddProductBf16Args {
  ProductBf16 product;
  ResidualArgs residual;
};
absl::Status LaunchAddProduct(Runtime& runtime, const ProductShape& shape,
                              const AddProductBf16Args& args);

struct GateUpBf16Args {
  ProductBf16 product;  // a head of gate and up
  uint32_t outputs = 0;
  simt::Out<Bf16> y;  // the operand of `outputs` values
};
absl::Status LaunchGateUp(Runtime& runtime, const ProductShape& shape, const GateUpBf16Args& args);

struct HeadBf16Args {
  ProductBf16 product;
  uint32_t outputs = 0;
  simt::Out<float> logits;  // [rows][outputs]
};
absl::Status LaunchHead(Runtime& runtime, const ProductShape& shape, const HeadBf16Args& args);

}  // namespace recurve::cuda

#endif  // RECURVE_ENGINE_BACKEND_CUDA_LINEAR_BF16_H_
