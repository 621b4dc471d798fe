// SPDX-License-Identifier: Apache-2.0
// What the products of AVX2, AVX-512, AMX and NEON share: how rows and panels are taken in turn,
// and what becomes of the sums. For these files alone.
#ifndef RECURVE_ENGINE_BACKEND_CPU_KERNELS_LINEAR_PASSES_H_
#define RECURVE_ENGINE_BACKEND_CPU_KERNELS_LINEAR_PASSES_H_

#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <utility>

#include "engine/backend/cpu/kernels/fetch_ahead.h"
#include "engine/backend/cpu/kernels/kernels_internal.h"
#include "engine/base/math.h"
#if defined(__AVX2__)
#include "engine/backend/cpu/kernels/kernels_avx2.h"
#endif

namespace recurve::products {

inline constexpr uint32_t kHalfElements = kSliceInputs * kHalfPanel;
// How far ahead of their use weights are fetched to the first-level cache.
inline constexpr size_t kPrefetchBytes = 4096;

// Rows that wait for the memory alone. With so few a slice takes kFewRowsSteps steps of FetchAhead,
// since many prefetches at once hold up the loads behind them; with more it takes one.
inline constexpr uint32_t kFewRows = 2;
inline constexpr uint32_t kFewRowsSteps = 4;

// The products of some rows, as many as the function is for, with one panel.
template <typename Element>
using PanelFunction = void (*)(const Element* panel,  // [slices][2][32 * 16]
                               const float* x,        // [slices][rows][32]
                               uint32_t slices,
                               FetchAhead& ahead,  // Products::SliceSteps for each slice
                               float* sums);       // [rows][32], aligned to 64 bytes

// Panels that rows of several passes take are taken in bands of about this size, half of the
// second-level cache, so that they stay there for all passes.
inline size_t BandBytes() {
  static const size_t bytes = [] {
    const int64_t cache = sysconf(_SC_LEVEL2_CACHE_SIZE);  // 0 or less where it is not known
    return static_cast<size_t>(std::max<int64_t>(cache / 2, 256 << 10));
  }();
  return bytes;
}

// In which order a product's rows and panels come. Of a product for more rows than a pass takes,
// each band of panels meets all passes before the next band comes.
class Passes {
 public:
  // Some rows and some panels, which they meet one after the other.
  struct Pass {
    uint32_t row;
    uint32_t rows;
    uint32_t panel_begin;
    uint32_t panel_end;
    bool first;  // over these panels, which lie in the cache for the others
    bool last;
  };

  Passes(const LinearArgs& args, uint32_t max_rows)
      : args_(args),
        panel_bytes_(args.weights->panel_bytes()),
        passes_((args.rows + max_rows - 1) / max_rows) {}

  // Calls body(pass) for all in order.
  template <typename Body>
  void ForEach(Body body) const {
    const auto in_cache = static_cast<uint32_t>(std::max<size_t>(1, BandBytes() / panel_bytes_));
    const uint32_t band = passes_ == 1 ? args_.panel_end - args_.panel_begin : in_cache;
    for (uint32_t begin = args_.panel_begin; begin < args_.panel_end; begin += band) {
      const uint32_t end = std::min(begin + band, args_.panel_end);
      for (uint32_t i = 0; i < passes_; ++i) {
        // Over nearly equal numbers of rows.
        const uint32_t row = i * args_.rows / passes_;
        const uint32_t rows = (i + 1) * args_.rows / passes_ - row;
        body(Pass{row, rows, begin, end, i == 0, i + 1 == passes_});
      }
    }
  }

  // Fetches, in so many steps, what comes after the panels of `pass` that lie before `panel`: the
  // next `panels` of them, or where these end the first of the next band or matrix.
  FetchAhead Ahead(const Pass& pass, uint32_t panel, uint32_t panels, uint32_t steps) const {
    const bool in_pass = panel < pass.panel_end;
    if (in_pass ? !pass.first : !pass.last) return {};
    if (panel >= args_.panel_end) {
      if (args_.next == nullptr) return {};
      return {args_.next, panels * panel_bytes_, steps};
    }
    return {args_.weights->panel(panel), std::min(panels, args_.panel_end - panel) * panel_bytes_,
            steps};
  }

