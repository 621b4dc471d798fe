// SPDX-License-Identifier: Apache-2.0
// Compares the tensor cores' bits with the model of their sum, on the device, tile by tile.
#include <algorithm>
#include <bit>
#include <cstdio>

#include "engine/base/mix_bits.h"
#include "tests/simt/mma_hopper.h"
#include "tools/gpu_check/device.cuh"
#include "tools/gpu_check/probe.h"

namespace recurve::gpu_check {
namespace {

constexpr const char* kKinds[] = {
    "any finite bits",
    "near one",
    "products cancel in pairs",
    "exponents around the width of the sum",
    "denormal factors and addends",
    "zeros beside large partners and small addends",
    "near overflow",
    "infinities and NaN",
    "a large addend over small products",
};
constexpr int kKindCount = static_cast<int>(std::size(kKinds));
constexpr uint64_t kSeed = 20261127;
constexpr uint64_t kTiles = uint64_t{9} << 21;  // 18.9 million
constexpr int kWarps = 8;                       // a block

// One problem of mma.m16n8k16: d = a * b + c.
struct Tile {
  uint16_t a[16][16];  // [m][k]
  uint16_t b[8][16];   // [n][k]
  uint32_t c[16][8];   // [m][n], f32 bits
};

RECURVE_HOST_DEVICE uint32_t Bf16(uint32_t random, uint32_t exponent) {
  return (random & 0x807F) | (exponent << 7);
}
RECURVE_HOST_DEVICE uint32_t Float(uint32_t random, uint32_t exponent) {
  return (random & 0x807FFFFF) | (exponent << 23);
}

// The `index`-th factor of matrix `which` (0: a, 1: b) of the tile; index = row * 16 + k.
RECURVE_HOST_DEVICE uint16_t Factor(uint64_t tile, int which, int index) {
  const int kind = static_cast<int>(tile % kKindCount);
  // Of a pair that cancels, the second product is minus the first, now and then but for one bit.
  const bool minus = kind == 2 && index % 2 == 1;
  uint32_t change = 0;
  if (minus) {
    --index;
    const bool inexact = MixBits(kSeed ^ (tile * 1024 + which * 512 + index)) % 8 == 0;
    if (which == 1) change = 0x8000 | static_cast<uint32_t>(inexact);
  }
  const uint64_t word = MixBits(kSeed + (tile * 1024 + which * 512 + index) * kGoldenGamma);
  const auto random = static_cast<uint32_t>(word);
  const auto choice = static_cast<uint32_t>(word >> 32);
  switch (kind) {
    case 0:
      return Bf16(random, choice % 255);
    case 1:
    case 2:
      return Bf16(random, 120 + choice % 8) ^ change;
    case 3:
      return Bf16(random, which == 0 ? 127 - choice % 34 : 127);
    case 4:
      return Bf16(random, which == 0 ? choice % 3 : 110 + choice % 24);
    case 5:
      return choice % 2 == 0 ? (random & 0x8000)
                             : Bf16(random, which == 0 ? 20 : 107 + choice % 120);
    case 6:
      return Bf16(random, 187 + choice % 5);
    case 7:
      if (choice % 61 == 0) return 0x7F80 | (random & 0x8000);
      if (choice % 211 == 1) return 0x7FC0 | (random & 0x807F);
      if (choice % 23 == 2) return random & 0x8000;
      return Bf16(random, 118 + choice % 18);
    default:
      return Bf16(random, 112 + choice % 12);
  }
}

// The addend of the output at index = m * 8 + n.
RECURVE_HOST_DEVICE uint32_t Addend(uint64_t tile, int index) {
  const uint64_t word = MixBits(~kSeed + (tile * 1024 + index) * kGoldenGamma);
  const auto random = static_cast<uint32_t>(word);
  const auto choice = static_cast<uint32_t>(word >> 32);
  switch (tile % kKindCount) {
    case 0:
      return Float(random, choice % 255);
    case 1:
      return Float(random, 114 + choice % 16);
    case 2:
      return choice % 4 == 0 ? (random & 0x80000000) : Float(random, 90 + choice % 34);
    case 3:
      return Float(random, 92 + choice % 40);
    case 4:
      return Float(random, choice % 12);
    case 5:
      return choice % 8 == 0 ? (random & 0x80000000) : Float(random, choice % 40);
    case 6:
      return Float(random, 245 + choice % 10);
    case 7:
      if (choice % 97 == 0) return 0x7F800000 | (random & 0x80000000);
      if (choice % 97 == 1) return 0x7FC00000 | (random & 0x803FFFFF);
      return Float(random, 118 + choice % 18);
    default:
      return Float(random, 124 + choice % 20);
  }
}

// The warp fills its tile. Rows of a other than `row` and of b other than `column` are taken from
// the tile `other`.
__device__ void Fill(Tile& t, uint64_t tile, uint64_t other, int row, int column) {
  const int lane = static_cast<int>(threadIdx.x) % 32;
  for (int i = lane; i < 256; i += 32) {
    t.a[i / 16][i % 16] = Factor(i / 16 == row ? tile : other, 0, i);
    if (i < 128) {
      t.b[i / 16][i % 16] = Factor(i / 16 == column ? tile : other, 1, i);
      t.c[i / 8][i % 8] = Addend(i == row * 8 + column ? tile : other, i);
    }
  }
  __syncwarp();
}

__device__ void Fill(Tile& t, uint64_t tile) { Fill(t, tile, tile, 0, 0); }

__device__ uint32_t Pair(const uint16_t* low) { return low[0] | uint32_t{low[1]} << 16; }

__device__ uint4 FragmentA(const Tile& t, int lane) {
  const int row = lane / 4;
  const int k = lane % 4 * 2;
  return {Pair(&t.a[row][k]), Pair(&t.a[row + 8][k]), Pair(&t.a[row][k + 8]),
          Pair(&t.a[row + 8][k + 8])};
}
__device__ uint2 FragmentB(const Tile& t, int lane) {
  const int k = lane % 4 * 2;
  return {Pair(&t.b[lane / 4][k]), Pair(&t.b[lane / 4][k + 8])};
}
// Where the lane's i-th output lies.
__device__ int RowOf(int lane, int i) { return lane / 4 + i / 2 * 8; }
__device__ int ColumnOf(int lane, int i) { return lane % 4 * 2 + i % 2; }

__device__ void Run(const Tile& t, int lane, float (&d)[4]) {
  for (int i = 0; i < 4; ++i) d[i] = __uint_as_float(t.c[RowOf(lane, i)][ColumnOf(lane, i)]);
  Mma16816(d, FragmentA(t, lane), FragmentB(t, lane));
}

// What is counted for each kind of tile, and the first output that differs.
struct Counts {
  unsigned long long outputs[kKindCount];
  unsigned long long wrong[kKindCount];
  unsigned long long first_tile[kKindCount];  // its number + 1
  uint32_t first_output[kKindCount];          // m * 8 + n
  uint32_t first_bits[kKindCount];
};

__device__ void Count(Counts* counts, uint64_t tile, int output, uint32_t bits, uint32_t expected) {
  const int kind = static_cast<int>(tile % kKindCount);
  if (bits == expected) return;
  atomicAdd(&counts->wrong[kind], 1ULL);
  if (atomicCAS(&counts->first_tile[kind], 0ULL, static_cast<unsigned long long>(tile + 1)) == 0) {
    counts->first_output[kind] = static_cast<uint32_t>(output);
    counts->first_bits[kind] = bits;
  }
}

template <typename Rule>
__global__ void CompareWithModel(uint64_t tiles, Counts* counts) {
  __shared__ Tile shared[kWarps];
  const int lane = static_cast<int>(threadIdx.x) % 32;
  Tile& t = shared[threadIdx.x / 32];
  const uint64_t warps = uint64_t{gridDim.x} * kWarps;
  for (uint64_t tile = blockIdx.x * kWarps + threadIdx.x / 32; tile < tiles; tile += warps) {
    Fill(t, tile);
    float d[4];
    Run(t, lane, d);
    for (int i = 0; i < 4; ++i) {
      const int m = RowOf(lane, i);
      const int n = ColumnOf(lane, i);
      Count(counts, tile, m * 8 + n, __float_as_uint(d[i]),
            MmaSum<Rule>(t.a[m], 1, t.b[n], 1, t.c[m][n]));
    }
    if (lane == 0) atomicAdd(&counts->outputs[tile % kKindCount], 128ULL);
    __syncwarp();
  }
}

// Whether one output keeps its bits when every other row of a, row of b and addend changes.
__global__ void CompareNeighbours(uint64_t tiles, Counts* counts) {
  __shared__ Tile shared[kWarps];
  const int lane = static_cast<int>(threadIdx.x) % 32;
  Tile& t = shared[threadIdx.x / 32];
  const uint64_t warps = uint64_t{gridDim.x} * kWarps;
  for (uint64_t tile = blockIdx.x * kWarps + threadIdx.x / 32; tile < tiles; tile += warps) {
    const auto output = static_cast<int>(MixBits(tile) % 128);
    float alone[4];
    float among[4];
    Fill(t, tile);
    Run(t, lane, alone);
    __syncwarp();
    Fill(t, tile, tile + 1 + MixBits(tile ^ kSeed) % kTiles, output / 8, output % 8);
    Run(t, lane, among);
    for (int i = 0; i < 4; ++i) {
      if (RowOf(lane, i) * 8 + ColumnOf(lane, i) != output) continue;
      Count(counts, tile, output, __float_as_uint(among[i]), __float_as_uint(alone[i]));
    }
    if (lane == 0) atomicAdd(&counts->outputs[tile % kKindCount], 1ULL);
    __syncwarp();
  }
}

// Where B lies, in core matrices of 8 rows x 16 bytes, not swizzled, `k_bytes` and `n_bytes`
// apart along k and n.
__device__ uint64_t Descriptor(const void* shared, uint32_t k_bytes, uint32_t n_bytes) {
  const auto address = static_cast<uint32_t>(__cvta_generic_to_shared(shared));
  return uint64_t{(address & 0x3FFFF) >> 4} | uint64_t{k_bytes >> 4} << 16 |
         uint64_t{n_bytes >> 4} << 32;
}

__device__ void Wgmma8(float (&d)[4], const uint4& a, uint64_t b) {
  asm volatile(
      "{\n"
      ".reg .pred p;\n"
      "setp.eq.u32 p, 0, 0;\n"
      "wgmma.fence.sync.aligned;\n"
      "wgmma.mma_async.sync.aligned.m64n8k16.f32.bf16.bf16 {%0, %1, %2, %3}, {%4, %5, %6, %7}, %8, "
      "p, 1, 1, 0;\n"
      "wgmma.commit_group.sync.aligned;\n"
      "wgmma.wait_group.sync.aligned 0;\n"
      "}\n"
      : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
      : "r"(a.x), "r"(a.y), "r"(a.z), "r"(a.w), "l"(b)
      : "memory");
}

__device__ void Wgmma16(float (&d)[8], const uint4& a, uint64_t b) {
  asm volatile(
      "{\n"
      ".reg .pred p;\n"
      "setp.eq.u32 p, 0, 0;\n"
      "wgmma.fence.sync.aligned;\n"
      "wgmma.mma_async.sync.aligned.m64n16k16.f32.bf16.bf16 {%0, %1, %2, %3, %4, %5, %6, %7}, "
      "{%8, %9, %10, %11}, %12, p, 1, 1, 0;\n"
      "wgmma.commit_group.sync.aligned;\n"
      "wgmma.wait_group.sync.aligned 0;\n"
      "}\n"
      : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3]), "+f"(d[4]), "+f"(d[5]), "+f"(d[6]),
        "+f"(d[7])
      : "r"(a.x), "r"(a.y), "r"(a.z), "r"(a.w), "l"(b)
      : "memory");
}

