// SPDX-License-Identifier: Apache-2.0
// The teeth of the random load: with any rule of the schedule, the page tables or the backend
// broken, it must fail. The schedule here is a copy whose rules can be broken (mutations.cmake).
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <iostream>
#include <new>
#include <string>

#include "gtest/gtest.h"
#include "tests/engine/schedule/random_load.h"

namespace recurve {

int schedule_mutation = 0;  // from 1, in the order of kMutations; 0: none

namespace {

struct Mutation {
  const char* name;
  uint64_t least;  // loads that must fail
};
constexpr Mutation kMutations[] = {
#include "mutation_names.inc"
};

// By default as many loads as it takes to detect a mutation this often, and no more than these.
constexpr uint64_t kEnough = 5;
constexpr uint64_t kMostCases = 4'000;

// RECURVE_SCHEDULE_MUTATION_CASES: run so many loads of each mutation and count all that fail.
struct Effort {
  uint64_t cases = kMostCases;
  uint64_t enough = kEnough;
};
Effort GetEffort() {
  const char* const cases = std::getenv("RECURVE_SCHEDULE_MUTATION_CASES");
  if (cases == nullptr) return {};
  return {std::strtoull(cases, nullptr, 10), UINT64_MAX};
}

// In memory that a child shares with its parent, since broken rules may abort the child.
struct Progress {
  uint64_t seed = 0;      // being run
  uint64_t detected = 0;  // loads that failed
};

void RunLoads(FakeFault fault, const Effort& effort, Progress* progress) {
  for (; progress->seed <= effort.cases; ++progress->seed) {
    LoadFigures figures;
    if (!RunRandomLoad(progress->seed, fault, figures).empty()) ++progress->detected;
    if (progress->detected >= effort.enough) return;
  }
}

// How many loads fail with `mutation` or `fault`, aborts included.
Progress Detect(int mutation, FakeFault fault, const Effort& effort) {
  void* const shared =
      mmap(nullptr, sizeof(Progress), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  if (shared == MAP_FAILED) std::abort();
  Progress* const progress = new (shared) Progress;
  progress->seed = 1;
  while (progress->seed <= effort.cases && progress->detected < effort.enough) {
    const pid_t child = fork();
    if (child == 0) {
      const rlimit no_core = {0, 0};
      setrlimit(RLIMIT_CORE, &no_core);
      if (std::freopen("/dev/null", "w", stderr) == nullptr) std::abort();
      schedule_mutation = mutation;
      RunLoads(fault, effort, progress);
      _exit(0);
    }
    int status = 0;
    if (child < 0 || waitpid(child, &status, 0) != child) std::abort();
    if (WIFEXITED(status) && WEXITSTATUS(status) == 0) continue;
    ++progress->detected;
    ++progress->seed;
  }
  const Progress result = *progress;
  munmap(shared, sizeof(Progress));
  return result;
}

void ExpectDetected(int mutation, FakeFault fault, const std::string& name, uint64_t least = 1) {
  Effort effort = GetEffort();
  if (least > 1) effort = {kLoads, std::max(least, effort.enough)};
  const Progress result = Detect(mutation, fault, effort);
  const uint64_t loads = std::min(result.seed, effort.cases);
  std::cout << "detected by " << result.detected << " of " << loads << " loads: " << name << '\n';
  EXPECT_GE(result.detected, least) << name;
}

TEST(MutationsTest, NothingBrokenNothingDetected) {
  EXPECT_EQ(Detect(0, FakeFault::kNone, {200, 1}).detected, 0U);
  EXPECT_EQ(Detect(0, FakeFault::kRefusesNothing, {200, 1}).detected, 0U);
}

TEST(MutationsTest, EveryBrokenRuleOfTheScheduleIsDetected) {
  int number = 0;
  for (const Mutation& mutation : kMutations) {
    ExpectDetected(++number, FakeFault::kNone, mutation.name, mutation.least);
    if (mutation.least == 1) continue;
    // Not only because the backend refuses it: what is told is wrong.
    ExpectDetected(number, FakeFault::kRefusesNothing,
                   std::string(mutation.name) + ", which no backend refuses", mutation.least);
  }
}

TEST(MutationsTest, EveryBrokenRuleOfTheBackendIsDetected) {
  ExpectDetected(0, FakeFault::kExitsEarly, "EXIT while rows are active");
  ExpectDetected(0, FakeFault::kChangesAtSubmit, "changes take effect when submitted");
  ExpectDetected(0, FakeFault::kDropsLast, "drops come after the other changes");
  ExpectDetected(0, FakeFault::kIgnoresRoom, "spans begin past their room");
  ExpectDetected(0, FakeFault::kIgnoresCaps, "caps are ignored");
  ExpectDetected(0, FakeFault::kIgnoresCopies, "pages are not copied");
  ExpectDetected(0, FakeFault::kCopiesFirst, "copies come before evictions");
  ExpectDetected(0, FakeFault::kCopiesBackwards, "copies come in another order");
}

}  // namespace
}  // namespace recurve
