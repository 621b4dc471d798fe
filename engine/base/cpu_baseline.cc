// SPDX-License-Identifier: Apache-2.0
// Compiled for the plain x86-64 instruction set and run before any other static initializer: says
// in a sentence that the processor is too old, where the rest of the program would die of SIGILL.
#if defined(__x86_64__)

#include <unistd.h>

namespace {

__attribute__((constructor(101))) void RequireX86_64V3() {
  __builtin_cpu_init();
  // Whatever has these has the rest of x86-64-v3.
  if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") &&
      __builtin_cpu_supports("bmi2")) {
    return;
  }
  static constexpr char kMessage[] =
      "recurve: this processor lacks AVX2, FMA or BMI2; Recurve needs x86-64-v3 (Intel since "
      "Haswell, AMD since Excavator).\n";
  [[maybe_unused]] const ssize_t written = write(STDERR_FILENO, kMessage, sizeof(kMessage) - 1);
  _exit(78);
}

}  // namespace

#endif  // __x86_64__