// wgmma against mma.sync, `steps` sums in a row into one accumulator. A block is one warpgroup: its
// four warps have a tile of a each and share two n8 tiles of b. Counts under the kind of the tile.
template <int kSteps>
__global__ void CompareWgmma(uint64_t groups, Counts* counts) {
  __shared__ Tile tiles[4];
  __shared__ Tile second;                          // its b is the second n8 tile
  __shared__ alignas(128) uint16_t b[2][2][8][8];  // [n / 8][k / 8][n % 8][k % 8]
  const int lane = static_cast<int>(threadIdx.x) % 32;
  const int warp = static_cast<int>(threadIdx.x) / 32;
  for (uint64_t group = blockIdx.x; group < groups; group += gridDim.x) {
    float narrow[4];
    float wide[8];
    float plain[2][4];
    for (int step = 0; step < kSteps; ++step) {
      // Tiles of one kind: their numbers differ by multiples of kKindCount.
      const uint64_t tile = group + step * kKindCount * 64;
      Fill(tiles[warp], tile + warp * kKindCount);
      if (warp == 0) Fill(second, tile + 4 * kKindCount);
      __syncthreads();
      const auto n = static_cast<int>(threadIdx.x) / 16;
      const auto k = static_cast<int>(threadIdx.x) % 16;
      b[0][k / 8][n][k % 8] = tiles[0].b[n][k];
      b[1][k / 8][n][k % 8] = second.b[n][k];
      asm volatile("fence.proxy.async.shared::cta;" ::: "memory");
      __syncthreads();
      if (step == 0) {
        for (int i = 0; i < 4; ++i) {
          const float c = __uint_as_float(tiles[warp].c[RowOf(lane, i)][ColumnOf(lane, i)]);
          narrow[i] = plain[0][i] = plain[1][i] = wide[i] = wide[i + 4] = c;
        }
      }
      const uint4 a = FragmentA(tiles[warp], lane);
      Mma16816(plain[0], a, FragmentB(tiles[0], lane));
      Mma16816(plain[1], a, FragmentB(second, lane));
      Wgmma8(narrow, a, Descriptor(b, 128, 256));
      Wgmma16(wide, a, Descriptor(b, 128, 256));
      __syncthreads();
    }
    for (int i = 0; i < 4; ++i) {
      const int output = RowOf(lane, i) * 8 + ColumnOf(lane, i);
      Count(counts, group, output, __float_as_uint(narrow[i]), __float_as_uint(plain[0][i]));
      Count(counts, group, output, __float_as_uint(wide[i]), __float_as_uint(plain[0][i]));
      Count(counts, group, output, __float_as_uint(wide[i + 4]), __float_as_uint(plain[1][i]));
    }
    if (threadIdx.x == 0) atomicAdd(&counts->outputs[group % kKindCount], 3 * 512ULL);
  }
}

