// SPDX-License-Identifier: Apache-2.0
// What right kernels come to on the emulator, in every order of their threads.
#include "tests/simt/emulator.h"

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <numeric>
#include <string>
#include <vector>

#include "engine/backend/cuda/runtime.h"
#include "engine/backend/cuda/simt.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/simt/device_vectors.h"
#include "tests/simt/runtime_emulated.h"
#include "tests/simt/scan.h"

namespace recurve {
namespace {

using simt::Constant;
using simt::In;
using simt::kWarp;
using simt::Out;
using simt::SharedBytes;
using testing::Each;
using testing::ElementsAre;

constexpr uint32_t kThreads[] = {1, 31, 32, 33, 64, 1024};

struct Indices {
  Out<uint32_t> out;
};

RECURVE_KERNEL(1024) WriteIndices(Indices args) {
  simt::GridWait();
  const uint32_t item = simt::BlockIndex() * simt::BlockSize() + simt::ThreadIndex();
  args.out.Set(item, item + 100 * simt::GridSize());
}

TEST(Emulator, EachThreadOfEachBlockRunsOnce) {
  for (const uint32_t threads : kThreads) {
    for (const uint64_t seed : {0, 1}) {
      EmulatedRuntime runtime({.seed = seed});
      const DeviceMemory out = *runtime.Allocate("out", 3 * threads * sizeof(uint32_t));
      ASSERT_EQ(
          Launch(runtime, "indices", WriteIndices, {3, threads, 0, true}, {{out, 0, 3 * threads}}),
          absl::OkStatus());
      std::vector<uint32_t> expected(3 * threads);
      std::iota(expected.begin(), expected.end(), 300);
      EXPECT_EQ(Downloaded<uint32_t>(runtime, out), expected) << threads << " threads";
    }
  }
}

std::vector<uint32_t> ScanOnDevice(const std::vector<uint32_t>& values, uint32_t blocks,
                                   uint64_t seed) {
  EmulatedRuntime runtime({.seed = seed});
  const DeviceMemory in = Uploaded(runtime, "in", values);
  const DeviceMemory out = *runtime.Allocate("out", in.bytes);
  const auto threads = static_cast<uint32_t>(values.size() / blocks);
  EXPECT_EQ(LaunchScan(runtime, in, out, blocks, threads), absl::OkStatus());
  return Downloaded<uint32_t>(runtime, out);
}

std::vector<uint32_t> Numbers(size_t n) {
  std::vector<uint32_t> numbers(n);
  for (size_t i = 0; i < n; ++i) numbers[i] = static_cast<uint32_t>(i * i + 1);
  return numbers;
}

TEST(Emulator, ABlockMeetsAtItsBarriersInEveryOrder) {
  for (const uint32_t threads : kThreads) {
    const std::vector<uint32_t> values = Numbers(2 * threads);
    std::vector<uint32_t> expected = values;
    for (const uint32_t begin : {0U, threads}) {
      std::partial_sum(expected.begin() + begin, expected.begin() + begin + threads,
                       expected.begin() + begin);
    }
    for (uint64_t seed = 0; seed < 6; ++seed) {
      EXPECT_EQ(ScanOnDevice(values, 2, seed), expected) << threads << ", seed " << seed;
    }
  }
}

struct Neighbours {
  Out<uint32_t> out;
};

// Right without the barrier too, as long as threads run in ascending order.
template <bool kBarrier>
RECURVE_KERNEL(1024)
ReadNeighbour(Neighbours args) {
  simt::SharedMemory shared;
  const uint32_t thread = simt::ThreadIndex();
  const simt::SharedArray<uint32_t> values = shared.Array<uint32_t>(simt::BlockSize());
  values[thread] = 3 * thread;
  if constexpr (kBarrier) simt::SyncBlock();
  args.out.Set(thread, thread == 0 ? 0 : values[thread - 1]);
}

template <bool kBarrier>
std::vector<uint32_t> NeighboursOf(uint32_t threads, uint64_t seed) {
  EmulatedRuntime runtime({.seed = seed});
  const DeviceMemory out = *runtime.Allocate("out", threads * sizeof(uint32_t));
  EXPECT_EQ(Launch(runtime, "neighbour", ReadNeighbour<kBarrier>,
                   {1, threads, SharedBytes<uint32_t>(threads)}, {{out, 0, threads}}),
            absl::OkStatus());
  return Downloaded<uint32_t>(runtime, out);
}

TEST(Emulator, SomeOrderShowsAMissingBarrier) {
  for (const uint32_t threads : {2, 32, 256}) {
    const std::vector<uint32_t> right = NeighboursOf<true>(threads, 0);
    EXPECT_EQ(NeighboursOf<false>(threads, 0), right);
    int wrong = 0;
    for (uint64_t seed = 1; seed <= 10; ++seed) {
      EXPECT_EQ(NeighboursOf<true>(threads, seed), right);
      wrong += static_cast<int>(NeighboursOf<false>(threads, seed) != right);
    }
    EXPECT_GT(wrong, 0) << threads << " threads";
  }
}

struct Shuffle {
  Out<double> doubles;
  Out<float> floats;
  Out<uint32_t> words;
  Out<uint64_t> long_words;
  uint32_t mask;
};

RECURVE_KERNEL(64) ShuffleAll(Shuffle args) {
  const uint32_t i = simt::ThreadIndex();
  args.doubles.Set(i, simt::ShuffleXor(i + 0.1, args.mask));
  args.floats.Set(i, simt::ShuffleXor(static_cast<float>(i) + 0.5F, args.mask));
  args.words.Set(i, simt::ShuffleXor(i, args.mask));
  args.long_words.Set(i, simt::ShuffleXor(uint64_t{i} << 40, args.mask));
}

TEST(Emulator, LanesShuffleValuesOfEachType) {
  for (const uint32_t mask : {0, 1, 5, 16, 31}) {
    EmulatedRuntime runtime({.seed = 3});
    const DeviceMemory doubles = *runtime.Allocate("doubles", 64 * 8);
    const DeviceMemory floats = *runtime.Allocate("floats", 64 * 4);
    const DeviceMemory words = *runtime.Allocate("words", 64 * 4);
    const DeviceMemory long_words = *runtime.Allocate("long words", 64 * 8);
    ASSERT_EQ(
        Launch(runtime, "shuffle", ShuffleAll, {1, 64},
               {{doubles, 0, 64}, {floats, 0, 64}, {words, 0, 64}, {long_words, 0, 64}, mask}),
        absl::OkStatus());
    for (uint32_t i = 0; i < 64; ++i) {
      const uint32_t other = i ^ mask;
      EXPECT_EQ(Downloaded<double>(runtime, doubles)[i], other + 0.1);
      EXPECT_EQ(Downloaded<float>(runtime, floats)[i], static_cast<float>(other) + 0.5F);
      EXPECT_EQ(Downloaded<uint32_t>(runtime, words)[i], other);
      EXPECT_EQ(Downloaded<uint64_t>(runtime, long_words)[i], uint64_t{other} << 40);
    }
  }
}

struct Votes {
  Out<uint32_t> out;
};

RECURVE_KERNEL(1024) VoteOdd(Votes args) {
  args.out.Set(simt::ThreadIndex(), simt::Ballot(simt::ThreadIndex() % 2 == 1));
}

TEST(Emulator, ABallotCountsTheThreadsThatAWarpHas) {
  EmulatedRuntime runtime({.seed = 5});
  const DeviceMemory out = *runtime.Allocate("out", 67 * 4);
  ASSERT_EQ(Launch(runtime, "vote", VoteOdd, {1, 67}, {{out, 0, 67}}), absl::OkStatus());
  const std::vector<uint32_t> votes = Downloaded<uint32_t>(runtime, out);
  EXPECT_THAT(std::vector<uint32_t>(votes.begin(), votes.begin() + 64), Each(0xAAAAAAAA));
  EXPECT_THAT(std::vector<uint32_t>(votes.begin() + 64, votes.end()), Each(0b010));
}

struct Sum {
  In<uint32_t> in;
  Out<uint64_t> sum;
};

// Warps reach the block's barrier by different ways, which is theirs to do.
RECURVE_KERNEL(1024) SumBlock(Sum args) {
  simt::SharedMemory shared;
  const simt::SharedArray<uint64_t> parts = shared.Array<uint64_t>(kWarp);
  const uint32_t thread = simt::ThreadIndex();
  uint64_t sum = args.in[thread];
  for (uint32_t mask = kWarp / 2; mask > 0; mask /= 2) sum += simt::ShuffleXor(sum, mask);
  if (thread % kWarp == 0) parts[thread / kWarp] = sum;
  simt::SyncBlock();
  if (thread < kWarp) {
    sum = thread < simt::BlockSize() / kWarp ? parts[thread] : 0;
    simt::SyncWarp();
    for (uint32_t mask = kWarp / 2; mask > 0; mask /= 2) sum += simt::ShuffleXor(sum, mask);
    if (thread == 0) args.sum.Add(0, sum);
  }
  simt::SyncBlock();
}

TEST(Emulator, OneWarpMayShuffleWhileTheOthersWaitForTheBlock) {
  for (uint64_t seed = 0; seed < 6; ++seed) {
    EmulatedRuntime runtime({.seed = seed});
    const std::vector<uint32_t> values = Numbers(1024);
    const DeviceMemory in = Uploaded(runtime, "in", values);
    const DeviceMemory sum = Uploaded(runtime, "sum", std::vector<uint64_t>{1});
    ASSERT_EQ(Launch(runtime, "sum", SumBlock, {2, 1024, SharedBytes<uint64_t>(kWarp)},
                     {{in, 0, 1024}, {sum, 0, 1}}),
              absl::OkStatus());
    const uint64_t expected = std::accumulate(values.begin(), values.end(), uint64_t{0});
    EXPECT_THAT(Downloaded<uint64_t>(runtime, sum), ElementsAre(1 + 2 * expected));
  }
}

struct Histogram {
  Out<uint32_t> counts;
  Out<uint64_t> total;
  Out<uint32_t> bits;
};

RECURVE_KERNEL(256) CountByLastDigit(Histogram args) {
  simt::SharedMemory shared;
  const simt::SharedArray<uint32_t> counts = shared.Array<uint32_t>(10);
  const uint32_t thread = simt::ThreadIndex();
  if (thread < 10) counts[thread] = 0;
  simt::SyncBlock();
  simt::AddShared(counts, thread % 10, 1U);
  args.bits.Or(0, 1U << thread % 32);
  simt::SyncBlock();
  if (thread < 10) {
    const uint32_t before = args.counts.Add(thread, counts[thread]);
    if (before > 0) args.total.Add(0, uint64_t{before});
  }
}

TEST(Emulator, AtomicsGiveTheValueBefore) {
  EmulatedRuntime runtime({.seed = 7});
  const DeviceMemory counts = Uploaded(runtime, "counts", std::vector<uint32_t>(10));
  const DeviceMemory total = Uploaded(runtime, "total", std::vector<uint64_t>{1000});
  const DeviceMemory bits = Uploaded(runtime, "bits", std::vector<uint32_t>{0});
  ASSERT_EQ(Launch(runtime, "count", CountByLastDigit, {2, 30, SharedBytes<uint32_t>(10)},
                   {{counts, 0, 10}, {total, 0, 1}, {bits, 0, 1}}),
            absl::OkStatus());
  EXPECT_THAT(Downloaded<uint32_t>(runtime, counts), Each(6));
  EXPECT_THAT(Downloaded<uint64_t>(runtime, total), ElementsAre(1030));
  EXPECT_THAT(Downloaded<uint32_t>(runtime, bits), ElementsAre(0x3FFFFFFF));
}

struct Fresh {
  Out<uint32_t> fresh;
};

// Writes what its block's shared memory begins with, then leaves something there.
RECURVE_KERNEL(32) LookAtShared(Fresh args) {
  simt::SharedMemory shared;
  const simt::SharedArray<uint64_t> first = shared.Array<uint64_t>(3);
  const simt::SharedArray<float> second = shared.Array<float>(8);
  args.fresh.Set(simt::BlockIndex(), std::isnan((second + 2)[5]) && first[2] + 1 == 0 ? 1 : 0);
  for (uint32_t i = 0; i < 3; ++i) first[i] = 0;
  for (uint32_t i = 0; i < 8; ++i) second[i] = 0;
}

TEST(Emulator, SharedMemoryHasNoValueWhenABlockBegins) {
  EmulatedRuntime runtime;
  const DeviceMemory fresh = *runtime.Allocate("fresh", 4 * 4);
  ASSERT_EQ(Launch(runtime, "look", LookAtShared,
                   {4, 1, SharedBytes<uint64_t>(3) + SharedBytes<float>(8)}, {{fresh, 0, 4}}),
            absl::OkStatus());
  EXPECT_THAT(Downloaded<uint32_t>(runtime, fresh), Each(1));
}

struct Scale {
  Constant<float> factor;
  Out<float> out;
};

RECURVE_KERNEL(32) ScaleFirst(Scale args) {
  const float factor = args.factor[0];
  simt::GridWait();
  args.out.Edit(0) *= factor;
}

TEST(Emulator, KernelsFlushDenormalsAndTheHostDoesNot) {
  EmulatedRuntime runtime;
  const DeviceMemory factor = Uploaded(runtime, "factor", std::vector<float>{0.5F});
  const DeviceMemory out = Uploaded(runtime, "out", std::vector<float>{1.2e-38F});
  for (int time = 0; time < 2; ++time) {
    ASSERT_EQ(Launch(runtime, "scale", ScaleFirst, {1, 1, 0, true}, {{factor, 0, 1}, {out, 0, 1}}),
              absl::OkStatus());
    EXPECT_THAT(Downloaded<float>(runtime, out), ElementsAre(0.0F));
    volatile float on_the_host = 1.2e-38F;
    on_the_host = on_the_host * 0.5F;
    EXPECT_GT(on_the_host, 0.0F);
    const float again = 1.2e-38F;
    ASSERT_EQ(runtime.Upload(out, 0, &again, sizeof(again)), absl::OkStatus());
  }
}

struct Order {
  Out<uint32_t> places;
  Out<uint32_t> next;
};

RECURVE_KERNEL(64) TakePlace(Order args) {
  args.places.Set(args.next.Add(0, 1),
                  simt::BlockIndex() * simt::BlockSize() + simt::ThreadIndex());
}

std::vector<uint32_t> OrderOf(uint64_t seed) {
  EmulatedRuntime runtime({.seed = seed});
  const DeviceMemory places = *runtime.Allocate("places", 256 * 4);
  const DeviceMemory next = Uploaded(runtime, "next", std::vector<uint32_t>{0});
  EXPECT_EQ(Launch(runtime, "order", TakePlace, {4, 64}, {{places, 0, 256}, {next, 0, 1}}),
            absl::OkStatus());
  return Downloaded<uint32_t>(runtime, places);
}

TEST(Emulator, ASeedDecidesTheOrderOfBlocksWarpsAndThreads) {
  std::vector<uint32_t> ascending(256);
  std::iota(ascending.begin(), ascending.end(), 0);
  EXPECT_EQ(OrderOf(0), ascending);
  EXPECT_EQ(OrderOf(1), OrderOf(1));
  bool another_block_first = false;
  bool second_warp_first = false;
  bool lanes_descend = false;
  for (uint64_t seed = 1; seed <= 10; ++seed) {
    const std::vector<uint32_t> order = OrderOf(seed);
    EXPECT_NE(OrderOf(seed + 1), order);
    std::vector<uint32_t> sorted = order;
    std::ranges::sort(sorted);
    EXPECT_EQ(sorted, ascending);
    another_block_first |= order[0] >= 64;
    second_warp_first |= order[0] % 64 >= kWarp;
    for (size_t i = 1; i < 256; ++i) lanes_descend |= order[i] + 1 == order[i - 1];
  }
  EXPECT_TRUE(another_block_first);
  EXPECT_TRUE(second_warp_first);
  EXPECT_TRUE(lanes_descend);
}

// Threads that a kernel has left in their middle are whole again for the next block.
TEST(Emulator, GoesOnAfterABlockThatDidNotEnd) {
  Reports reports;
  MemoryAccount account("out", 64 * 4, &reports);
  Emulator emulator(0, &reports);
  const Indices args = {{account.memory(), 0, 64}};
  const auto run = [&](void (*kernel)(Indices)) {
    const Runtime::Kernel erased = {"kernel", reinterpret_cast<const void*>(kernel),
                                    [](const void* function, const void* erased_args) {
                                      reinterpret_cast<void (*)(Indices)>(const_cast<void*>(
                                          function))(*static_cast<const Indices*>(erased_args));
                                    },
                                    sizeof(Indices)};
    return emulator.Run(erased, {1, 64}, &args);
  };
  run([](Indices) {
    if (simt::ThreadIndex() % 2 == 0) simt::SyncBlock();
  });
  EXPECT_EQ(reports.all().size(), 1);
  const KernelCounts counts = run(WriteIndices);
  EXPECT_EQ(reports.all().size(), 1);
  EXPECT_EQ(counts.bytes_written, 64 * 4);
  EXPECT_EQ(account.CountWritten(account.memory().data, 64 * 4), 64 * 4);
}

}  // namespace
}  // namespace recurve
