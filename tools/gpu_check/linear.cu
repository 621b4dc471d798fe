// SPDX-License-Identifier: Apache-2.0
// The packed matrix product of linear.cuh: its bits against the model of the tensor cores, its
// share of the bandwidth for each shape, number of rows and tile, and a chain of whole layers.
#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>
#include <map>
#include <memory>

#include "engine/base/mix_bits.h"
#include "tests/simt/mma_hopper.h"
#include "tools/gpu_check/linear.cuh"
#include "tools/gpu_check/linear_wide.cuh"
#include "tools/gpu_check/probe.h"

namespace recurve::gpu_check {
namespace {

constexpr size_t kMiB = size_t{1} << 20;
constexpr size_t kWeightBytes = 1280 * kMiB;  // all weights are slices of one array
constexpr int kMostRows = 1024;
constexpr int kContext = 128;  // entries that a row attends to
constexpr int kMostColumns = 16384;

struct Shape {
  const char* name;
  int m, k;
  Output output;
};
struct Model {
  const char* name;
  Shape qkv, o, gate_up, down;
  int layers;  // in its block
  int heads, kv_heads;
};
constexpr Model kModels[] = {
    {"360M",
     {"qkv", 1600, 960, Output::kBf16},
     {"o", 960, 960, Output::kResidual},
     {"gate_up", 5120, 960, Output::kGated},
     {"down", 960, 2560, Output::kResidual},
     10,
     15,
     5},
    {"1.7B",
     {"qkv", 6144, 2048, Output::kBf16},
     {"o", 2048, 2048, Output::kResidual},
     {"gate_up", 16384, 2048, Output::kGated},
     {"down", 2048, 8192, Output::kResidual},
     8,
     32,
     32},
};

// An instance of the kernel.
struct Tile {
  int mt, nt, ahead;
  void (*kernel)(LinearArguments);
};
template <int MT, int NT, int kAhead>
constexpr Tile MakeTile() {
  return {MT, NT, kAhead, Linear<MT, NT, kAhead>};
}
constexpr Tile kTiles[] = {
    MakeTile<1, 1, 4>(), MakeTile<1, 1, 8>(), MakeTile<2, 1, 8>(), MakeTile<1, 2, 8>(),
    MakeTile<2, 2, 4>(), MakeTile<1, 4, 4>(), MakeTile<2, 4, 4>(), MakeTile<4, 4, 2>(),
    MakeTile<1, 8, 4>(), MakeTile<2, 8, 2>(),
};

std::string NameOf(const Tile& tile) {
  return "m" + std::to_string(16 * tile.mt) + " n" + std::to_string(8 * tile.nt) + " ahead " +
         std::to_string(tile.ahead);
}

// An instance of the kernel for many rows.
struct WideTile {
  int groups, n, stages;
  void (*kernel)(LinearArguments);
};
template <int kGroups, int N, int kStages>
constexpr WideTile MakeWideTile() {
  return {kGroups, N, kStages, LinearWide<kGroups, N, kStages>};
}
constexpr WideTile kWideTiles[] = {MakeWideTile<1, 64, 6>(), MakeWideTile<1, 128, 4>(),
                                   MakeWideTile<2, 128, 6>()};

std::string NameOf(const WideTile& tile) {
  return "wgmma m" + std::to_string(64 * tile.groups) + " n" + std::to_string(tile.n);
}

size_t SharedBytesOf(const WideTile& tile) {
  return static_cast<size_t>(tile.stages) * WideStageBytes(tile.groups, tile.n);
}

double BytesOf(const Shape& shape) { return 2.0 * shape.m * shape.k; }

// bf16 numbers in (-scale, scale).
__global__ void FillBf16(__nv_bfloat16* data, size_t size, float scale, uint64_t seed) {
  for (size_t i = blockIdx.x * size_t{blockDim.x} + threadIdx.x; i < size;
       i += size_t{gridDim.x} * blockDim.x) {
    const auto random = static_cast<int32_t>(MixBits(seed + i * kGoldenGamma));
    data[i] = __float2bfloat16_rn(static_cast<float>(random) * 0x1p-31F * scale);
  }
}

// Attention of one row over `context` <= 128 entries of one KV head with heads of 64: a stand-in
// that moves the bytes of the real one and lies where it lies in the chain. Grid: {KV heads, rows}.
// 128 threads: one an entry for the scores, then two an output column.
template <int kGroup>  // query heads of a KV head
__global__ void __launch_bounds__(128)
    Attend(const __nv_bfloat16* qkv, const __nv_bfloat16* entries, __nv_bfloat16* out, int kv_heads,
           int context) {
  __shared__ float weights[kGroup][128];
  __shared__ float halves[kGroup][64];
  __shared__ float queries[kGroup * 64];
  __shared__ float sums[kGroup][4];
  __shared__ uint4 values[128 * 8];  // [entry][64]
  const int thread = static_cast<int>(threadIdx.x);
  const int head = static_cast<int>(blockIdx.x);
  const int row = static_cast<int>(blockIdx.y);
  GridLaunch();
  GridWait();
  const auto* keys = reinterpret_cast<const uint4*>(
      entries + (static_cast<size_t>(row) * kv_heads + head) * context * 128);
  uint4 key[8] = {};
  uint4 value[8] = {};
  if (thread < context) {
    for (int i = 0; i < 8; ++i) key[i] = keys[thread * 8 + i];
  }
  for (int i = 0; i < 8; ++i) {
    const int at = thread + i * 128;
    if (at < context * 8) value[i] = keys[context * 8 + at];
  }
  for (int i = thread; i < kGroup * 64; i += 128) {
    queries[i] = __bfloat162float(
        qkv[static_cast<size_t>(row) * (kGroup + 2) * kv_heads * 64 + head * kGroup * 64 + i]);
  }
  for (int i = 0; i < 8; ++i) values[thread + i * 128] = value[i];
  __syncthreads();
  float score[kGroup] = {};
#pragma unroll
  for (int i = 0; i < 64; ++i) {
    const uint4& four = key[i / 8];
    const uint32_t words[4] = {four.x, four.y, four.z, four.w};
    const uint32_t word = words[i / 2 % 4];
    const float k = FloatFromBits(i % 2 == 0 ? word << 16 : word & 0xFFFF0000);
    for (int h = 0; h < kGroup; ++h) score[h] = Fma(k, queries[h * 64 + i], score[h]);
  }
  for (int h = 0; h < kGroup; ++h) {
    const float weight = thread < context ? Exp(fminf(score[h] * 0.125F, 60.0F)) : 0.0F;
    float sum = weight;
    for (int step = 16; step > 0; step /= 2) sum += __shfl_xor_sync(0xFFFFFFFF, sum, step);
    weights[h][thread] = weight;
    if (thread % 32 == 0) sums[h][thread / 32] = sum;
  }
  __syncthreads();
  float mixed[kGroup] = {};
  const auto* columns = reinterpret_cast<const __nv_bfloat16*>(values) + thread % 64;
#pragma unroll 16
  for (int i = thread / 64 * 64; i < thread / 64 * 64 + 64; ++i) {
    const float v = __bfloat162float(columns[i * 64]);
    for (int h = 0; h < kGroup; ++h) mixed[h] = Fma(weights[h][i], v, mixed[h]);
  }
  for (int h = 0; h < kGroup && thread >= 64; ++h) halves[h][thread - 64] = mixed[h];
  __syncthreads();
  for (int h = 0; h < kGroup && thread < 64; ++h) {
    const float total = ((sums[h][0] + sums[h][1]) + sums[h][2]) + sums[h][3];
    out[RowIndex(row, (head * kGroup + h) * 64 + thread, kGroup * kv_heads * 4)] =
        __float2bfloat16_rn((mixed[h] + halves[h][thread]) / total);
  }
}

// Counts words that differ.
__global__ void CountDifferent(const uint32_t* a, const uint32_t* b, size_t size, unsigned* count) {
  for (size_t i = blockIdx.x * size_t{blockDim.x} + threadIdx.x; i < size;
       i += size_t{gridDim.x} * blockDim.x) {
    if (a[i] != b[i]) atomicAdd(count, 1U);
  }
}

// What every check of this stage works on.
struct Memory {
  DeviceArray<uint4> weights{kWeightBytes / sizeof(uint4)};
  DeviceArray<__nv_bfloat16> x{static_cast<size_t>(kMostRows) * kMostColumns};
  DeviceArray<__nv_bfloat16> xg{static_cast<size_t>(kMostRows) * 2048};
  DeviceArray<__nv_bfloat16> qkv{static_cast<size_t>(kMostRows) * 6144};
  DeviceArray<__nv_bfloat16> attended{static_cast<size_t>(kMostRows) * 2048};
  DeviceArray<__nv_bfloat16> h{static_cast<size_t>(kMostRows) * 8192};
  DeviceArray<float> out{static_cast<size_t>(kMostRows) * kMostColumns};
  DeviceArray<float> other{static_cast<size_t>(kMostRows) * kMostColumns};
  DeviceArray<float> residual{static_cast<size_t>(kMostRows) * 2048};
  DeviceArray<float> squares{static_cast<size_t>(kMostRows) * kSquares};

