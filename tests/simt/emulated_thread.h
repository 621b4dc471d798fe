// SPDX-License-Identifier: Apache-2.0
#ifndef RECURVE_TESTS_SIMT_EMULATED_THREAD_H_
#define RECURVE_TESTS_SIMT_EMULATED_THREAD_H_

#include <cstddef>
#include <cstdint>
#include <source_location>
#include <string>

#include "engine/backend/cuda/runtime.h"
#include "engine/base/check.h"
#include "tests/simt/fiber.h"
#include "tests/simt/mma_warp.h"

namespace recurve {

// The block that runs: the launch that it is of, its number, its shared memory.
struct EmulatedBlock {
  Runtime::Kernel kernel;
  LaunchShape shape;
  const void* args = nullptr;
  uint32_t index = 0;
  std::byte* shared = nullptr;
};

// One thread of the emulated device: what kernels reach through simt_host.h. A fiber that takes the
// place of one thread of a block after the other. Its emulator owns it and runs it.
class EmulatedThread {
 public:
  enum class State : uint8_t { kReady, kWaits, kReturned, kStopped };
  // Where threads wait for each other: those of a block, or of a warp.
  enum class Meeting : uint8_t { kSyncBlock, kSyncWarp, kShuffleXor, kBallot, kMma };

  EmulatedThread(const EmulatedBlock* block, uint32_t index)
      : block_(block), index_(index), fiber_(&EmulatedThread::Main, this) {}

  // The thread that runs now. Kernels and their spans are for threads of the device alone.
  static EmulatedThread& Running() {
    RECURVE_CHECK(running_ != nullptr);
    return *running_;
  }
  static bool IsRunning() { return running_ != nullptr; }

  const EmulatedBlock& block() const { return *block_; }
  uint32_t index() const { return index_; }

  // ---- Called by the kernel, on the fiber ----

  void GridWait(const std::source_location& where);
  void SyncBlock(const std::source_location& where) { Meet(Meeting::kSyncBlock, where); }
  void SyncWarp(const std::source_location& where) { Meet(Meeting::kSyncWarp, where); }
  uint32_t Ballot(bool condition, const std::source_location& where);
  // The bits that lane `own ^ mask` gives.
  uint64_t ShuffleXor(uint64_t bits, uint32_t mask, const std::source_location& where);

  // A matrix instruction of the warp, which changes what `operands` points to.
  void Mma(const MmaOperands& operands, const std::source_location& where);

  // Reports what the thread did, by kernel, block and thread, and then never goes on: the rest of
  // the block runs until it ends or waits for this thread. Two calls, since what the frame of the
  // second holds is never destroyed.
  void Report(const std::string& fault);
  [[noreturn]] void Stop();

  // Whether the thread may touch what kernels before its own may still write.
  bool may_touch() const { return may_touch_; }
  void CountRead(size_t bytes) { bytes_read_ += bytes; }
  void CountWrite(size_t bytes) { bytes_written_ += bytes; }

  // ---- Called by the emulator ----

  // Takes the place of a thread of the block that begins.
  void Begin();
  // Runs until the thread waits, returns or is stopped.
  void Run();
  // Ends its waiting, with what it gets from the others.
  void GoOn(uint64_t received) {
    received_ = received;
    state_ = State::kReady;
  }

  State state() const { return state_; }
  Meeting meeting() const { return meeting_; }
  const std::source_location& where() const { return where_; }
  uint64_t given() const { return given_; }
  const MmaOperands& operands() const { return *operands_; }
  uint32_t mask() const { return mask_; }
  const std::string& report() const { return report_; }  // of one that was stopped
  uint64_t bytes_read() const { return bytes_read_; }
  uint64_t bytes_written() const { return bytes_written_; }

  // Whether both have come to the same place: the same call in the source.
  bool IsWith(const EmulatedThread& other) const;

 private:
  static void Main(void* thread);
  void Meet(Meeting meeting, const std::source_location& where);

  inline static constinit thread_local EmulatedThread* running_ = nullptr;

  const EmulatedBlock* block_;
  uint32_t index_;
  State state_ = State::kReturned;
  bool may_touch_ = false;
  bool has_waited_ = false;  // in GridWait()
  uint64_t bytes_read_ = 0;
  uint64_t bytes_written_ = 0;

  // While it waits: what for, where, and what it gives and gets there.
  Meeting meeting_{};
  uint32_t mask_ = 0;
  uint64_t given_ = 0;
  const MmaOperands* operands_ = nullptr;
  uint64_t received_ = 0;
  std::source_location where_;

  std::string report_;
  Fiber fiber_;
};

// "SyncBlock() at scan.cu:12".
std::string NameOf(EmulatedThread::Meeting meeting, const std::source_location& where);

// "scan.cu:12".
std::string NameOf(const std::source_location& where);

}  // namespace recurve

#endif  // RECURVE_TESTS_SIMT_EMULATED_THREAD_H_