// Prints a wrong output with its inputs, so that the rule can be mended from the report.
void PrintWrong(const char* check, const Counts& counts, int kind) {
  const uint64_t tile = counts.first_tile[kind] - 1;
  const int m = static_cast<int>(counts.first_output[kind]) / 8;
  const int n = static_cast<int>(counts.first_output[kind]) % 8;
  uint16_t a[16];
  uint16_t b[16];
  std::string factors;
  for (int k = 0; k < 16; ++k) {
    a[k] = Factor(tile, 0, m * 16 + k);
    b[k] = Factor(tile, 1, n * 16 + k);
    char text[16];
    std::snprintf(text, sizeof(text), "%04x*%04x ", a[k], b[k]);
    factors += text;
  }
  const uint32_t c = Addend(tile, m * 8 + n);
  char bits[64];
  std::snprintf(bits, sizeof(bits), "device %08x model %08x c %08x", counts.first_bits[kind],
                MmaSum(a, 1, b, 1, c), c);
  Report("mma_bits", std::string(check) + ": wrong output",
         {{"kind", kKinds[kind]}, {"factors", factors}, {"bits", bits}});
}

template <typename Kernel>
uint64_t RunCheck(const char* check, bool is_finding, Kernel kernel, int blocks, int threads,
                  uint64_t tiles) {
  DeviceArray<Counts> counts(1);
  kernel<<<blocks, threads>>>(tiles, counts.get());
  CHECK_CUDA(cudaGetLastError());
  CHECK_CUDA(cudaDeviceSynchronize());
  const Counts result = counts.ToHost()[0];
  uint64_t wrong = 0;
  uint64_t outputs = 0;
  std::vector<Field> fields;
  for (int kind = 0; kind < kKindCount; ++kind) {
    wrong += result.wrong[kind];
    outputs += result.outputs[kind];
    fields.emplace_back(kKinds[kind], static_cast<double>(result.wrong[kind]));
    if (is_finding && result.wrong[kind] > 0) PrintWrong(check, result, kind);
  }
  fields.insert(fields.begin(),
                {{"outputs", static_cast<double>(outputs)}, {"wrong", static_cast<double>(wrong)}});
  Report("mma_bits", check, fields);
  return wrong;
}

