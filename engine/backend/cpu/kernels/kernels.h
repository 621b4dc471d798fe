// SPDX-License-Identifier: Apache-2.0
// The arithmetic of the CPU backend: a table of functions for each instruction set.
//
// Every reduction has the one order that engine/backend/arithmetic.h writes down, so all tables
// give the same bits, and a row's result depends neither on the other rows of a call nor on how
// outputs or heads are split among calls. Everything is defined under ScopedFloatEnv (denormals
// read and written as zero).
#ifndef RECURVE_ENGINE_BACKEND_CPU_KERNELS_KERNELS_H_
#define RECURVE_ENGINE_BACKEND_CPU_KERNELS_KERNELS_H_

#include <cstddef>
#include <cstdint>

#include "engine/backend/cpu/kernels/blocking_choice.h"
#include "engine/backend/cpu/kernels/isa.h"
#include "engine/backend/cpu/kernels/kv_page.h"
#include "engine/backend/cpu/kernels/packed_matrix.h"
#include "engine/backend/precision.h"

namespace recurve {

// What becomes of a product.
enum class Epilogue : uint8_t {
  kStore,  // y = W x
  kAdd,    // y = y + W x: into the residual stream, one rounding
  // a = silu(gate) * up, rounded to the precision of x (int8: not rounded, since the scale of a row
  // is that of all its numbers); W holds gate and up, kInterleaved
  kSilu,
};

// A product of rows of activations with the outputs of some panels of a matrix. For each row and
// output, for each slice of 32 inputs in order: acc = acc + the pair sum of the slice, from 0. In
// int8: Int8Product.
struct LinearArgs {
  const PackedMatrix* weights = nullptr;
  uint32_t panel_begin = 0;  // panels of 32 outputs: [begin, end)
  uint32_t panel_end = 0;
  uint32_t rows = 0;  // may be 0
  // [rows][x_stride] elements of the weights' precision; x_stride >= weights->padded_inputs(), and
  // the elements from inputs() to padded_inputs() are 0.
  const void* x = nullptr;
  size_t x_stride = 0;
  const float* x_scales = nullptr;  // int8: [rows]
  Epilogue epilogue = Epilogue::kStore;
  // kStore, kAdd: float [rows][y_stride], of which columns [32 * begin, min(32 * end, outputs()))
  // are written. kSilu: elements of the weights' precision (int8: floats), columns [16 * begin,
  // 16 * end) are written (zeros where gate and up are padding).
  void* y = nullptr;
  size_t y_stride = 0;
  float* scratch = nullptr;  // [LinearScratch(*weights)], of this thread
  // The weights that this thread multiplies with next, fetched ahead towards the end; may be null.
  const std::byte* next = nullptr;
  // Where a kernel has several blockings, what this thread learns of them; null: the first.
  BlockingChoices* blockings = nullptr;
};

// Rows that a kernel takes together, at most: widened to floats, or as tiles of bf16.
inline constexpr uint32_t kMaxWideRows = 64;
inline constexpr uint32_t kMaxTileRows = 2 * kMaxWideRows;

// Floats that a thread needs beside a product.
inline size_t LinearScratch(const PackedMatrix& weights) {
  return size_t{kMaxWideRows} * weights.padded_inputs();
}

// Attention of query rows to the first entries of one KV head, each row to as many as it sees, for
// query heads that share it. For each row, head h and entry t:
//   score = pair sum over the dimensions * ScoreScale; p = Exp(score - largest score);
//   sum = lane sum of p; out = pair sum over the entries of p and value * (1 / sum).
// With int8: score = pair sum * ScoreScale * the key's scale, in this order, and the pair sum over
// the entries is that of p * the value's scale and the whole numbers. What lies beyond a row's
// entries has no influence, whatever it is.
struct AttentionArgs {
  PageLayout layout;
  uint32_t rows = 1;
  uint32_t heads = 0;                 // query heads
  const uint32_t* entries = nullptr;  // [rows], ascending, each >= 1
  const float* q = nullptr;           // [rows][q_stride]: [heads][head_dim], rotated, not scaled
  size_t q_stride = 0;                // of one row may be anything
  const std::byte* const* tiles = nullptr;  // [ceil(last row's entries / 16)], each [tile_bytes()]
  const std::byte* next = nullptr;          // if not null, a tile that is soon read, to be fetched
  float* out = nullptr;                     // [rows][out_stride]: [heads][head_dim]
  size_t out_stride = 0;                    // of one row may be anything
  // [entries]; if not null, each row and head adds MassShare(p, 1 / sum) to it, atomically:
  // integers, so that the order in which rows, heads and layers come does not matter.
  uint64_t* mass = nullptr;
  float* scratch = nullptr;  // [AttentionScratch(layout, the last row's entries)]
};

// Queries, each of a row and a head, that a kernel takes together, at most.
inline constexpr uint32_t kQueriesTogether = 12;

// Floats that a thread needs beside attention to at most `entries` entries.
inline size_t AttentionScratch(const PageLayout& layout, uint32_t entries) {
  return kQueriesTogether *
         (size_t{RoundUp(entries, kTileEntries)} + 2 * layout.padded_dim() + layout.head_dim);
}

// No function allocates or locks; all may be called from any thread, on memory that no other
// writes.
struct Kernels {
  void (*linear)(const LinearArgs& args);       // of f32 and bf16
  void (*linear_int8)(const LinearArgs& args);  // of int8
  void (*attention)(const AttentionArgs& args);

  // out[i] = x[i] * InverseRms(lane sum of x^2) * gamma[i] in this order, rounded to `precision`.
  void (*rms_norm)(const float* x,      // [n]
                   const float* gamma,  // [n]
                   float epsilon, uint32_t n, Precision precision,
                   void* out);  // [n] elements of `precision`

  // Rounds to `precision`.
  void (*round)(const float* x /* [n] */, uint32_t n, Precision precision, void* out /* [n] */);

  // QuantizeRow: what a product in int8 reads, and its scale.
  float (*quantize)(const float* x /* [n] */, uint32_t n, int8_t* q /* [n] */);

  // Rotates each head in place by its position's angles.
  void (*rope)(float* x,          // [heads][head_dim]
               const float* cos,  // [head_dim / 2]
               const float* sin,  // [head_dim / 2]
               uint32_t heads, uint32_t head_dim);

  // Lane sum of a * b.
  float (*dot)(const float* a /* [n] */, const float* b /* [n] */, uint32_t n);

  // x[i] = Gelu(x[i]).
  void (*gelu)(float* x /* [n] */, uint32_t n);

  // out[i] = x[i] / divisor: the temperature of a router's input. `out` may be `x`.
  void (*divide)(const float* x /* [n] */, float divisor, uint32_t n, float* out /* [n] */);

  // h[i] = fma(g, x[i], h[i]): the gated update of the residual stream (g = 1: h + x).
  void (*add_scaled)(const float* x /* [n] */, float g, uint32_t n, float* h /* [n] */);
};

// The table of `isa`, which must be one of SupportedIsas().
const Kernels& KernelsFor(Isa isa);

}  // namespace recurve

#endif  // RECURVE_ENGINE_BACKEND_CPU_KERNELS_KERNELS_H_
