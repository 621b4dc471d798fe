// SPDX-License-Identifier: Apache-2.0
// Products in AVX2: up to 6 rows by 16 outputs in registers.
//
// For one slice of 32 inputs half a panel gives each row two vectors of outputs, and each output an
// even and an odd chain. Up to 2 rows both chains run side by side (4 or 8 registers); from 3 rows
// on the even inputs pass first, then the odd ones (6 to 12 registers), which reads the half, now
// in the first-level cache, twice. Rows are widened to floats and transposed, so that the
// broadcasts of one input read neighbouring words.
#if defined(__AVX2__)

#include <algorithm>

#include "engine/backend/cpu/kernels/kernels_avx2.h"
#include "engine/backend/cpu/kernels/kernels_internal.h"

namespace recurve::avx2 {
namespace {

constexpr uint32_t kWidth = 8;
constexpr uint32_t kMaxRows = 6;  // of a pass: as many as registers hold the sums of
constexpr uint32_t kVectors = 2;  // of half a panel
constexpr uint32_t kPairs = kSliceInputs / 2;
constexpr uint32_t kHalfElements = kSliceInputs * kHalfPanel;
// With more rows than fit in one pass, panels are taken in bands of about this size, so that they
// stay in the second-level cache for all rows.
constexpr size_t kBandBytes = size_t{256} << 10;
// How far ahead of their use weights are fetched: about the latency of memory at its bandwidth.
constexpr size_t kPrefetchBytes = 4096;

// Vector `v` of the weights that belong to input 2 * pair + parity of a half.
template <int kParity>
__m256 Weight(const Bf16* half, uint32_t pair, uint32_t v) {
  const Bf16* const at = half + (pair * kHalfPanel + v * kWidth) * 2;
  const __m256i raw = _mm256_load_si256(reinterpret_cast<const __m256i*>(at));
  return kParity == 0 ? EvenOf(raw) : OddOf(raw);
}
template <int kParity>
__m256 Weight(const float* half, uint32_t pair, uint32_t v) {
  return _mm256_load_ps(half + (2 * pair + kParity) * kHalfPanel + v * kWidth);
}

// Fetches ahead what lies at `pair` of the same half kPrefetchBytes further on, a line or two at a
// time so that fetching and multiplying overlap. Past the end of the matrix this has no effect.
template <typename Element>
void Prefetch(const Element* half, uint32_t pair) {
  const char* const ahead =
      reinterpret_cast<const char*>(half + size_t{2} * pair * kHalfPanel) + kPrefetchBytes;
  for (size_t i = 0; i < 2 * kHalfPanel * sizeof(Element); i += 64) {
    _mm_prefetch(ahead + i, _MM_HINT_T0);
  }
}

// chain[row][v] = the chain of one parity over a slice, from 0.
template <int kParity, uint32_t kRows, typename Element>
void Chain(const Element* half, const float* x /* [32][kRows] */, __m256 chain[kRows][kVectors]) {
  RECURVE_UNROLL
  for (uint32_t r = 0; r < kRows; ++r) chain[r][0] = chain[r][1] = _mm256_setzero_ps();
  for (uint32_t pair = 0; pair < kPairs; ++pair) {
    if constexpr (kParity == 0) Prefetch(half, pair);
    const __m256 w0 = Weight<kParity>(half, pair, 0);
    const __m256 w1 = Weight<kParity>(half, pair, 1);
    const float* const inputs = x + (2 * pair + kParity) * kRows;
    RECURVE_UNROLL
    for (uint32_t r = 0; r < kRows; ++r) {
      const __m256 input = _mm256_broadcast_ss(inputs + r);
      chain[r][0] = _mm256_fmadd_ps(input, w0, chain[r][0]);
      chain[r][1] = _mm256_fmadd_ps(input, w1, chain[r][1]);
    }
  }
}

// Both chains of a slice side by side.
template <uint32_t kRows, typename Element>
void BothChains(const Element* half, const float* x /* [32][kRows] */, __m256 even[kRows][kVectors],
                __m256 odd[kRows][kVectors]) {
  RECURVE_UNROLL
  for (uint32_t r = 0; r < kRows; ++r) {
    even[r][0] = even[r][1] = odd[r][0] = odd[r][1] = _mm256_setzero_ps();
  }
  for (uint32_t pair = 0; pair < kPairs; ++pair) {
    Prefetch(half, pair);
    const float* const inputs = x + 2 * pair * kRows;
    RECURVE_UNROLL
    for (uint32_t v = 0; v < kVectors; ++v) {
      const __m256 even_weight = Weight<0>(half, pair, v);
      const __m256 odd_weight = Weight<1>(half, pair, v);
      RECURVE_UNROLL
      for (uint32_t r = 0; r < kRows; ++r) {
        even[r][v] = _mm256_fmadd_ps(_mm256_broadcast_ss(inputs + r), even_weight, even[r][v]);
        odd[r][v] = _mm256_fmadd_ps(_mm256_broadcast_ss(inputs + kRows + r), odd_weight, odd[r][v]);
      }
    }
  }
}

// Adds one slice of inputs of half a panel to the sums.
template <uint32_t kRows, typename Element>
void AddSlice(const Element* half, const float* x /* [32][kRows] */,
              float* sums /* [kRows][32], from the half's first output on */) {
  __m256 even[kRows][kVectors];
  __m256 odd[kRows][kVectors];
  if constexpr (kRows <= 2) {
    BothChains<kRows>(half, x, even, odd);
  } else {
    Chain<0, kRows>(half, x, even);
    Chain<1, kRows>(half, x, odd);
  }
  RECURVE_UNROLL
  for (uint32_t r = 0; r < kRows; ++r) {
    RECURVE_UNROLL
    for (uint32_t v = 0; v < kVectors; ++v) {
      float* const at = sums + r * kPanelOutputs + v * kWidth;
      const __m256 slice = _mm256_add_ps(even[r][v], odd[r][v]);
      _mm256_store_ps(at, _mm256_add_ps(_mm256_load_ps(at), slice));
    }
  }
}

// The products of kRows rows with one panel.
template <uint32_t kRows, typename Element>
void PanelProducts(const Element* panel,  // [slices][2][32 * 16]
                   const float* x,        // [slices * 32][kRows]
                   uint32_t slices, float* sums /* [kRows][32] */) {
  RECURVE_UNROLL
  for (uint32_t i = 0; i < kRows * kPanelOutputs; i += kWidth) {
    _mm256_store_ps(sums + i, _mm256_setzero_ps());
  }
  for (uint32_t slice = 0; slice < slices; ++slice) {
    AddSlice<kRows>(panel, x, sums);
    AddSlice<kRows>(panel + kHalfElements, x, sums + kHalfPanel);
    panel += 2 * kHalfElements;
    x += kSliceInputs * kRows;
  }
}

template <typename Element>
using PanelFunction = void (*)(const Element*, const float*, uint32_t, float*);

template <typename Element>
constexpr PanelFunction<Element> kPanelProducts[kMaxRows + 1] = {
    nullptr,
    PanelProducts<1, Element>,
    PanelProducts<2, Element>,
    PanelProducts<3, Element>,
    PanelProducts<4, Element>,
    PanelProducts<5, Element>,
    PanelProducts<6, Element>,
};

// Widens and transposes rows [begin, begin + rows) of x.
template <typename Element>
void PackRows(const LinearArgs& args, uint32_t begin, uint32_t rows,
              float* packed /* [padded_inputs][rows] */) {
  const uint32_t inputs = args.weights->padded_inputs();
  for (uint32_t r = 0; r < rows; ++r) {
    const Element* const x = static_cast<const Element*>(args.x) + (begin + r) * args.x_stride;
    for (uint32_t k = 0; k < inputs; ++k) packed[size_t{k} * rows + r] = Widen(x[k]);
  }
}

// What becomes of the sums of one row and panel.
template <typename Element>
void Finish(const LinearArgs& args, uint32_t row, uint32_t panel, const float* sums /* [32] */) {
  if (args.epilogue == Epilogue::kSilu) {
    Element* const y = static_cast<Element*>(args.y) + row * args.y_stride + panel * kHalfPanel;
    for (uint32_t j = 0; j < kHalfPanel; j += kWidth) {
      const __m256 up = _mm256_load_ps(sums + kHalfPanel + j);
      StoreRounded(_mm256_mul_ps(Silu8(_mm256_load_ps(sums + j)), up), y + j);
    }
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

template <typename Element>
void LinearOf(const LinearArgs& args) {
  const PackedMatrix& weights = *args.weights;
  const uint32_t slices = weights.padded_inputs() / kSliceInputs;
  const uint32_t passes = (args.rows + kMaxRows - 1) / kMaxRows;
  const size_t panel_bytes = size_t{slices} * 2 * kHalfElements * sizeof(Element);
  const auto per_band = static_cast<uint32_t>(std::max<size_t>(1, kBandBytes / panel_bytes));
  const uint32_t band = passes == 1 ? args.panel_end - args.panel_begin : per_band;
  for (uint32_t first = args.panel_begin; first < args.panel_end; first += band) {
    const uint32_t last = std::min(first + band, args.panel_end);
    for (uint32_t pass = 0; pass < passes; ++pass) {
      // Passes over nearly equal numbers of rows.
      const uint32_t begin = pass * args.rows / passes;
      const uint32_t rows = (pass + 1) * args.rows / passes - begin;
      PackRows<Element>(args, begin, rows, args.scratch);
      for (uint32_t panel = first; panel < last; ++panel) {
        alignas(32) float sums[kMaxRows * kPanelOutputs];
        kPanelProducts<Element>[rows](reinterpret_cast<const Element*>(weights.panel(panel)),
                                      args.scratch, slices, sums);
        for (uint32_t r = 0; r < rows; ++r) {
          Finish<Element>(args, begin + r, panel, sums + r * kPanelOutputs);
        }
      }
    }
  }
}

}  // namespace

void Linear(const LinearArgs& args) {
  if (args.weights->precision() == Precision::kBf16) {
    LinearOf<Bf16>(args);
  } else {
    LinearOf<float>(args);
  }
}

}  // namespace recurve::avx2

#endif  // __AVX2__
