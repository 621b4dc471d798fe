// SPDX-License-Identifier: Apache-2.0
// A file descriptor that is closed in the end.
#ifndef RECURVE_ENGINE_BASE_SCOPED_DESCRIPTOR_H_
#define RECURVE_ENGINE_BASE_SCOPED_DESCRIPTOR_H_

#include <unistd.h>

#include <utility>

namespace recurve {

// Owns a descriptor, or none (-1). Not thread-safe.
class ScopedDescriptor {
 public:
  explicit ScopedDescriptor(int descriptor = -1) : descriptor_(descriptor) {}
  ScopedDescriptor(ScopedDescriptor&& other) noexcept : descriptor_(other.Release()) {}
  ScopedDescriptor& operator=(ScopedDescriptor&& other) noexcept {
    Reset(other.Release());
    return *this;
  }
  ~ScopedDescriptor() { Reset(); }

  int get() const { return descriptor_; }
  bool valid() const { return descriptor_ >= 0; }

  // The caller closes it.
  [[nodiscard]] int Release() { return std::exchange(descriptor_, -1); }

  // Closes it and owns `descriptor`.
  void Reset(int descriptor = -1) {
    if (descriptor_ >= 0) close(descriptor_);
    descriptor_ = descriptor;
  }

 private:
  int descriptor_;
};

}  // namespace recurve

#endif  // RECURVE_ENGINE_BASE_SCOPED_DESCRIPTOR_H_