  Memory() {
    FillBf16<<<1024, 256>>>(reinterpret_cast<__nv_bfloat16*>(weights.get()), weights.size() * 8,
                            0.03F, 1);
    FillBf16<<<1024, 256>>>(x.get(), x.size(), 2.0F, 2);
    FillBf16<<<1024, 256>>>(xg.get(), xg.size(), 2.0F, 3);
    CHECK_CUDA(cudaDeviceSynchronize());
  }
};

LinearArguments Arguments(const Memory& memory, const Shape& shape, int rows) {
  LinearArguments p;
  p.weights = memory.weights.get();
  p.x = memory.x.get();
  p.m = shape.m;
  p.k = shape.k;
  p.rows = rows;
  p.out = memory.out.get();
  p.residual = memory.residual.get();
  p.squares = memory.squares.get();
  return p;
}

bool Fits(const Tile& tile, const LinearArguments& p) { return p.m % (16 * tile.mt) == 0; }

void LaunchLinear(const Tile& tile, const LinearArguments& p, cudaStream_t stream, Edges edges) {
  const dim3 grid((p.rows + 8 * tile.nt - 1) / (8 * tile.nt), p.m / (16 * tile.mt));
  Launch(tile.kernel, grid, kLinearThreads, LinearSharedBytes(tile.mt, tile.nt), stream, edges, p);
}

void LaunchLinear(const WideTile& tile, const LinearArguments& p, cudaStream_t stream,
                  Edges edges) {
  const dim3 grid((p.rows + tile.n - 1) / tile.n, p.m / (64 * tile.groups));
  Launch(tile.kernel, grid, tile.groups * 128 + 32, SharedBytesOf(tile), stream, edges, p);
}

// Brings rows from the order of Linear into that of LinearWide.
__global__ void Rearrange(const __nv_bfloat16* from, __nv_bfloat16* to, int rows, int k,
                          int tile_rows) {
  const int i = static_cast<int>(blockIdx.x * blockDim.x + threadIdx.x);
  if (i >= rows * k) return;
  to[WideRowIndex(i / k, i % k, k / 16, tile_rows)] = from[RowIndex(i / k, i % k, k / 16)];
}

// ---- Bits ----

// Where the weight of output `m` and input `k` lies in the packed array.
size_t PackedIndex(int m, int k, int steps) {
  const int q = k % 16 / 4;
  const int lane = m % 8 * 4 + q;
  // A lane's words: rows g, g + 8 with the first pair of the operand's columns, then with the
  // second.
  const int word = (k % 4 / 2) * 2 + m % 16 / 8;
  return ((static_cast<size_t>(m / 16) * steps + k / 16) * 32 + lane) * 8 + word * 2 + k % 2;
}

// The output by the model of the tensor cores; `exact` gets it in double precision.
float ModelOutput(const std::vector<uint16_t>& weights, const std::vector<uint16_t>& x, int k,
                  int m, int row, double* exact) {
  const int steps = k / 16;
  const auto to_double = [](uint16_t bits) {
    return static_cast<double>(std::bit_cast<float>(uint32_t{bits} << 16));
  };
  float sum = 0.0F;
  *exact = 0.0;
  for (int segment = 0; segment < kSegments; ++segment) {
    uint32_t part = 0;
    for (int step = segment * steps / kSegments; step < (segment + 1) * steps / kSegments; ++step) {
      uint16_t a[16];
      for (int i = 0; i < 16; ++i) {
        a[i] = weights[PackedIndex(m, step * 16 + i, steps)];
        *exact += to_double(a[i]) * to_double(x[RowIndex(row, step * 16 + i, steps)]);
      }
      part = MmaSum(a, 1, &x[RowIndex(row, step * 16, steps)], 1, part);
    }
    sum = segment == 0 ? std::bit_cast<float>(part) : sum + std::bit_cast<float>(part);
  }
  return sum;
}

template <typename T>
std::vector<uint16_t> Words(const T* device, size_t size) {
  std::vector<uint16_t> host(size);
  CHECK_CUDA(cudaMemcpy(host.data(), device, size * 2, cudaMemcpyDeviceToHost));
  return host;
}

// Every output of the first tile against the model, then every other tile and number of rows
// against the first.
int CheckBits(const Memory& memory, const Shape& shape) {
  constexpr int kRows = 64;
  LinearArguments p = Arguments(memory, shape, kRows);
  CHECK_CUDA(cudaMemset(p.out, 0xFF, memory.out.size() * sizeof(float)));
  LaunchLinear(kTiles[0], p, nullptr, Edges::kPlain);
  CHECK_CUDA(cudaDeviceSynchronize());
  std::vector<float> out(static_cast<size_t>(kRows) * shape.m);
  CHECK_CUDA(cudaMemcpy(out.data(), p.out, out.size() * sizeof(float), cudaMemcpyDeviceToHost));
  const auto weights = Words(memory.weights.get(), static_cast<size_t>(shape.m) * shape.k);
  const auto x = Words(memory.x.get(), static_cast<size_t>(kRows) * shape.k);
  std::vector<uint64_t> wrong(shape.m);
  std::vector<double> error(shape.m);
  std::vector<double> norm(shape.m);
  ParallelFor(shape.m, [&](uint64_t begin, uint64_t end) {
    for (uint64_t m = begin; m < end; ++m) {
      for (int row = 0; row < kRows; row += 3) {
        double exact = 0.0;
        const float model = ModelOutput(weights, x, shape.k, static_cast<int>(m), row, &exact);
        const float got = out[row * static_cast<size_t>(shape.m) + m];
        wrong[m] += std::bit_cast<uint32_t>(model) != std::bit_cast<uint32_t>(got);
        error[m] += (got - exact) * (got - exact);
        norm[m] += exact * exact;
      }
    }
  });
  uint64_t all_wrong = 0;
  double all_error = 0;
  double all_norm = 0;
  for (int m = 0; m < shape.m; ++m) {
    all_wrong += wrong[m];
    all_error += error[m];
    all_norm += norm[m];
  }
  // `other` keeps the first tile's outputs.
  CHECK_CUDA(
      cudaMemcpy(memory.other.get(), p.out, out.size() * sizeof(float), cudaMemcpyDeviceToDevice));
  DeviceArray<unsigned> different(1);
  int variants = 0;
  for (const Tile& tile : kTiles) {
    for (const int rows : {1, 7, 8, 31, 64}) {
      for (const Edges edges : {Edges::kPlain, Edges::kProgrammatic}) {
        p.rows = rows;
        if (!Fits(tile, p)) continue;
        CHECK_CUDA(cudaMemset(p.out, 0xFF, out.size() * sizeof(float)));
        LaunchLinear(tile, p, nullptr, edges);
        CountDifferent<<<256, 256>>>(reinterpret_cast<uint32_t*>(memory.other.get()),
                                     static_cast<uint32_t*>(p.out),
                                     static_cast<size_t>(rows) * shape.m, different.get());
        ++variants;
      }
    }
  }
  for (const WideTile& tile : kWideTiles) {
    if (shape.k % (16 * kSegments * kChunk) != 0 || shape.m % (64 * tile.groups) != 0) continue;
    DeviceArray<__nv_bfloat16> wide(static_cast<size_t>(std::max(kRows, tile.n)) * shape.k);
    Rearrange<<<(kRows * shape.k + 255) / 256, 256>>>(memory.x.get(), wide.get(), kRows, shape.k,
                                                      tile.n);
    LinearArguments q = p;
    q.x = wide.get();
    q.rows = kRows;
    CHECK_CUDA(cudaMemset(q.out, 0xFF, out.size() * sizeof(float)));
    LaunchLinear(tile, q, nullptr, Edges::kPlain);
    CountDifferent<<<256, 256>>>(reinterpret_cast<uint32_t*>(memory.other.get()),
                                 static_cast<uint32_t*>(q.out), out.size(), different.get());
    CHECK_CUDA(cudaDeviceSynchronize());
    ++variants;
  }
  const unsigned all_different = different.ToHost()[0];
  Report("linear", "bits",
         {{"shape", std::string(shape.name) + " " + std::to_string(shape.m) + " x " +
                        std::to_string(shape.k)},
          {"compared_with_model", static_cast<double>(shape.m) * ((kRows + 2) / 3)},
          {"wrong", static_cast<double>(all_wrong)},
          {"relative_error", std::sqrt(all_error / all_norm)},
          {"variants", static_cast<double>(variants)},
          {"different", static_cast<double>(all_different)}});
  return (all_wrong > 0) + (all_different > 0);
}

// ---- Speed ----

// The time of one product, of many in a graph: each with weights of its own, or all with the same,
// which then come from the L2.
template <typename AnyTile>
double ProductUs(const Memory& memory, const Shape& shape, int rows, const AnyTile& tile,
                 Edges edges, bool same_weights = false) {
  const auto size = static_cast<size_t>(BytesOf(shape)) / sizeof(uint4);
  const size_t kernels = std::clamp<size_t>(memory.weights.size() / size, 1, 128);
  LinearArguments p = Arguments(memory, shape, rows);
  p.output = shape.output;
  p.prefetch = edges == Edges::kProgrammatic;
  Graph graph([&](cudaStream_t stream) {
    for (size_t i = 0; i < kernels; ++i) {
      p.weights = memory.weights.get() + (same_weights ? 0 : i * size);
      LaunchLinear(tile, p, stream, edges);
    }
  });
  return graph.TimeUs(1, 5) / static_cast<double>(kernels);
}

// What a read of all weights reaches, in bytes a microsecond.
double MeasureBandwidth(const Memory& memory) {
  const double us = TimeUs(nullptr, 9, [&] {
    EnqueueRead(memory.weights.get(), memory.weights.size(),
                reinterpret_cast<uint32_t*>(memory.other.get()), nullptr);
  });
  const double bandwidth = static_cast<double>(kWeightBytes) / us;
  Report("linear", "read bandwidth", {{"gb_s", bandwidth / 1e3}});
  return bandwidth;
}

// The fastest tile for a shape and number of rows, by programmatic edges.
using Best = std::map<std::pair<const Shape*, int>, const Tile*>;

void Sweep(const Memory& memory, const Model& model, double bandwidth, Best* best) {
  for (const Shape* shape : {&model.qkv, &model.o, &model.gate_up, &model.down}) {
    for (const int rows : {1, 8, 16, 32, 64}) {
      const Tile* fastest = nullptr;
      double least = 0;
      double plain = 0;
      std::string all;
      for (const Tile& tile : kTiles) {
        // Tiles of fewer rows read the weights again; of more, they compute for nothing.
        if (8 * tile.nt < std::min(rows, 64) / 2 || 8 * tile.nt > std::max(8, rows)) continue;
        if (!Fits(tile, Arguments(memory, *shape, rows))) continue;
        const double us = ProductUs(memory, *shape, rows, tile, Edges::kProgrammatic);
        char text[96];
        std::snprintf(text, sizeof(text), "%s: %.2f us; ", NameOf(tile).c_str(), us);
        all += text;
        if (fastest != nullptr && us >= least) continue;
        fastest = &tile;
        least = us;
      }
      plain = ProductUs(memory, *shape, rows, *fastest, Edges::kPlain);
      (*best)[{shape, rows}] = fastest;
      Report("linear", "product",
             {{"model", model.name},
              {"shape", shape->name},
              {"rows", static_cast<double>(rows)},
              {"tile", NameOf(*fastest)},
              {"us", least},
              {"bound_us", BytesOf(*shape) / bandwidth},
              {"share", BytesOf(*shape) / bandwidth / least},
              {"from_l2_us", ProductUs(memory, *shape, rows, *fastest, Edges::kProgrammatic, true)},
              {"plain_us", plain},
              {"plain_share", BytesOf(*shape) / bandwidth / plain},
              {"all", all}});
    }
  }
}

void LaunchAttend(const Memory& memory, const Model& model, int rows, int layer,
                  cudaStream_t stream, Edges edges) {
  // The entries of the layer: a slice of the random weights, from their end.
  const size_t entries = static_cast<size_t>(rows) * model.kv_heads * kContext * 128;
  const __nv_bfloat16* cache =
      reinterpret_cast<const __nv_bfloat16*>(memory.weights.get() + memory.weights.size()) -
      (layer + 1) * entries;
  Launch(model.heads == model.kv_heads ? Attend<1> : Attend<3>, dim3(model.kv_heads, rows), 128, 0,
         stream, edges, memory.qkv.get(), cache, memory.attended.get(), model.kv_heads, kContext);
}

// The time of one such kernel, of many in a graph that do not find their entries in the L2.
double AttendUs(const Memory& memory, const Model& model, int rows) {
  const double bytes = 4.0 * rows * model.kv_heads * kContext * 64;
  const int kernels = std::clamp(static_cast<int>(256.0 * kMiB / bytes), 8, 1024);
  Graph graph([&](cudaStream_t stream) {
    for (int i = 0; i < kernels; ++i) {
      LaunchAttend(memory, model, rows, i, stream, Edges::kProgrammatic);
    }
  });
  return graph.TimeUs(1, 5) / kernels;
}

// The layers of a block, as five kernels each, in a graph.
void Chain(const Memory& memory, const Model& model, double bandwidth, const Best& best, int rows) {
  struct Way {
    const char* name;
    Edges edges;
    bool prefetch;
    bool attends;
  };
  double bytes = 0;
  std::vector<Field> fields = {{"model", model.name}, {"rows", static_cast<double>(rows)}};
  for (const Way& way : {Way{"plain", Edges::kPlain, false, true},
                         Way{"programmatic", Edges::kProgrammatic, false, true},
                         Way{"without_attention", Edges::kProgrammatic, true, false},
                         Way{"prefetched", Edges::kProgrammatic, true, true}}) {
    const uint4* weights = memory.weights.get();
    bytes = 0;
    const auto product = [&](cudaStream_t stream, const Shape& shape, const __nv_bfloat16* x,
                             void* out, bool normed) {
      LinearArguments p = Arguments(memory, shape, rows);
      p.weights = weights;
      p.x = x;
      p.output = shape.output;
      p.out = out;
      p.squares_in = normed ? memory.squares.get() : nullptr;
      p.prefetch = way.prefetch;
      LaunchLinear(*best.at({&shape, rows}), p, stream, way.edges);
      weights += static_cast<size_t>(BytesOf(shape)) / sizeof(uint4);
      bytes += BytesOf(shape);
    };
    Graph graph([&](cudaStream_t stream) {
      for (int layer = 0; layer < model.layers; ++layer) {
        product(stream, model.qkv, memory.xg.get(), memory.qkv.get(), true);
        if (way.attends) {
          LaunchAttend(memory, model, rows, layer, stream, way.edges);
          bytes += 4.0 * rows * model.kv_heads * kContext * 64;
        }
        product(stream, model.o, memory.attended.get(), memory.xg.get(), false);
        product(stream, model.gate_up, memory.xg.get(), memory.h.get(), true);
        product(stream, model.down, memory.h.get(), memory.xg.get(), false);
      }
    });
    const double us = graph.TimeUs(20, 9);
    fields.emplace_back(std::string(way.name) + "_us", us);
    fields.emplace_back(std::string(way.name) + "_share", bytes / bandwidth / us);
  }
  fields.emplace_back("bound_us", bytes / bandwidth);
  fields.emplace_back("attend_us", AttendUs(memory, model, rows));
  fields.emplace_back("layers", static_cast<double>(model.layers));
  Report("linear", "block pass", fields);
}

// Where the time of a kernel goes, in a chain of whole layers with one row.
void Timeline(const Memory& memory, const Model& model) {
  constexpr const char* kNames[] = {
      "from_predecessor_stored_ns", "to_summed_ns", "to_normed_ns", "to_met_ns", "to_stored_ns",
      "begun_before_waited_ns"};
  const Tile timed = {1, 1, 8, Linear<1, 1, 8, true>};
  const Shape* shapes[] = {&model.qkv, &model.o, &model.gate_up, &model.down};
  DeviceArray<uint64_t> stamps(static_cast<size_t>(model.layers) * 4 * kStamps);
  const uint4* weights = memory.weights.get();
  int node = 0;
  Graph graph([&](cudaStream_t stream) {
    for (int layer = 0; layer < model.layers; ++layer) {
      for (const Shape* shape : shapes) {
        LinearArguments p = Arguments(memory, *shape, 1);
        p.weights = weights;
        p.output = shape->output;
        const bool normed = shape == &model.qkv || shape == &model.gate_up;
        p.squares_in = normed ? memory.squares.get() : nullptr;
        p.stamps = stamps.get() + static_cast<ptrdiff_t>(node++) * kStamps;
        LaunchLinear(timed, p, stream, Edges::kProgrammatic);
        weights += static_cast<size_t>(BytesOf(*shape)) / sizeof(uint4);
        if (shape == &model.qkv) {
          LaunchAttend(memory, model, 1, layer, stream, Edges::kProgrammatic);
        }
      }
    }
  });
  const double us = graph.TimeUs(10, 5);
  std::vector<std::vector<double>> times(4 * std::size(kNames));
  for (int launch = 0; launch < 20; ++launch) {
    graph.Launch();
    graph.Synchronize();
    const std::vector<uint64_t> all = stamps.ToHost();
    for (int i = 4; i < node; ++i) {
      const uint64_t* t = &all[static_cast<size_t>(i) * kStamps];
      const auto between = [](uint64_t from, uint64_t to) {
        return static_cast<double>(static_cast<int64_t>(to - from));
      };
      const double values[] = {between(t[kStored - kStamps], t[kWaited]),
                               between(t[kWaited], t[kSummed]),
                               between(t[kSummed], t[kNormed]),
                               between(t[kNormed], t[kMet]),
                               between(t[kMet], t[kStored]),
                               between(t[kBegun], t[kWaited])};
      for (size_t j = 0; j < std::size(kNames); ++j) {
        times[i % 4 * std::size(kNames) + j].push_back(values[j]);
      }
    }
  }
  for (int i = 0; i < 4; ++i) {
    std::vector<Field> fields = {
        {"model", model.name}, {"shape", shapes[i]->name}, {"block_pass_us", us}};
    for (size_t j = 0; j < std::size(kNames); ++j) {
      fields.emplace_back(kNames[j], Median(times[i * std::size(kNames) + j]));
    }
    Report("linear", "timeline, 1 row", fields);
  }
}

// Many rows: FLOPs, by mma.sync and by wgmma.
template <size_t kCount, typename AnyTile>
void ReportFastest(const char* name, const AnyTile (&tiles)[kCount], const Memory& memory,
                   const Shape& shape, int rows) {
  double least = 0;
  std::string fastest;
  std::string all;
  for (const AnyTile& tile : tiles) {
    const double us = ProductUs(memory, shape, rows, tile, Edges::kProgrammatic);
    char text[96];
    std::snprintf(text, sizeof(text), "%s: %.2f us; ", NameOf(tile).c_str(), us);
    all += text;
    if (!fastest.empty() && us >= least) continue;
    fastest = NameOf(tile);
    least = us;
  }
  Report("linear", name,
         {{"shape", shape.name},
          {"rows", static_cast<double>(rows)},
          {"tile", fastest},
          {"us", least},
          {"tflop_s", 2.0 * shape.m * shape.k * rows / least / 1e6},
          {"weights_gb_s", BytesOf(shape) / least / 1e3},
          {"all", all}});
}

void ManyRows(const Memory& memory) {
  const Model& model = kModels[1];
  const Tile plain[] = {MakeTile<4, 4, 2>(), MakeTile<2, 8, 2>()};
  for (const Shape* shape : {&model.qkv, &model.o, &model.gate_up, &model.down}) {
    for (const int rows : {64, 128, 256, 1024}) {
      ReportFastest("many rows, mma.sync", plain, memory, *shape, rows);
      ReportFastest("many rows, wgmma", kWideTiles, memory, *shape, rows);
    }
  }
}

}  // namespace

int LinearStage() {
  for (const Tile& tile : kTiles) {
    CHECK_CUDA(cudaFuncSetAttribute(tile.kernel, cudaFuncAttributeMaxDynamicSharedMemorySize,
                                    static_cast<int>(LinearSharedBytes(tile.mt, tile.nt))));
  }
  for (const WideTile& tile : kWideTiles) {
    CHECK_CUDA(cudaFuncSetAttribute(tile.kernel, cudaFuncAttributeMaxDynamicSharedMemorySize,
                                    static_cast<int>(SharedBytesOf(tile))));
  }
  const auto memory = std::make_unique<Memory>();
  int findings = 0;
  findings += CheckBits(*memory, kModels[0].qkv);
  findings += CheckBits(*memory, kModels[0].down);
  findings += CheckBits(*memory, kModels[1].down);
  const double bandwidth = MeasureBandwidth(*memory);
  Best best;
  for (const Model& model : kModels) {
    Sweep(*memory, model, bandwidth, &best);
    for (const int rows : {1, 8, 16, 32, 64}) Chain(*memory, model, bandwidth, best, rows);
  }
  for (const Model& model : kModels) Timeline(*memory, model);
  ManyRows(*memory);
  return findings;
}

}  // namespace recurve::gpu_check
