// SPDX-License-Identifier: Apache-2.0
#include "engine/backend/cpu/kernels/huge_buffer.h"

#include <sys/mman.h>

#include <cstdint>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "engine/base/status_macros.h"

namespace recurve {
namespace {

constexpr size_t kPage = 4096;
constexpr size_t kHugePage = size_t{2} << 20;
// What nobody writes of it takes no memory.
constexpr size_t kRegion = 16 * kHugePage;

}  // namespace

absl::StatusOr<HugeBuffer> HugeBuffer::Allocate(size_t bytes) {
  HugeBuffer buffer;
  if (bytes == 0) return buffer;
  const bool huge = bytes >= kHugePage;
  const size_t alignment = huge ? kHugePage : kPage;
  if (bytes > SIZE_MAX - 2 * kHugePage) {
    return absl::ResourceExhaustedError(absl::StrCat("cannot allocate ", bytes, " bytes"));
  }
  const size_t size = (bytes + alignment - 1) / alignment * alignment;
  // Huge pages need a range that begins at a multiple of their size: map one more and give back the
  // ends.
  const size_t reserved = huge ? size + kHugePage : size;
  void* const mapping =
      mmap(nullptr, reserved, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (mapping == MAP_FAILED) {
    return absl::ResourceExhaustedError(absl::StrCat("cannot allocate ", bytes, " bytes"));
  }
  auto* const begin = static_cast<std::byte*>(mapping);
  const size_t before = (alignment - reinterpret_cast<uintptr_t>(begin) % alignment) % alignment;
  const size_t after = reserved - before - size;
  if (before != 0) munmap(begin, before);
  if (after != 0) munmap(begin + before + size, after);
  buffer.data_ = begin + before;
  buffer.size_ = bytes;
  buffer.mapped_ = size;
  // Advice: where the system has no huge pages, small ones serve.
  if (huge) madvise(buffer.data_, size, MADV_HUGEPAGE);
  return buffer;
}

HugeBuffer::HugeBuffer(HugeBuffer&& other) noexcept
    : data_(std::exchange(other.data_, nullptr)),
      size_(std::exchange(other.size_, 0)),
      mapped_(std::exchange(other.mapped_, 0)),
      region_(std::move(other.region_)) {}

HugeBuffer& HugeBuffer::operator=(HugeBuffer&& other) noexcept {
  std::swap(data_, other.data_);
  std::swap(size_, other.size_);
  std::swap(mapped_, other.mapped_);
  std::swap(region_, other.region_);
  return *this;
}

HugeBuffer::~HugeBuffer() {
  if (mapped_ != 0) munmap(data_, mapped_);
}

absl::StatusOr<HugeBuffer> HugeArena::Allocate(size_t bytes) {
  if (bytes == 0 || bytes > kRegion) return HugeBuffer::Allocate(bytes);
  if (region_ == nullptr || kRegion - used_ < bytes) {
    ASSIGN_OR_RETURN(HugeBuffer region, HugeBuffer::Allocate(kRegion));
    region_ = std::make_shared<HugeBuffer>(std::move(region));
    used_ = 0;
  }
  HugeBuffer buffer;
  buffer.data_ = region_->data() + used_;
  buffer.size_ = bytes;
  buffer.region_ = region_;
  used_ += (bytes + kPage - 1) / kPage * kPage;
  return buffer;
}

}  // namespace recurve
