// SPDX-License-Identifier: Apache-2.0
// What kernels are written in: the few things that a thread of a device can do, under names that
// nvcc turns into its own and that an emulator of the tests turns into checked code on a processor.
// The same kernel sources compile for both.
//
// A kernel is a function of one argument, a struct of plain values and spans. Grids and blocks have
// one dimension. Blocks loop over their items (item = BlockIndex(); item < items; item +=
// GridSize()), since grids are fixed before anyone knows how many there will be.
//
//   ThreadIndex() BlockSize() BlockIndex() GridSize()
//   SyncBlock()                   barrier of the block: all of its threads come to the same one
//   SyncWarp()                    barrier of a warp of 32 threads
//   ShuffleXor(value, mask)       the value of the thread whose lane is this one's ^ mask
//   Ballot(condition)             bit i: lane i's; all 32 lanes call it
//   Mma(sums, a, b)               sums += a * b on the tensor cores; all 32 lanes call it
//   GridWait()                    before it a kernel reads Constant spans alone: the kernels before
//                                 it in the stream may still run. Every thread calls it once.
//   GridLaunch()                  lets the next kernel begin, up to its own GridWait()
//   FenceDevice()                 what this thread has written, or seen before a barrier, other
//                                 blocks see before what it writes next; and the other way round
//   SharedMemory shared;          the block's shared memory, handed out piece by piece:
//     shared.Array<T>(n)          n elements without a value; SharedBytes<T>(n) each in the launch
//   Constant<T> In<T> Out<T>      spans of device memory, below
//   GlobalTimer()                 nanoseconds
//
// Spans say what a kernel may do: Constant was written before the first step and is read at any
// time; In is read, and Out read and written, after GridWait(). Constant::Stream(i) reads an
// element of 16 bytes that nobody reads again soon, past the L1 cache; it stays before a GridWait()
// that follows it.
#ifndef RECURVE_ENGINE_BACKEND_CUDA_SIMT_H_
#define RECURVE_ENGINE_BACKEND_CUDA_SIMT_H_

#include <cstddef>
#include <cstdint>
#include <type_traits>

#include "engine/backend/cuda/device_memory.h"
#include "engine/base/host_device.h"

namespace recurve::simt {

inline constexpr uint32_t kWarp = 32;

// Bytes that one load takes, as words.
struct alignas(8) Words2 {
  uint32_t w[2];
};
struct alignas(16) Words4 {
  uint32_t w[4];
};

// Shared memory is handed out in units of 16 bytes.
template <typename T>
RECURVE_HOST_DEVICE constexpr size_t SharedBytes(size_t n) {
  return (n * sizeof(T) + 15) / 16 * 16;
}

}  // namespace recurve::simt

#if defined(RECURVE_SIMT_EMULATED)

#define RECURVE_KERNEL(...) void
#define RECURVE_DEVICE
#define RECURVE_UNROLL
#define RECURVE_ROLLED
#define RECURVE_NOINLINE
#include <simt_host.h>

#else  // a device, or the host code beside it, for which spans are pairs of words

#if defined(__CUDACC__)
#define RECURVE_KERNEL(...) __global__ void __launch_bounds__(__VA_ARGS__)  // threads, blocks
#define RECURVE_DEVICE __device__
#define RECURVE_NOINLINE __noinline__
#define RECURVE_UNROLL _Pragma("unroll")    // of a loop whose arrays are registers
#define RECURVE_ROLLED _Pragma("unroll 1")  // of one whose code would not fit the caches, unrolled
#endif

namespace recurve::simt {

namespace simt_internal {

// What all spans can do.
template <typename T>
class Span {
 public:
  static_assert(std::is_trivially_copyable_v<T>);
  Span() = default;
  // The elements [begin, begin + count) of `memory`.
  Span(const DeviceMemory& memory, size_t begin, size_t /*count*/)
      : data_(reinterpret_cast<T*>(memory.data) + begin) {}
  RECURVE_HOST_DEVICE const T& operator[](size_t i) const { return data_[i]; }

 protected:
  RECURVE_HOST_DEVICE explicit Span(T* data) : data_(data) {}
  T* data_ = nullptr;
};

}  // namespace simt_internal

template <typename T>
class Constant : public simt_internal::Span<T> {
 public:
  using simt_internal::Span<T>::Span;
  // The elements [begin, begin + count).
  RECURVE_HOST_DEVICE Constant Part(size_t begin, size_t /*count*/) const {
    return Constant(this->data_ + begin);
  }
#if defined(__CUDACC__)
  // Not by the non-coherent path (ld.global.nc): ptxas moves such loads behind a GridWait().
  RECURVE_DEVICE T Stream(size_t i) const {
    static_assert(std::is_same_v<T, Words4>);
    Words4 words;
    asm volatile("ld.global.L1::no_allocate.v4.u32 {%0, %1, %2, %3}, [%4];"
                 : "=r"(words.w[0]), "=r"(words.w[1]), "=r"(words.w[2]), "=r"(words.w[3])
                 : "l"(this->data_ + i));
    return words;
  }
#endif
};

template <typename T>
class In : public simt_internal::Span<T> {
 public:
  using simt_internal::Span<T>::Span;
  RECURVE_HOST_DEVICE In Part(size_t begin, size_t /*count*/) const {
    return In(this->data_ + begin);
  }
  // The same bytes from element `begin` on as `count` elements of another type.
  template <typename U>
  RECURVE_HOST_DEVICE In<U> As(size_t begin, size_t /*count*/) const {
    return In<U>(reinterpret_cast<U*>(this->data_ + begin));
  }