// Rules near the model's, which the tiles must be able to tell from it.
struct Bits24 : HopperSum {
  static constexpr int kFractionBits = 24;
};
struct Bits26 : HopperSum {
  static constexpr int kFractionBits = 26;
};
struct CutsDown : HopperSum {
  static constexpr bool kCutsDown = true;
};
struct RoundsToEven : HopperSum {
  static constexpr bool kRoundsToEven = true;
};
struct ZerosAlign : HopperSum {
  static constexpr bool kZerosAlign = true;
};

__global__ void ModelOnDevice(uint32_t* sums) {
  const uint64_t tile = blockIdx.x;
  const auto output = static_cast<int>(threadIdx.x);
  uint16_t a[16];
  uint16_t b[16];
  for (int k = 0; k < 16; ++k) {
    a[k] = Factor(tile, 0, output / 8 * 16 + k);
    b[k] = Factor(tile, 1, output % 8 * 16 + k);
  }
  sums[tile * 128 + output] = MmaSum(a, 1, b, 1, Addend(tile, output));
}

// Whether the host computes the model's bits as the device does; the number of differences.
int CompareModelOnHost() {
  constexpr uint64_t kCount = 9 << 10;
  std::vector<uint64_t> wrong(kCount);
  DeviceArray<uint32_t> sums(kCount * 128);
  ModelOnDevice<<<kCount, 128>>>(sums.get());
  const std::vector<uint32_t> device = sums.ToHost();
  ParallelFor(kCount, [&](uint64_t begin, uint64_t end) {
    for (uint64_t tile = begin; tile < end; ++tile) {
      for (int output = 0; output < 128; ++output) {
        uint16_t a[16];
        uint16_t b[16];
        for (int k = 0; k < 16; ++k) {
          a[k] = Factor(tile, 0, output / 8 * 16 + k);
          b[k] = Factor(tile, 1, output % 8 * 16 + k);
        }
        wrong[tile] += MmaSum(a, 1, b, 1, Addend(tile, output)) != device[tile * 128 + output];
      }
    }
  });
  uint64_t all = 0;
  for (const uint64_t w : wrong) all += w;
  Report("mma_bits", "model on host = model on device",
         {{"outputs", static_cast<double>(kCount * 128)}, {"wrong", static_cast<double>(all)}});
  return all == 0 ? 0 : 1;
}

}  // namespace