 private:
  const LinearArgs& args_;
  const size_t panel_bytes_;
  const uint32_t passes_;
};

// Widens rows [begin, begin + rows) of x, 32 inputs of each together, so that every input of a
// slice lies at a constant distance from the first.
template <typename Element>
void PackRows(const LinearArgs& args, uint32_t begin, uint32_t rows,
              float* packed /* [slices][rows][32] */) {
  const uint32_t slices = args.weights->padded_inputs() / kSliceInputs;
  for (uint32_t r = 0; r < rows; ++r) {
    const Element* x = static_cast<const Element*>(args.x) + (begin + r) * args.x_stride;
    float* out = packed + r * kSliceInputs;
    for (uint32_t slice = 0; slice < slices; ++slice) {
      for (uint32_t k = 0; k < kSliceInputs; ++k) out[k] = Widen(x[k]);
      x += kSliceInputs;
      out += size_t{rows} * kSliceInputs;
    }
  }
}

// What becomes of the sums of one row and panel.
template <typename Element>
void Finish(const LinearArgs& args, uint32_t row, uint32_t panel, const float* sums /* [32] */) {
  if (args.epilogue == Epilogue::kSilu) {
    Element* const y = static_cast<Element*>(args.y) + row * args.y_stride + panel * kHalfPanel;
#if defined(__AVX2__)
    for (uint32_t j = 0; j < kHalfPanel; j += 8) {
      const __m256 up = _mm256_load_ps(sums + kHalfPanel + j);
      const __m256 gate = avx2::Silu8(_mm256_load_ps(sums + j));
      avx2::StoreRounded(_mm256_mul_ps(gate, up), y + j);
    }
#else
    for (uint32_t j = 0; j < kHalfPanel; ++j) {
      StoreRounded(Silu(sums[j]) * sums[kHalfPanel + j], y + j);
    }
#endif
    return;
  }
  const uint32_t outputs = std::min(kPanelOutputs, args.weights->outputs() - panel * kPanelOutputs);
  float* const y = static_cast<float*>(args.y) + row * args.y_stride + panel * kPanelOutputs;
  if (args.epilogue == Epilogue::kAdd) {
    for (uint32_t j = 0; j < outputs; ++j) y[j] += sums[j];
  } else {
    std::copy(sums, sums + outputs, y);
  }
}

// What becomes of the sums of one row and panel in int8.
inline void FinishInt8(const LinearArgs& args, uint32_t row, uint32_t panel,
                       const int32_t* sums /* [32] */) {
  const float* const scales = args.weights->scales(panel);
  alignas(32) float scaled[kPanelOutputs];
  for (uint32_t j = 0; j < kPanelOutputs; ++j) {
    scaled[j] = Int8Product(sums[j], args.x_scales[row], scales[j]);
  }
  // Of floats, which is what all epilogues leave here.
  Finish<float>(args, row, panel, scaled);
}

// Products::Panel of n rows at index n - 1.
template <typename Products, typename Element, uint32_t... kIndices>
constexpr std::array<PanelFunction<Element>, sizeof...(kIndices)> PanelFunctions(
    std::integer_sequence<uint32_t, kIndices...> /*indices*/) {
  return {Products::template Panel<kIndices + 1, Element>...};
}

// Of a pass, rows that registers hold the sums of.
struct Block {
  uint32_t row;    // of the product's
  uint32_t first;  // the same, of the pass's
  uint32_t rows;
};

// Fetches what Finish will write of a block's rows, which would else wait for the memory, row by
// row.
inline void FetchOutputs(const LinearArgs& args, const Block& block, uint32_t panel) {
  if (args.epilogue == Epilogue::kSilu) return;  // of activations, which lie in the caches
  const float* y = static_cast<const float*>(args.y) + panel * kPanelOutputs;
  constexpr uint32_t kLineFloats = 16;
  for (uint32_t r = 0; r < block.rows; ++r) {
    const float* const at = y + (block.row + r) * args.y_stride;
    __builtin_prefetch(at, /*rw=*/1);
    __builtin_prefetch(at + kLineFloats, /*rw=*/1);
  }
}

// What registers hold the sums of.
struct Blocking {
  uint32_t rows;            // up to so many with one panel,
  uint32_t row_panels = 1;  // or one row with so many panels
};

// A whole product, in passes of up to kMaxWideRows rows, each in blocks. Calls pack(block) for each
// block of a pass; then for each panel, or in a pass of one row for row_panels of them or what is
// left, multiply(block, first panel, panels, ahead) for each block, which takes
// steps(block, panels) steps ahead.
template <typename Pack, typename Steps, typename Multiply>
void MultiplyInBlocks(const LinearArgs& args, const Blocking& blocking, Pack pack, Steps steps,
                      Multiply multiply) {
  const Passes passes(args, kMaxWideRows);
  passes.ForEach([&](const Passes::Pass& pass) {
    const uint32_t blocks = (pass.rows + blocking.rows - 1) / blocking.rows;
    const auto block = [&](uint32_t index) {
      // Of nearly equal numbers of rows.
      const uint32_t first = index * pass.rows / blocks;
      return Block{pass.row + first, first, (index + 1) * pass.rows / blocks - first};
    };
    for (uint32_t i = 0; i < blocks; ++i) pack(block(i));
    const uint32_t together = pass.rows == 1 ? blocking.row_panels : 1;
    uint32_t panels = together;
    for (uint32_t panel = pass.panel_begin; panel < pass.panel_end; panel += panels) {
      if (pass.panel_end - panel < together) panels = 1;
      uint32_t all_steps = 0;
      for (uint32_t i = 0; i < blocks; ++i) all_steps += steps(block(i), panels);
      FetchAhead ahead = passes.Ahead(pass, panel + panels, together, all_steps);
      for (uint32_t i = 0; i < blocks; ++i) {
        FetchOutputs(args, block(i), panel);
        multiply(block(i), panel, panels, ahead);
      }
    }
  });
}

template <typename Products, typename Element>
void LinearOf(const LinearArgs& args) {
  constexpr uint32_t kMaxRows = Products::kMaxRows;
  static constexpr auto kPanels =
      PanelFunctions<Products, Element>(std::make_integer_sequence<uint32_t, kMaxRows>());
  const PackedMatrix& weights = *args.weights;
  const uint32_t slices = weights.padded_inputs() / kSliceInputs;
  alignas(64) float sums[kMaxRows * kPanelOutputs];
  const auto packed = [&](const Block& block) {
    return args.scratch + size_t{block.first} * weights.padded_inputs();
  };
  const auto pack = [&](const Block& block) {
    PackRows<Element>(args, block.row, block.rows, packed(block));
  };
  const auto steps = [&](const Block& block, uint32_t /*one*/) {
    return slices * Products::SliceSteps(block.rows);
  };
  const auto multiply = [&](const Block& block, uint32_t panel, uint32_t /*one*/,
                            FetchAhead& ahead) {
    kPanels[block.rows - 1](reinterpret_cast<const Element*>(weights.panel(panel)), packed(block),
                            slices, ahead, sums);
    for (uint32_t r = 0; r < block.rows; ++r) {
      Products::template Finish<Element>(args, block.row + r, panel, sums + r * kPanelOutputs);
    }
  };
  MultiplyInBlocks(args, {.rows = kMaxRows}, pack, steps, multiply);
}

// The whole product by an instruction set's Products::Panel<rows, Element>, which are
// PanelFunctions, in blocks of 1 to Products::kMaxRows rows, Products::SliceSteps(rows) and
// Products::Finish.
template <typename Products>
void LinearInPasses(const LinearArgs& args) {
  if (args.weights->precision() == Precision::kBf16) {
    LinearOf<Products, Bf16>(args);
  } else {
    LinearOf<Products, float>(args);
  }
}

}  // namespace recurve::products

#endif  // RECURVE_ENGINE_BACKEND_CPU_KERNELS_LINEAR_PASSES_H_
