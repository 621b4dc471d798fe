// SPDX-License-Identifier: Apache-2.0
// What simt.h promises to kernels, on a processor: kernels run as written, one thread at a time,
// and what a card would leave undefined is reported and stops its thread. simt.h includes this file
// where RECURVE_SIMT_EMULATED is defined; what links recurve_simt has it so. All code of a program
// that names spans must be compiled one way or the other.
//
// The parts: a Fiber is a stack that can stop in its middle; an EmulatedThread is one as a thread
// of a block; the Emulator runs the blocks of a launch; spans look into the MemoryAccount of their
// memory; the EmulatedRuntime owns memory, accounts and emulator, and is what the backend sees.
//
// A report reads
//   attend: block 3, thread 37: In[512] of 'pages' reads byte 2048 of the memory, which nothing ...
// kernel, block, thread, and what that thread did, with the index that the source gave and the
// place in the whole memory that the runtime allocated under that name. Threads that do not meet
// are reported together, each group with its line of the source:
//   scan: block 0: its threads do not meet: 0-39 wait in SyncBlock() at scan.cu:12; 40-63 have ...
// What is not seen: races between blocks, or between warps where the shuffled order happens to do
// no harm (run several seeds), and kernels that wait for another block, which never end.
#ifndef RECURVE_TESTS_SIMT_SIMT_HOST_H_
#define RECURVE_TESTS_SIMT_SIMT_HOST_H_

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <source_location>
#include <type_traits>

#include "tests/simt/emulated_thread.h"
#include "tests/simt/faults.h"
#include "tests/simt/mma_warp.h"
#include "tests/simt/spans.h"

namespace recurve::simt {

inline uint32_t ThreadIndex() { return EmulatedThread::Running().index(); }
inline uint32_t BlockSize() { return EmulatedThread::Running().block().shape.threads; }
inline uint32_t BlockIndex() { return EmulatedThread::Running().block().index; }
inline uint32_t GridSize() { return EmulatedThread::Running().block().shape.blocks; }

inline void SyncBlock(const std::source_location& where = std::source_location::current()) {
  EmulatedThread::Running().SyncBlock(where);
}

inline void SyncWarp(const std::source_location& where = std::source_location::current()) {
  EmulatedThread::Running().SyncWarp(where);
}

// Blocks run one after the other, so that each sees all that those before it wrote.
inline void FenceDevice() {}

template <typename T>
T ShuffleXor(T value, uint32_t mask,
             const std::source_location& where = std::source_location::current()) {
  static_assert(std::is_arithmetic_v<T> && (sizeof(T) == 4 || sizeof(T) == 8));
  uint64_t bits = 0;
  std::memcpy(&bits, &value, sizeof(T));
  bits = EmulatedThread::Running().ShuffleXor(bits, mask, where);
  std::memcpy(&value, &bits, sizeof(T));
  return value;
}

inline uint32_t Ballot(bool condition,
                       const std::source_location& where = std::source_location::current()) {
  return EmulatedThread::Running().Ballot(condition, where);
}

// With the bits of Hopper's tensor cores.
inline void Mma(float (&sums)[4], const Words4& a, const Words2& b,
                const std::source_location& where = std::source_location::current()) {
  MmaOperands operands = {&a, &b, sums};
  EmulatedThread::Running().Mma(operands, where);
}

inline void GridWait(const std::source_location& where = std::source_location::current()) {
  EmulatedThread::Running().GridWait(where);
}

// The next kernel never begins early: only what it touches before its GridWait() is checked.
inline void GridLaunch() {}

inline uint64_t GlobalTimer() {
  return static_cast<uint64_t>(std::chrono::duration_cast<std::chrono::nanoseconds>(
                                   std::chrono::steady_clock::now().time_since_epoch())
                                   .count());
}

// Elements of shared memory, with bounds. They begin as 0xFF bytes, not as what another block left.
template <typename T>
class SharedArray {
 public:
  static_assert(std::is_trivially_copyable_v<T> && alignof(T) <= 16);
  SharedArray() = default;
  SharedArray(T* data, size_t count) : data_(data), count_(count) {}

  T& operator[](size_t i) const {
    if (i >= count_) [[unlikely]] {
      simt_internal::StopForArray("SharedArray at ", i, count_);
    }
    return data_[i];
  }

  // The array from element `begin` on.
  SharedArray operator+(size_t begin) const {
    if (begin > count_) [[unlikely]] {
      simt_internal::StopForArray("SharedArray + ", begin, count_);
    }
    return {data_ + begin, count_ - begin};
  }

 private:
  T* data_ = nullptr;
  size_t count_ = 0;
};

class SharedMemory {
 public:
  template <typename T>
  SharedArray<T> Array(size_t n) {
    const EmulatedThread& thread = EmulatedThread::Running();
    std::byte* const data = thread.block().shared + used_;
    used_ += SharedBytes<T>(n);
    if (used_ > thread.block().shape.shared_bytes) [[unlikely]] {
      simt_internal::StopForShared(used_);
    }
    return {reinterpret_cast<T*>(data), n};
  }

 private:
  size_t used_ = 0;
};

template <typename T>
T AddShared(SharedArray<T> array, uint32_t i, T value) {
  static_assert(std::is_integral_v<T>);
  const T before = array[i];
  array[i] = static_cast<T>(before + value);
  return before;
}

}  // namespace recurve::simt

#endif  // RECURVE_TESTS_SIMT_SIMT_HOST_H_
