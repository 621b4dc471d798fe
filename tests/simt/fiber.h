// SPDX-License-Identifier: Apache-2.0
#ifndef RECURVE_TESTS_SIMT_FIBER_H_
#define RECURVE_TESTS_SIMT_FIBER_H_

#include <cstddef>

#include <boost/context/detail/fcontext.hpp>

namespace recurve {

// A function that stops in its middle and goes on later, on a stack that the fiber owns. The thread
// of the process that began the function must be the one that goes on with it. A stack that
// overflows runs into a page without access. The floating-point mode of whoever makes or restarts a
// fiber is the fiber's.
class Fiber {
 public:
  // Resume() will call `body` with `data`.
  Fiber(void (*body)(void*), void* data);
  ~Fiber();
  Fiber(const Fiber&) = delete;
  Fiber& operator=(const Fiber&) = delete;

  // Begins the body, or goes on with it after its Suspend(). Returns when it suspends itself or
  // ends; after its end, the next call begins it again.
  void Resume();

  // Called by the body: back to Resume().
  void Suspend();

  // Forgets a body that is suspended: the next Resume() begins it again. What its frames hold is
  // not destroyed.
  void Restart();

 private:
  static void Enter(boost::context::detail::transfer_t from);

  void (*body_)(void*);
  void* data_;
  bool is_idle_ = false;                          // the body has ended
  bool is_left_ = false;                          // for good
  std::byte* mapped_;                             // a page without access, then the stack
  boost::context::detail::fcontext_t context_{};  // where the body goes on
  boost::context::detail::fcontext_t caller_{};   // where Resume() goes on

  // What AddressSanitizer wants to know of both stacks.
  void* fake_stack_ = nullptr;
  const void* caller_stack_ = nullptr;
  size_t caller_stack_bytes_ = 0;
};

}  // namespace recurve

#endif  // RECURVE_TESTS_SIMT_FIBER_H_
