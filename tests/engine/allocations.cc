// SPDX-License-Identifier: Apache-2.0
#include "tests/engine/allocations.h"

#include <atomic>
#include <cerrno>
#include <cstddef>
#include <cstdlib>

// What glibc's own malloc, realloc and so on are called beside these names.
// NOLINTBEGIN(bugprone-reserved-identifier): they are glibc's to choose.
extern "C" {
void* __libc_malloc(size_t size);
void* __libc_calloc(size_t count, size_t size);
void* __libc_realloc(void* memory, size_t size);
void* __libc_memalign(size_t alignment, size_t size);
void __libc_free(void* memory);
}
// NOLINTEND(bugprone-reserved-identifier)

namespace {

std::atomic<uint64_t> of_all{0};
thread_local uint64_t of_this{0};
thread_local uint64_t bytes_of_this{0};

void Count(size_t bytes) {
  of_all.fetch_add(1, std::memory_order_relaxed);
  ++of_this;
  bytes_of_this += bytes;
}

}  // namespace

extern "C" {

void* malloc(size_t size) {
  Count(size);
  return __libc_malloc(size);
}

void* calloc(size_t count, size_t size) {
  Count(count * size);
  return __libc_calloc(count, size);
}

void* realloc(void* memory, size_t size) {
  Count(size);
  return __libc_realloc(memory, size);
}

void* memalign(size_t alignment, size_t size) {
  Count(size);
  return __libc_memalign(alignment, size);
}

void* aligned_alloc(size_t alignment, size_t size) { return memalign(alignment, size); }

int posix_memalign(void** memory, size_t alignment, size_t size) {
  void* const aligned = memalign(alignment, size);
  if (aligned == nullptr) return ENOMEM;
  *memory = aligned;
  return 0;
}

void free(void* memory) { __libc_free(memory); }

}  // extern "C"

namespace recurve {

uint64_t AllocationsOfThisThread() { return of_this; }

uint64_t AllocatedBytesOfThisThread() { return bytes_of_this; }

uint64_t AllocationsOfAllThreads() { return of_all.load(std::memory_order_relaxed); }

}  // namespace recurve
