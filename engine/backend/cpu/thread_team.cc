// SPDX-License-Identifier: Apache-2.0
#include "engine/backend/cpu/thread_team.h"

#include <system_error>

#if defined(__x86_64__)
#include <immintrin.h>
#endif

#include "absl/strings/str_cat.h"
#include "engine/base/check.h"
#include "engine/base/float_env.h"
#include "engine/base/status_macros.h"

namespace recurve {
namespace {

// Pauses before a waiting thread yields its processor, some tens of microseconds: longer than the
// parts of a step differ by when every thread has a processor of its own.
constexpr int kSpins = 1000;

void Pause() {
#if defined(__x86_64__)
  _mm_pause();
#elif defined(__aarch64__)
  asm volatile("isb" ::: "memory");
#endif
}

}  // namespace

absl::StatusOr<std::unique_ptr<ThreadTeam>> ThreadTeam::Create(uint32_t threads) {
  RECURVE_CHECK(threads >= 1);
  std::unique_ptr<ThreadTeam> team(new ThreadTeam(threads));
  RETURN_IF_ERROR(team->Start());
  return team;
}

ThreadTeam::ThreadTeam(uint32_t threads)
    : size_(threads), flags_(std::make_unique<Flag[]>(threads)) {}

absl::Status ThreadTeam::Start() {
  threads_.reserve(size_ - 1);
  for (uint32_t i = 1; i < size_; ++i) {
    try {
      threads_.emplace_back([this, i] { Work(i); });
    } catch (const std::system_error& error) {
      return absl::ResourceExhaustedError(absl::StrCat("threads: found ", size_,
                                                       "; the system starts only ", i - 1,
                                                       " beside this one: ", error.what()));
    }
  }
  return absl::OkStatus();
}

ThreadTeam::~ThreadTeam() {
  fn_ = nullptr;
  runs_.fetch_add(1, std::memory_order_release);
  runs_.notify_all();
  for (std::thread& thread : threads_) thread.join();
}

void ThreadTeam::Run(absl::FunctionRef<void(uint32_t)> fn) {
  const ScopedFloatEnv env;
  if (size_ > 1) {
    fn_ = &fn;
    runs_.fetch_add(1, std::memory_order_release);
    runs_.notify_all();
  }
  fn(0);
  Barrier(0);
}

void ThreadTeam::Work(uint32_t thread) {
  const ScopedFloatEnv env;
  for (uint32_t done = 0;; ++done) {
    for (int i = 0; i < kSpins && runs_.load(std::memory_order_acquire) == done; ++i) Pause();
    runs_.wait(done, std::memory_order_acquire);
    if (fn_ == nullptr) return;
    (*fn_)(thread);
    Barrier(thread);
  }
}

void ThreadTeam::Barrier(uint32_t thread) {
  // A thread is at most one barrier ahead of another, so the difference of the wrapping counters
  // tells who has arrived.
  const uint32_t arrival = flags_[thread].arrivals.load(std::memory_order_relaxed) + 1;
  flags_[thread].arrivals.store(arrival, std::memory_order_release);
  int spins = 0;
  for (uint32_t other = 0; other < size_; ++other) {
    while (static_cast<int32_t>(flags_[other].arrivals.load(std::memory_order_acquire) - arrival) <
           0) {
      if (++spins < kSpins) {
        Pause();
      } else {
        std::this_thread::yield();
      }
    }
  }
}

}  // namespace recurve
