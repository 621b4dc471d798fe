// SPDX-License-Identifier: Apache-2.0
// Preloaded into a server: tells, again and again, how much its malloc has given out. Resident
// memory says less, since it keeps what was ever needed at once.
#include "tests/soak/heap_report.h"

#include <fcntl.h>
#include <malloc.h>
#include <pthread.h>
#include <sys/mman.h>
#include <unistd.h>

#include <csignal>
#include <cstdlib>

namespace recurve::soak {
namespace {

constexpr useconds_t kEveryMicroseconds = 20000;

void* Report(void* shared) {
  auto* const report = static_cast<HeapReport*>(shared);
  while (true) {
    const struct mallinfo2 info = mallinfo2();
    report->bytes = info.uordblks + info.hblkhd;
    ++report->reports;
    usleep(kEveryMicroseconds);
  }
}

// No descriptor stays open, and no signal comes to the thread: the server has its own for them.
__attribute__((constructor)) void Begin() {
  const char* const path = std::getenv(kHeapReportVariable);
  if (path == nullptr) return;
  const int file = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
  if (file < 0 || ftruncate(file, sizeof(HeapReport)) != 0) std::abort();
  void* const shared =
      mmap(nullptr, sizeof(HeapReport), PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
  close(file);
  if (shared == MAP_FAILED) std::abort();
  sigset_t all, before;
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &before);
  pthread_t thread{};
  if (pthread_create(&thread, nullptr, &Report, shared) != 0) std::abort();
  pthread_detach(thread);
  pthread_sigmask(SIG_SETMASK, &before, nullptr);
}

}  // namespace
}  // namespace recurve::soak
