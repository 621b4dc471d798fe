// SPDX-License-Identifier: Apache-2.0
// What the backend needs of a device and its driver. The seam at which tests put an emulated one,
// which can fail, hang and be late: everything above it runs without a card.
#ifndef RECURVE_ENGINE_BACKEND_CUDA_RUNTIME_H_
#define RECURVE_ENGINE_BACKEND_CUDA_RUNTIME_H_

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <type_traits>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "engine/api/memory_piece.h"
#include "engine/backend/cuda/device_memory.h"
#include "engine/backend/kernel_work.h"

namespace recurve {

struct DeviceFacts {
  std::string name;
  uint32_t multiprocessors = 1;
  uint32_t architecture = 0;  // 90: sm_90
  uint32_t driver = 0;        // 13000: CUDA 13.0
  uint64_t bytes = 0;         // of memory
  size_t shared_bytes = 0;    // that a block may have
};

// Memory of the host that the device reads and writes too.
struct MappedMemory {
  std::byte* host = nullptr;
  DeviceMemory device;
};

// y <- x weights^T, all of them row after row: bf16 but for y, which is floats.
struct PlainProduct {
  DeviceMemory weights;  // [outputs][inputs]
  DeviceMemory x;        // [rows][inputs]
  DeviceMemory y;        // [rows][outputs]
  uint32_t rows = 0, inputs = 0, outputs = 0;
};

// How a kernel is launched.
struct LaunchShape {
  uint32_t blocks = 1;
  uint32_t threads = 1;
  size_t shared_bytes = 0;
  // Whether it may begin before the kernel before it in the stream has ended: GridWait waits.
  bool programmatic = false;
  WorkCount work = {};
};

// Threads of a block for so many tasks that run side by side: whole warps, `most` at most.
inline uint32_t ThreadsFor(uint32_t tasks, uint32_t most) {
  constexpr uint32_t kWarp = 32;
  const uint32_t threads = (tasks + kWarp - 1) / kWarp * kWarp;
  return threads < kWarp ? kWarp : (threads < most ? threads : most);
}

// One stream of one device. Everything but Allocate*, Upload and Download is asynchronous and comes
// in order. Errors name the call, the kernel or the memory, and what the driver calls it; after one
// the device is of no use any more. Thread-compatible.
class Runtime {
 public:
  // A kernel and how to call it: by the driver, or as the plain function that an emulator runs.
  struct Kernel {
    const char* name;
    const void* function;
    void (*call)(const void* function, const void* args);
    size_t args_bytes;
  };
  using Graph = uint32_t;

  // Frees all memory. Does not wait for a device that hangs.
  virtual ~Runtime() = default;

  virtual const DeviceFacts& facts() const = 0;

  // Bytes of memory that are free now.
  virtual absl::StatusOr<uint64_t> FreeBytes() = 0;

  // Memory without a value, for as long as the runtime lives; `name` is for messages. Resource-
  // Exhausted names it, the bytes asked for and those that are free.
  absl::StatusOr<DeviceMemory> Allocate(std::string_view name, size_t bytes);
  absl::StatusOr<MappedMemory> AllocateMapped(std::string_view name, size_t bytes);
  // All that was allocated so far.
  const std::vector<MemoryPiece>& allocated() const { return allocated_; }

  // Sets every byte of `memory` to 0.
  virtual absl::Status Clear(const DeviceMemory& memory) = 0;

  // Copies `bytes` bytes to or from offset `offset` of `memory`, after all that was launched
  // before; done when it returns.
  virtual absl::Status Upload(const DeviceMemory& memory, size_t offset, const void* source,
                              size_t bytes) = 0;
  virtual absl::Status Download(void* target, const DeviceMemory& memory, size_t offset,
                                size_t bytes) = 0;

  // As Upload, from mapped memory, but done in the stream's order.
  virtual absl::Status Copy(const DeviceMemory& target, const MappedMemory& source,
                            size_t source_offset, size_t bytes) = 0;

