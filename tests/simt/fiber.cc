// SPDX-License-Identifier: Apache-2.0
#include "tests/simt/fiber.h"

#include <sys/mman.h>

#include "engine/base/check.h"

#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/asan_interface.h>
#include <sanitizer/common_interface_defs.h>
#endif

namespace recurve {
namespace {

using boost::context::detail::jump_fcontext;
using boost::context::detail::make_fcontext;
using boost::context::detail::transfer_t;

constexpr size_t kGuardBytes = 4096;

#if defined(__SANITIZE_ADDRESS__)

constexpr size_t kStackBytes = 256 << 10;  // its frames are larger

void BeginSwitch(void** fake_stack, const void* stack, size_t bytes) {
  __sanitizer_start_switch_fiber(fake_stack, stack, bytes);
}
void EndSwitch(void* fake_stack, const void** old_stack, size_t* old_bytes) {
  __sanitizer_finish_switch_fiber(fake_stack, old_stack, old_bytes);
}
void ForgetFrames(const void* stack, size_t bytes) { __asan_unpoison_memory_region(stack, bytes); }

#else

constexpr size_t kStackBytes = 64 << 10;

void BeginSwitch(void** /*fake_stack*/, const void* /*stack*/, size_t /*bytes*/) {}
void EndSwitch(void* /*fake_stack*/, const void** /*old_stack*/, size_t* /*old_bytes*/) {}
void ForgetFrames(const void* /*stack*/, size_t /*bytes*/) {}

#endif

}  // namespace

Fiber::Fiber(void (*body)(void*), void* data) : body_(body), data_(data) {
  void* const mapped = mmap(nullptr, kGuardBytes + kStackBytes, PROT_READ | PROT_WRITE,
                            MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  RECURVE_CHECK(mapped != MAP_FAILED);
  mapped_ = static_cast<std::byte*>(mapped);
  RECURVE_CHECK(mprotect(mapped_, kGuardBytes, PROT_NONE) == 0);
  Restart();
}

Fiber::~Fiber() {
  if (is_idle_) {
    is_left_ = true;
    Resume();
  }
  ForgetFrames(mapped_ + kGuardBytes, kStackBytes);
  munmap(mapped_, kGuardBytes + kStackBytes);
}

void Fiber::Restart() {
  is_idle_ = false;
  ForgetFrames(mapped_ + kGuardBytes, kStackBytes);
  context_ = make_fcontext(mapped_ + kGuardBytes + kStackBytes, kStackBytes, &Fiber::Enter);
}

void Fiber::Resume() {
  void* fake_stack = nullptr;
  BeginSwitch(&fake_stack, mapped_ + kGuardBytes, kStackBytes);
  context_ = jump_fcontext(context_, this).fctx;
  EndSwitch(fake_stack, nullptr, nullptr);
}

void Fiber::Suspend() {
  BeginSwitch(&fake_stack_, caller_stack_, caller_stack_bytes_);
  caller_ = jump_fcontext(caller_, nullptr).fctx;
  EndSwitch(fake_stack_, &caller_stack_, &caller_stack_bytes_);
}

void Fiber::Enter(transfer_t from) {
  auto* const fiber = static_cast<Fiber*>(from.data);
  EndSwitch(nullptr, &fiber->caller_stack_, &fiber->caller_stack_bytes_);
  fiber->caller_ = from.fctx;
  while (!fiber->is_left_) {
    fiber->is_idle_ = false;
    fiber->body_(fiber->data_);
    fiber->is_idle_ = true;
    fiber->Suspend();
  }
  // Without a place to keep it, AddressSanitizer frees what it has for this stack.
  BeginSwitch(nullptr, fiber->caller_stack_, fiber->caller_stack_bytes_);
  jump_fcontext(fiber->caller_, nullptr);
}

}  // namespace recurve
