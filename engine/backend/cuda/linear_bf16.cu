// SPDX-License-Identifier: Apache-2.0
#include "engine/backend/cuda/linear_bf16.h"

#include <algorithm>

#include "engine/backend/cuda/library_product.h"
#include "engine/backend/cuda/product_bf16.h"
#include "engine/base/status_macros.h"

namespace recurve::cuda {
namespace {

// What Load reads for an epilogue that needs nothing.
struct Nothing {};

// ---- ProjectQkv ----

// Of one row: where its query, key or value of one head lies, in units of 16 elements of q or of
// the pool, and by what angle a pair of it is turned.
struct PairPlace {
  bool exists = false;
  uint32_t head = 0;
  Angle angle = {};
};

// The row's place of a head, and what a value alone leaves there: the entry's position.
RECURVE_DEVICE PairPlace FindPair(const ProjectQkvBf16Args& args, uint32_t index, uint32_t head,
                                  uint32_t pair) {
  const KvLayout& layout = args.layout;
  const Row row = args.rows[index];
  PairPlace place;
  const bool is_query = head < args.heads;
  const bool is_value = head >= args.heads + layout.kv_heads;
  place.exists = is_query || row.entry != kNoEntry;
  if (!place.exists) return place;
  if (!is_value) place.angle = args.rotary.AngleOf(row.position, pair, layout.head_dim / 2);
  if (is_query) {
    place.head = (index * args.heads + head) * (layout.stride / kStepInputs);
    return place;
  }
  const uint32_t kv_head = (head - args.heads) % layout.kv_heads;
  const EntryPlace entry = PlaceOf(args.slots, args.sizes, row.slot, row.group, row.entry);
  const size_t first = layout.Offset(entry.page, args.sizes.page_entries[row.group], args.layer,
                                     is_value ? 1 : 0, kv_head, entry.entry);
  place.head = static_cast<uint32_t>(first / kStepInputs);
  if (is_value && kv_head == 0 && pair == 0) {
    args.entry_positions.Set(size_t{entry.page} * layout.page_capacity + entry.entry, row.position);
  }
  return place;
}

// Elements `pair` and `pair` + half of a head: of a query, a key, or, not turned, a value. Heads
// are numbered through queries, keys and values.
struct QkvEpilogue {
  using Args = ProjectQkvBf16Args;
  static constexpr double kOutputBytes = sizeof(Bf16);
  static constexpr char kEndName[] = "project_qkv_end";
  struct Loaded {
    PairPlace rows[2];
  };
  const Args& args;
  RECURVE_DEVICE uint32_t TilesOfOne() const { return TilesOfHead({args.layout.head_dim / 2}); }
  RECURVE_DEVICE uint32_t PairOf(uint32_t tile) const {
    return tile % TilesOfOne() * 8 + simt::ThreadIndex() % simt::kWarp / 4;
  }
  RECURVE_DEVICE Loaded Load(uint32_t tile, uint32_t row, uint32_t end) const {
    Loaded loaded;
    const uint32_t pair = PairOf(tile);
    RECURVE_UNROLL
    for (uint32_t i = 0; i < 2; ++i) {
      if (pair >= args.layout.head_dim / 2 || row + i >= end) continue;
      loaded.rows[i] = FindPair(args, row + i, tile / TilesOfOne(), pair);
    }
    return loaded;
  }
  RECURVE_DEVICE void Store(uint32_t tile, uint32_t /*row*/, uint32_t /*end*/, const Sums& sums,
                            const float (&scale)[2], const Loaded& loaded) const {
    const uint32_t head = tile / TilesOfOne();
    const simt::Out<Bf16>& target = head < args.heads ? args.q : args.pages;
    RECURVE_UNROLL
    for (uint32_t i = 0; i < 2; ++i) {
      const PairPlace& place = loaded.rows[i];
      if (!place.exists) continue;
      float a = sums.v[i] * scale[i];
      float b = sums.v[2 + i] * scale[i];
      if (head < args.heads + args.layout.kv_heads) {
        Rotate(place.angle.cos, place.angle.sin, a, b);
      }
      const size_t at = size_t{place.head} * kStepInputs + PairOf(tile);
      target.Set(at, FloatToBf16(a));
      target.Set(at + args.layout.head_dim / 2, FloatToBf16(b));
    }
  }
};

// ---- AddProduct ----

struct AddEpilogue {
  using Args = AddProductBf16Args;
  static constexpr double kOutputBytes = 2 * sizeof(float) + sizeof(Bf16);
  static constexpr char kEndName[] = "add_product_end";
  struct Loaded {
    Sums before;     // the residual, as the sums lie
    float gamma[2];  // of the columns g and g + 8
  };
  const Args& args;
  RECURVE_DEVICE Loaded Load(uint32_t tile, uint32_t row, uint32_t end) const {
    Loaded loaded = {};
    const ResidualArgs& residual = args.residual;
    RECURVE_UNROLL
    for (uint32_t half = 0; half < 2; ++half) {
      const uint32_t column =
          tile * kTileOutputs + half * 8 + simt::ThreadIndex() % simt::kWarp / 4;
      if (column >= residual.hidden) continue;
      loaded.gamma[half] = residual.gamma[column];
      RECURVE_UNROLL
      for (uint32_t i = 0; i < 2; ++i) {
        if (row + i >= end) continue;
        loaded.before.v[half * 2 + i] = residual.x[size_t{row + i} * residual.hidden + column];
      }
    }
    return loaded;
  }
  RECURVE_DEVICE void Store(uint32_t tile, uint32_t row, uint32_t end, const Sums& sums,
                            const float (&scale)[2], const Loaded& loaded) const {
    RECURVE_UNROLL
    for (uint32_t i = 0; i < 2; ++i) {
      StoreResidual(args.residual, row + i, tile, row + i < end, loaded.gamma,
                    loaded.before.v[i] + sums.v[i] * scale[i],
                    loaded.before.v[2 + i] + sums.v[2 + i] * scale[i]);
    }
  }
};

// ---- GateUp ----

struct GateUpEpilogue {
  using Args = GateUpBf16Args;
  static constexpr double kOutputBytes = sizeof(Bf16) / 2.0;  // of a gate and its up projection one
  static constexpr char kEndName[] = "gate_up_end";
  using Loaded = Nothing;
  const Args& args;
  RECURVE_DEVICE Nothing Load(uint32_t /*tile*/, uint32_t /*row*/, uint32_t /*end*/) const {
    return {};
  }
  RECURVE_DEVICE void Store(uint32_t tile, uint32_t row, uint32_t end, const Sums& sums,
                            const float (&scale)[2], Nothing /*loaded*/) const {
    const uint32_t output = tile * 8 + simt::ThreadIndex() % simt::kWarp / 4;
    if (output >= args.outputs) return;
    for (uint32_t i = 0; i < 2 && row + i < end; ++i) {
      const float gate = sums.v[i] * scale[i];
      const float up = sums.v[2 + i] * scale[i];
      args.y.Set(OperandIndex(row + i, output, StepsOf(args.outputs)),
                 FloatToBf16(Silu(gate) * up));
    }
  }
};

// ---- Head ----

struct HeadEpilogue {
  using Args = HeadBf16Args;
  static constexpr double kOutputBytes = sizeof(float);
  using Loaded = Nothing;
  const Args& args;
  RECURVE_DEVICE Nothing Load(uint32_t /*tile*/, uint32_t /*row*/, uint32_t /*end*/) const {
    return {};
  }
  RECURVE_DEVICE void Store(uint32_t tile, uint32_t row, uint32_t end, const Sums& sums,
                            const float (&scale)[2], Nothing /*loaded*/) const {
    const uint32_t output = tile * kTileOutputs + simt::ThreadIndex() % simt::kWarp / 4;
    for (uint32_t j = 0; j < 4; ++j) {
      const uint32_t r = row + j % 2;
      const uint32_t o = output + j / 2 * 8;
      if (r < end && o < args.outputs) {
        args.logits.Set(size_t{r} * args.outputs + o, sums.v[j] * scale[j % 2]);
      }
    }
  }
};

// ---- Launches ----

template <typename Args>
struct Cut {
  Args args;
  uint32_t row_blocks;
};

// Two blocks of different kernels must fit a multiprocessor, or none begins before its predecessor
// has ended; cards before sm_90 do not know that, and their code takes some more registers.
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ < 900
constexpr uint32_t kBlocksAtOnce = 1;
#else
constexpr uint32_t kBlocksAtOnce = 2;
#endif
template <uint32_t MT, uint32_t NT, uint32_t kAhead, typename Epilogue>
RECURVE_KERNEL(kMostSegments * simt::kWarp, kBlocksAtOnce)
ProductKernel(const Cut<typename Epilogue::Args> cut) {
  RunProduct<MT, NT, kAhead>(cut.args.product, cut.row_blocks, Epilogue{cut.args});
}

// Weights with their pads once, operands and outputs of each row.
WorkCount WorkOf(const ProductBf16& product, double output_bytes) {
  const double inputs = StepsOf(product.inputs) * double{kStepInputs};
  const double outputs = product.tiles * double{kTileOutputs};
  return {.part = PartOf(product.set),
          .weight_bytes = inputs * outputs * sizeof(Bf16),
          .row_bytes = inputs * sizeof(Bf16) + outputs * output_bytes,
          .row_flops = 2 * inputs * outputs};
}

template <uint32_t MT, uint32_t NT, uint32_t kAhead, typename Epilogue>
absl::Status LaunchTiles(Runtime& runtime, const char* name, const ProductShape& shape,
                         const typename Epilogue::Args& args) {
  const uint32_t row_blocks = (shape.rows + NT * kTileRows - 1) / (NT * kTileRows);
  const LaunchShape launch = {.blocks = (args.product.tiles + MT - 1) / MT * row_blocks,
                              .threads = SegmentsOf(args.product.inputs) * simt::kWarp,
                              .shared_bytes = ProductSharedBytes<MT, NT>(),
                              .programmatic = shape.programmatic,
                              .work = WorkOf(args.product, Epilogue::kOutputBytes)};
  return Launch(runtime, name, ProductKernel<MT, NT, kAhead, Epilogue>, launch, {args, row_blocks});
}

// Measured on an H100 (docs/cuda_measurements.md): tiles of 16 outputs as long as all blocks find
// a place at once, else of 32.
template <typename Epilogue, uint32_t NT, uint32_t kAhead16, uint32_t kAhead32>
absl::Status LaunchRows(Runtime& runtime, const char* name, const ProductShape& shape,
                        const typename Epilogue::Args& args) {
  const uint32_t row_blocks = (shape.rows + NT * kTileRows - 1) / (NT * kTileRows);
  if (args.product.tiles * row_blocks <= 2 * runtime.facts().multiprocessors) {
    return LaunchTiles<1, NT, kAhead16, Epilogue>(runtime, name, shape, args);
  }
  return LaunchTiles<2, NT, kAhead32, Epilogue>(runtime, name, shape, args);
}

template <typename Epilogue>
absl::Status LaunchByUs(Runtime& runtime, const char* name, const ProductShape& shape,
                        const typename Epilogue::Args& args) {
  if (shape.rows <= 8) return LaunchRows<Epilogue, 1, 8, 8>(runtime, name, shape, args);
  if (shape.rows <= 16) return LaunchRows<Epilogue, 2, 8, 4>(runtime, name, shape, args);
  if (shape.rows <= 32) return LaunchRows<Epilogue, 4, 4, 3>(runtime, name, shape, args);
  return LaunchRows<Epilogue, 8, 4, 2>(runtime, name, shape, args);
}

// ---- By the library ----

template <typename Args>
struct LibrarySums {
  Args args;
  simt::In<float> y;  // [rows][16 * tiles]
};

// What becomes of the library's sums: a warp takes a tile of 16 outputs of 8 rows, as the lanes of
// the tensor cores would have them.
template <typename Epilogue>
RECURVE_KERNEL(kMostSegments * simt::kWarp, 2)
EndKernel(const LibrarySums<typename Epilogue::Args> sums) {
  simt::GridWait();
  simt::SharedMemory shared;
  const auto scales = shared.Array<float>(kTileRows);
  const ProductBf16& product = sums.args.product;
  const Epilogue epilogue{sums.args};
  const uint32_t lane = simt::ThreadIndex() % simt::kWarp;
  const uint32_t warps = simt::BlockSize() / simt::kWarp;
  const uint32_t tile_blocks = (product.tiles + warps - 1) / warps;
  const uint32_t rows = CountOf(product.counts[0], product.set);
  const uint32_t items = (rows + kTileRows - 1) / kTileRows * tile_blocks;
  for (uint32_t item = simt::BlockIndex(); item < items; item += simt::GridSize()) {
    const uint32_t begin = item / tile_blocks * kTileRows;
    const RowBlock block = {begin, begin + kTileRows < rows ? begin + kTileRows : rows, 0};
    ScaleRows(product, block, kTileRows, scales);
    simt::SyncBlock();
    const uint32_t tile = item % tile_blocks * warps + simt::ThreadIndex() / simt::kWarp;
    const uint32_t in_tile = lane % 4 * 2;
    const uint32_t row = begin + in_tile;
    if (tile < product.tiles) {
      Sums sum = {};
      for (uint32_t j = 0; j < 4; ++j) {
        const uint32_t output = tile * kTileOutputs + lane / 4 + j / 2 * 8;
        if (row + j % 2 < block.end) {
          sum.v[j] = sums.y[size_t{row + j % 2} * product.tiles * kTileOutputs + output];
        }
      }
      const float scale[2] = {scales[in_tile], scales[in_tile + 1]};
      epilogue.Store(tile, row, block.end, sum, scale, epilogue.Load(tile, row, block.end));
    }
    simt::SyncBlock();
  }
}

template <typename Epilogue>
absl::Status LaunchByLibrary(Runtime& runtime, const ProductShape& shape,
                             const typename Epilogue::Args& args) {
  const ProductBf16& product = args.product;
  const PlainMemory& plain = *shape.library;
  const uint32_t steps = StepsOf(product.inputs);
  const uint32_t outputs = product.tiles * kTileOutputs;
  const size_t words = size_t{shape.rows} * steps * kStepInputs / 4;
  RETURN_IF_ERROR(LaunchPlainRows(
      runtime, shape.rows,
      {product.set, product.counts, steps, product.x, simt::Out<simt::Words2>(plain.x, 0, words)}));
  RETURN_IF_ERROR(
      runtime.Multiply({plain.weights, plain.x, plain.y, shape.rows, steps * kStepInputs, outputs},
                       WorkOf(product, sizeof(float))));
  constexpr uint32_t kWarps = kMostSegments;
  const uint32_t items =
      (product.tiles + kWarps - 1) / kWarps * ((shape.rows + kTileRows - 1) / kTileRows);
  const LaunchShape end = {
      .blocks = std::min(items, 8 * runtime.facts().multiprocessors),
      .threads = kWarps * simt::kWarp,
      .shared_bytes = simt::SharedBytes<float>(kTileRows),
      .work = {.part = PartOf(product.set),
               .row_bytes = outputs * (sizeof(float) + Epilogue::kOutputBytes)}};
  return Launch(runtime, Epilogue::kEndName, EndKernel<Epilogue>, end,
                {args, simt::In<float>(plain.y, 0, size_t{shape.rows} * outputs)});
}

template <typename Epilogue>
absl::Status LaunchProduct(Runtime& runtime, const char* name, const ProductShape& shape,
                           const typename Epilogue::Args& args) {
  if (shape.library != nullptr) return LaunchByLibrary<Epilogue>(runtime, shape, args);
  return LaunchByUs<Epilogue>(runtime, name, shape, args);
}

}  // namespace

absl::Status LaunchProjectQkv(Runtime& runtime, const ProductShape& shape,
                              const ProjectQkvBf16Args& args) {
  return LaunchProduct<QkvEpilogue>(runtime, "project_qkv_bf16", shape, args);
}

absl::Status LaunchAddProduct(Runtime& runtime, const ProductShape& shape,
                              const AddProductBf16Args& args) {
  return LaunchProduct<AddEpilogue>(runtime, "add_product_bf16", shape, args);
}

absl::Status LaunchGateUp(Runtime& runtime, const ProductShape& shape, const GateUpBf16Args& args) {
  return LaunchProduct<GateUpEpilogue>(runtime, "gate_up_bf16", shape, args);
}

absl::Status LaunchHead(Runtime& runtime, const ProductShape& shape, const HeadBf16Args& args) {
  return LaunchByUs<HeadEpilogue>(runtime, "head_bf16", shape, args);
}

}  // namespace recurve::cuda