  // InvalidArgument, with the value and the bound, for a shape that no block of the device can
  // have.
  absl::Status Launch(const Kernel& kernel, const LaunchShape& shape, const void* args);
  // Looks for the library that Multiply needs, and takes its memory. FailedPrecondition says what
  // is missing; the runtime is as good as before.
  virtual absl::Status LoadProducts() = 0;
  // A product by the device's library, in any order of sums, in the stream's order.
  absl::Status Multiply(const PlainProduct& product, const WorkCount& work);

  // From now on each launch waits until its kernel has run, for so long, so that an error names it.
  // Not for what becomes a graph.
  void CheckEachLaunch(std::chrono::milliseconds timeout) { check_timeout_ = timeout; }

  // From now on launches are added to `kernels`, or, if that is null, to nothing.
  void CountLaunches(std::vector<KernelWork>* kernels) { counted_ = kernels; }

  // What is launched between these becomes a graph instead of running.
  virtual absl::Status BeginGraph(std::string_view name) = 0;
  virtual absl::StatusOr<Graph> EndGraph() = 0;
  virtual absl::Status Replay(Graph graph) = 0;

  // Marks this place in the stream with `mark`, a number below kMarks.
  virtual absl::Status Mark(uint32_t mark) = 0;
  // Whether all before the place that was marked last with `mark` is done. Does not wait.
  virtual absl::StatusOr<bool> Reached(uint32_t mark) = 0;
  // Waits until it is. Unavailable, with the name `what` of what is waited for, after `timeout`.
  absl::Status WaitFor(uint32_t mark, std::string_view what, std::chrono::milliseconds timeout);

  static constexpr uint32_t kMostThreads = 1024;  // of a block
  static constexpr uint32_t kMarks = 4;
  static constexpr uint32_t kLaunchMark = kMarks - 1;  // CheckEachLaunch's own

 protected:
  // Allocate and AllocateMapped, but for the record of what was allocated.
  virtual absl::StatusOr<DeviceMemory> DoAllocate(std::string_view name, size_t bytes) = 0;
  virtual absl::StatusOr<MappedMemory> DoAllocateMapped(std::string_view name, size_t bytes) = 0;
  // Launch, but for CheckEachLaunch.
  virtual absl::Status DoLaunch(const Kernel& kernel, const LaunchShape& shape,
                                const void* args) = 0;

  // Multiply, but for CheckEachLaunch and CountLaunches.
  virtual absl::Status DoMultiply(const PlainProduct& product) = 0;

  // The error for memory that is not there; `free` bytes are.
  static absl::Status NoMemory(std::string_view name, size_t bytes, uint64_t free);

 private:
  absl::Status CheckShape(const char* name, const LaunchShape& shape) const;
  // After a launch, for those who count and check them.
  absl::Status Launched(const char* name, const WorkCount& work);

  std::vector<MemoryPiece> allocated_;
  std::optional<std::chrono::milliseconds> check_timeout_;  // of CheckEachLaunch
  std::vector<KernelWork>* counted_ = nullptr;              // of CountLaunches
};

// Launches `kernel`, a function of one argument.
template <typename Args>
absl::Status Launch(Runtime& runtime, const char* name, void (*kernel)(Args),
                    const LaunchShape& shape, const std::type_identity_t<Args>& args) {
  static_assert(std::is_trivially_copyable_v<Args> && sizeof(Args) <= 4096);
  const Runtime::Kernel erased = {
      name, reinterpret_cast<const void*>(kernel),
      [](const void* function, const void* erased_args) {
        const auto call = reinterpret_cast<void (*)(Args)>(const_cast<void*>(function));
        call(*static_cast<const Args*>(erased_args));
      },
      sizeof(Args)};
  return runtime.Launch(erased, shape, &args);
}

}  // namespace recurve

#endif  // RECURVE_ENGINE_BACKEND_CUDA_RUNTIME_H_
