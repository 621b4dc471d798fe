// SPDX-License-Identifier: Apache-2.0
#ifndef RECURVE_TESTS_SIMT_MEMORY_ACCOUNT_H_
#define RECURVE_TESTS_SIMT_MEMORY_ACCOUNT_H_

#include <array>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <memory>
#include <string>
#include <utility>

#include "engine/backend/cuda/device_memory.h"
#include "tests/simt/reports.h"

namespace recurve {

// One piece of emulated device memory and what is known of it: which bytes have a value, and how
// kernels use it. DeviceMemory::tracker points to it. Owns the memory; its runtime owns it. Memory
// without a value is full of 0xFF: NaN, or -1. Thread-compatible.
class MemoryAccount {
 public:
  static constexpr size_t kAlignment = 256;
  static constexpr size_t kMaxElementBytes = 256;

  // `reports` gets what is wrong with spans that the host makes.
  MemoryAccount(std::string name, size_t bytes, Reports* reports)
      : name_(std::move(name)), bytes_(bytes), reports_(reports) {
    const size_t room = (bytes + kAlignment - 1) / kAlignment * kAlignment;
    storage_.reset(new (std::align_val_t{kAlignment}) std::byte[2 * room]);
    std::memset(storage_.get(), 0xFF, room);
    std::memset(storage_.get() + room, 0, room);
    to_mark_ = room;
  }
  MemoryAccount(const MemoryAccount&) = delete;
  MemoryAccount& operator=(const MemoryAccount&) = delete;

  const std::string& name() const { return name_; }
  size_t bytes() const { return bytes_; }
  Reports& reports() { return *reports_; }
  DeviceMemory memory() { return {storage_.get(), bytes_, this}; }
  size_t OffsetOf(const void* data) const {
    return static_cast<size_t>(static_cast<const std::byte*>(data) - storage_.get());
  }

  // Whether all of the kBytes bytes at `data` have a value; gives them one.
  template <size_t kBytes>
  bool IsWritten(const void* data) const {
    static_assert(kBytes <= kMaxElementBytes);
    return std::memcmp(MarkOf(data), kAllWritten.data(), kBytes) == 0;
  }
  template <size_t kBytes>
  void SetWritten(const void* data) {
    std::memset(MarkOf(data), kWritten, kBytes);
  }

  // The bytes at `to` have a value where those at `from` have.
  template <size_t kBytes>
  void CopyMarks(const void* to, const void* from) {
    std::memmove(MarkOf(to), MarkOf(from), kBytes);
  }

  // The same of any number of bytes: how many of them, from the first on, have a value.
  size_t CountWritten(const void* data, size_t bytes) const {
    const uint8_t* const marks = MarkOf(data);
    size_t count = 0;
    while (count < bytes && marks[count] == kWritten) ++count;
    return count;
  }
  void SetWritten(const void* data, size_t bytes) { std::memset(MarkOf(data), kWritten, bytes); }

  bool read_as_constant = false;   // by any kernel ever
  bool written_by_kernel = false;  // since the host last waited for the device

 private:
  static constexpr uint8_t kWritten = 0xFF;
  static constexpr std::array<uint8_t, kMaxElementBytes> kAllWritten = [] {
    std::array<uint8_t, kMaxElementBytes> marks{};
    marks.fill(kWritten);
    return marks;
  }();

  struct Free {
    void operator()(std::byte* storage) const {
      ::operator delete[](storage, std::align_val_t{kAlignment});
    }
  };

  // A mark a byte; all marks stand behind all bytes.
  uint8_t* MarkOf(const void* data) const {
    return reinterpret_cast<uint8_t*>(storage_.get()) + OffsetOf(data) + to_mark_;
  }

  std::string name_;
  size_t bytes_;
  Reports* reports_;
  std::unique_ptr<std::byte[], Free> storage_;
  size_t to_mark_ = 0;
};

}  // namespace recurve

#endif  // RECURVE_TESTS_SIMT_MEMORY_ACCOUNT_H_