int MmaBitsStage() {
  constexpr int kBlocks = 132 * 8;
  constexpr int kThreads = kWarps * 32;
  constexpr uint64_t kFewer = kTiles / 8;
  int findings = 0;
  findings += RunCheck("mma.sync = model", true, CompareWithModel<HopperSum>, kBlocks, kThreads,
                       kTiles) != 0;
  findings += RunCheck("an output with other neighbours", true, CompareNeighbours, kBlocks,
                       kThreads, kTiles) != 0;
  findings +=
      RunCheck("wgmma = mma.sync, 1 step", true, CompareWgmma<1>, kBlocks, 128, kFewer) != 0;
  findings += RunCheck("wgmma = mma.sync, 60 steps", true, CompareWgmma<60>, kBlocks, 128,
                       kFewer / 60) != 0;
  findings += CompareModelOnHost();
  // These must differ, else the tiles could not have found a wrong model.
  findings += RunCheck("other rule: 24 bits", false, CompareWithModel<Bits24>, kBlocks, kThreads,
                       kFewer) == 0;
  findings += RunCheck("other rule: 26 bits", false, CompareWithModel<Bits26>, kBlocks, kThreads,
                       kFewer) == 0;
  findings += RunCheck("other rule: terms cut down", false, CompareWithModel<CutsDown>, kBlocks,
                       kThreads, kFewer) == 0;
  findings += RunCheck("other rule: sum rounded to even", false, CompareWithModel<RoundsToEven>,
                       kBlocks, kThreads, kFewer) == 0;
  findings += RunCheck("other rule: zeros align", false, CompareWithModel<ZerosAlign>, kBlocks,
                       kThreads, kFewer) == 0;
  return findings;
}

}  // namespace recurve::gpu_check
