// SPDX-License-Identifier: Apache-2.0
#ifndef RECURVE_TESTS_SIMT_EMULATOR_H_
#define RECURVE_TESTS_SIMT_EMULATOR_H_

#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

#include "engine/backend/cuda/runtime.h"
#include "tests/simt/emulated_thread.h"
#include "tests/simt/meetings.h"
#include "tests/simt/reports.h"
#include "tests/simt/shuffler.h"

namespace recurve {

// What launches of a kernel came to. Bytes are those that spans of device memory were asked for;
// an element that is changed in place is both read and written.
struct KernelCounts {
  uint64_t launches = 0;
  uint64_t blocks = 0;
  uint64_t bytes_read = 0;
  uint64_t bytes_written = 0;

  KernelCounts& operator+=(const KernelCounts& other) {
    launches += other.launches;
    blocks += other.blocks;
    bytes_read += other.bytes_read;
    bytes_written += other.bytes_written;
    return *this;
  }
};

// Runs kernels on the calling thread: the blocks of a launch one after the other, the threads of a
// block in turns. A turn ends where a thread has to wait for others. `seed` shuffles blocks, warps
// and threads, and how far a warp runs ahead of the others; seed 0 takes all in ascending order.
// Owns the threads, which are used again by each block. Denormals are flushed while kernels run.
// Thread-compatible.
class Emulator {
 public:
  // Outlived by `reports`, which get what is wrong with kernels.
  Emulator(uint64_t seed, Reports* reports) : shuffler_(seed), reports_(reports) {}
  Emulator(const Emulator&) = delete;
  Emulator& operator=(const Emulator&) = delete;

  // Runs a kernel to its end, or until the reports are full.
  KernelCounts Run(const Runtime::Kernel& kernel, const LaunchShape& shape, const void* args);

 private:
  // Shared memory is aligned to 16 bytes.
  struct alignas(16) SharedUnit {
    std::byte bytes[16];
  };

  // Makes room for a launch: its threads, its shared memory, the orders.
  void Prepare();
  void RunBlock();
  // Runs threads of the block until each of them waits for others or has ended.
  void RunReady();
  // The same of a warp; shuffled, it may stop before. False if none of its threads could run.
  bool RunWarp(uint32_t index);

  // The threads of the block that runs.
  EmulatedThreads block() const { return EmulatedThreads(threads_).first(block_.shape.threads); }

  Shuffler shuffler_;
  Reports* reports_;
  EmulatedBlock block_;
  std::vector<std::unique_ptr<EmulatedThread>> threads_;
  std::vector<SharedUnit> shared_;
  std::vector<uint32_t> block_order_;
  std::vector<uint32_t> warp_order_;
  std::vector<uint32_t> lane_order_;
};

}  // namespace recurve

#endif  // RECURVE_TESTS_SIMT_EMULATOR_H_
