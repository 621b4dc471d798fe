// SPDX-License-Identifier: Apache-2.0
// Memory for weights, pages and activations.
#ifndef RECURVE_ENGINE_BACKEND_CPU_KERNELS_HUGE_BUFFER_H_
#define RECURVE_ENGINE_BACKEND_CPU_KERNELS_HUGE_BUFFER_H_

#include <cstddef>
#include <memory>

#include "absl/status/statusor.h"

namespace recurve {

// Anonymous zeroed memory, on huge pages where the system grants them (from 2 MB on). Move-only
// owner. Pages become resident when first written.
class HugeBuffer {
 public:
  // At least `bytes`, aligned to 4 KB, to 2 MB if it is as large. RESOURCE_EXHAUSTED when the
  // system refuses. Zero bytes: an empty buffer.
  static absl::StatusOr<HugeBuffer> Allocate(size_t bytes);

  HugeBuffer() = default;
  HugeBuffer(HugeBuffer&& other) noexcept;
  HugeBuffer& operator=(HugeBuffer&& other) noexcept;
  ~HugeBuffer();

  std::byte* data() { return data_; }
  const std::byte* data() const { return data_; }
  size_t size() const { return size_; }  // bytes, as asked for

 private:
  friend class HugeArena;

  std::byte* data_ = nullptr;
  size_t size_ = 0;
  size_t mapped_ = 0;                         // bytes; 0: of a region
  std::shared_ptr<const HugeBuffer> region_;  // which goes with the last of its buffers
};

// Hands out buffers that lie one after the other in regions of huge pages: those that are smaller
// than such a page have it too, and no page but a region's last one is filled in part. Thread-
// compatible. Buffers may outlive it.
class HugeArena {
 public:
  // As HugeBuffer::Allocate, aligned to 4 KB.
  absl::StatusOr<HugeBuffer> Allocate(size_t bytes);

 private:
  std::shared_ptr<HugeBuffer> region_;  // of which the next buffer is, if it has room
  size_t used_ = 0;                     // bytes of it
};

}  // namespace recurve

#endif  // RECURVE_ENGINE_BACKEND_CPU_KERNELS_HUGE_BUFFER_H_
