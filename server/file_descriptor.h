// SPDX-License-Identifier: Apache-2.0
// A file descriptor that is closed once.
#ifndef RECURVE_SERVER_FILE_DESCRIPTOR_H_
#define RECURVE_SERVER_FILE_DESCRIPTOR_H_

#include <unistd.h>

#include <utility>

namespace recurve {

// Owns a descriptor, or none (-1).
class FileDescriptor {
 public:
  FileDescriptor() = default;
  explicit FileDescriptor(int descriptor) : descriptor_(descriptor) {}
  FileDescriptor(FileDescriptor&& other) noexcept : descriptor_(other.Release()) {}
  FileDescriptor& operator=(FileDescriptor&& other) noexcept {
    if (this != &other) Reset(other.Release());
    return *this;
  }
  ~FileDescriptor() { Reset(-1); }

  int get() const { return descriptor_; }
  // Hands the descriptor to the caller.
  int Release() { return std::exchange(descriptor_, -1); }

 private:
  void Reset(int descriptor) {
    if (descriptor_ >= 0) close(descriptor_);
    descriptor_ = descriptor;
  }

  int descriptor_ = -1;
};

}  // namespace recurve

#endif  // RECURVE_SERVER_FILE_DESCRIPTOR_H_