 private:
  template <typename U>
  friend class In;
  template <typename U>
  friend class Out;
  RECURVE_HOST_DEVICE explicit In(T* data) : simt_internal::Span<T>(data) {}
};

template <typename T>
class Out : public simt_internal::Span<T> {
 public:
  using simt_internal::Span<T>::Span;
  RECURVE_HOST_DEVICE Out Part(size_t begin, size_t /*count*/) const {
    return Out(this->data_ + begin);
  }
  template <typename U>
  RECURVE_HOST_DEVICE Out<U> As(size_t begin, size_t /*count*/) const {
    return Out<U>(reinterpret_cast<U*>(this->data_ + begin));
  }
  // The same elements, to be read alone.
  RECURVE_HOST_DEVICE In<T> ToRead() const { return In<T>(this->data_); }
  RECURVE_HOST_DEVICE void Set(size_t i, const T& value) const { this->data_[i] = value; }
  // Element `to` becomes what element `from` is, which may have no value.
  RECURVE_HOST_DEVICE void Copy(size_t to, size_t from) const {
    this->data_[to] = this->data_[from];
  }
  // An element that has a value, to be changed in place.
  RECURVE_HOST_DEVICE T& Edit(size_t i) const { return this->data_[i]; }
#if defined(__CUDACC__)
  // Atomic; the value before.
  RECURVE_DEVICE T Add(size_t i, T value) const {
    if constexpr (sizeof(T) == 8) {
      return atomicAdd(reinterpret_cast<unsigned long long*>(this->data_ + i), value);  // NOLINT
    } else {
      return atomicAdd(this->data_ + i, value);
    }
  }
  RECURVE_DEVICE T Or(size_t i, T value) const { return atomicOr(this->data_ + i, value); }
#endif

 private:
  template <typename U>
  friend class Out;
};

#if defined(__CUDACC__)

RECURVE_DEVICE inline uint32_t ThreadIndex() { return threadIdx.x; }
RECURVE_DEVICE inline uint32_t BlockSize() { return blockDim.x; }
RECURVE_DEVICE inline uint32_t BlockIndex() { return blockIdx.x; }
RECURVE_DEVICE inline uint32_t GridSize() { return gridDim.x; }
RECURVE_DEVICE inline void SyncBlock() { __syncthreads(); }
RECURVE_DEVICE inline void SyncWarp() { __syncwarp(); }
RECURVE_DEVICE inline void FenceDevice() { asm volatile("fence.acq_rel.gpu;" ::: "memory"); }

template <typename T>
RECURVE_DEVICE T ShuffleXor(T value, uint32_t mask) {
  return __shfl_xor_sync(0xFFFFFFFFU, value, static_cast<int>(mask));
}

RECURVE_DEVICE inline uint32_t Ballot(bool condition) {
  return __ballot_sync(0xFFFFFFFFU, condition ? 1 : 0);
}

// sums += a * b for a 16 x 16 tile of bf16 (a), a 16 x 8 one (b) and 16 x 8 floats, each in the
// fragments of mma.m16n8k16.
RECURVE_DEVICE inline void Mma(float (&sums)[4], const Words4& a, const Words2& b) {
  asm volatile(
      "mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, "
      "{%8, %9}, {%0, %1, %2, %3};"
      : "+f"(sums[0]), "+f"(sums[1]), "+f"(sums[2]), "+f"(sums[3])
      : "r"(a.w[0]), "r"(a.w[1]), "r"(a.w[2]), "r"(a.w[3]), "r"(b.w[0]), "r"(b.w[1]));
}

RECURVE_DEVICE inline void GridWait() {
#if __CUDA_ARCH__ >= 900
  asm volatile("griddepcontrol.wait;" ::: "memory");
#endif
}

RECURVE_DEVICE inline void GridLaunch() {
#if __CUDA_ARCH__ >= 900
  asm volatile("griddepcontrol.launch_dependents;" ::: "memory");
#endif
}

RECURVE_DEVICE inline uint64_t GlobalTimer() {
  uint64_t time;
  asm volatile("mov.u64 %0, %%globaltimer;" : "=l"(time));
  return time;
}

class SharedMemory {
 public:
  template <typename T>
  RECURVE_DEVICE T* Array(size_t n) {
    extern __shared__ __align__(16) unsigned char bytes[];
    T* const array = reinterpret_cast<T*>(bytes + used_);
    used_ += static_cast<uint32_t>(SharedBytes<T>(n));
    return array;
  }

 private:
  uint32_t used_ = 0;
};

template <typename T>
using SharedArray = T*;

// Atomic on an element of shared memory; the value before.
template <typename T>
RECURVE_DEVICE T AddShared(SharedArray<T> array, uint32_t i, T value) {
  if constexpr (sizeof(T) == 8) {
    return atomicAdd(reinterpret_cast<unsigned long long*>(array + i), value);  // NOLINT
  } else {
    return atomicAdd(array + i, value);
  }
}

#endif  // __CUDACC__

}  // namespace recurve::simt

#endif  // RECURVE_SIMT_EMULATED

#endif  // RECURVE_ENGINE_BACKEND_CUDA_SIMT_H_
