// SPDX-License-Identifier: Apache-2.0
// The teeth of the CUDA backend's tests: with any rule of its kernels broken, a load must fail. The
// kernels here are copies whose rules can be broken (mutations.cmake).
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cctype>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <iostream>
#include <iterator>
#include <new>
#include <set>
#include <string>
#include <vector>

#include "gtest/gtest.h"
#include "tests/engine/backend/cuda/model_load.h"
#include "tests/engine/backend/cuda/page_load.h"
#include "tests/engine/backend/cuda/planner_load.h"
#include "tools/gpu_check/backend/cases.h"
#include "tools/gpu_check/backend/device_backend.h"
#include "tools/gpu_check/backend/digested_run.h"

namespace recurve::cuda {
namespace {

// Which loads must notice it.
enum class Check : uint8_t { planner, broken, caps, models, pages, bits };

struct Mutation {
  const char* source;
  const char* name;
  Check check;
};
constexpr Mutation kMutations[] = {
#include "mutation_names.inc"
};

// A load that computes for longer than this hangs, which is noticed too. Not by the clock: a busy
// machine would be taken for it.
constexpr itimerval kMostTime = {.it_interval = {}, .it_value = {.tv_sec = 30, .tv_usec = 0}};

// In memory that a child shares with its parent, since broken rules may abort the child.
struct Progress {
  uint64_t seed = 0;  // being run
  char error[400] = {};
};

// What the bf16 backend runs, by its names in the file of digests: what is small and notices most
// comes first. Long ones whose entries several blocks share stand where they have multiprocessors.
constexpr const char* kBits[] = {
    "many_squares",   "token_update",   "long_context",   "many_inputs",    "vanilla",
    "long_mass",      "random load 4",  "random load 1",  "random load 17", "long_heads",
    "random load 13", "random load 9",  "random load 19", "random load 15", "random load 2",
    "random load 3",  "random load 5",  "random load 6",  "random load 7",  "random load 8",
    "random load 10", "random load 11", "random load 12", "random load 14", "random load 16",
    "random load 18", "random load 20", "expert",         "expert_shared",  "expert_update",
    "token",          "sequence",       "heads_of_64",    "heads_of_96",    "heads_of_128"};

gpu_check::DigestedRun RunBits(const std::string& name, uint64_t seed) {
  static const std::vector<gpu_check::Case> cases = gpu_check::Cases();
  for (const gpu_check::Case& run : cases) {
    if (run.name != name) continue;
    // No order and no number of multiprocessors may change a bit. Without a seed a warp runs ahead
    // as far as it can, with one they take turns.
    const LoadDevice device = {.multiprocessors = seed % 4 == 2 ? 8U : 1U,
                               .seed = seed % 2 == 0 ? seed : 0};
    return gpu_check::DigestCase(run, {.device = device});
  }
  return gpu_check::DigestLoad(std::stoull(name.substr(name.rfind(' '))));
}

// Compares with the digest that a card must have too.
std::string RunBits(uint64_t seed) {
  static const gpu_check::Digests digests = gpu_check::ReadDigests(RECURVE_BF16_DIGESTS);
  const gpu_check::DigestedRun run = RunBits(kBits[(seed - 1) % std::size(kBits)], seed);
  if (!run.error.empty()) return run.name + ": " + run.error;
  return run.digest.Text() == digests.at(run.name) ? "" : run.name + " has other bits";
}

std::string RunLoad(Check check, uint64_t seed) {
  ModelFigures models;
  LoadFigures load;
  PlannerFigures planner;
  switch (check) {
    case Check::planner:
      return RunPlannerLoad(seed, load, planner);
    case Check::broken:
      return RunBrokenLoad(seed, planner);
    case Check::caps:
      return RunCapChanges(seed);
    case Check::models:
      return RunModelLoad(seed, models);
    case Check::pages:
      return RunPageChanges(seed);
    case Check::bits:
      return RunBits(seed);
  }
  return "";
}

void RunLoads(Check check, uint64_t loads, Progress* progress) {
  for (progress->seed = 1; progress->seed <= loads; ++progress->seed) {
    setitimer(ITIMER_PROF, &kMostTime, nullptr);
    const std::string error = RunLoad(check, progress->seed);
    if (error.empty()) continue;
    std::snprintf(progress->error, sizeof(progress->error), "%s", error.c_str());
    return;
  }
}

// What the first of the loads that fails with `mutation` says; empty if none does.
std::string Detect(int mutation, Check check, uint64_t loads) {
  void* const shared =
      mmap(nullptr, sizeof(Progress), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  if (shared == MAP_FAILED) std::abort();
  Progress* const progress = new (shared) Progress;
  const pid_t child = fork();
  if (child == 0) {
    const rlimit no_core = {0, 0};
    setrlimit(RLIMIT_CORE, &no_core);
    if (std::freopen("/dev/null", "w", stderr) == nullptr) std::abort();
    cuda_mutation = mutation;  // which the copies of the kernels' headers declare
    RunLoads(check, loads, progress);
    _exit(0);
  }
  int status = 0;
  if (child < 0 || waitpid(child, &status, 0) != child) std::abort();
  std::string error = progress->error;
  if (WIFSIGNALED(status)) error = std::string("ends by signal ") + strsignal(WTERMSIG(status));
  if (!error.empty()) error = "load " + std::to_string(progress->seed) + ": " + error;
  munmap(shared, sizeof(Progress));
  return error;
}

// As many loads as the suite runs itself.
uint64_t MostLoads(Check check) {
  switch (check) {
    case Check::planner:
      return kPlannerLoads;
    case Check::models:
      return kModelLoads;
    case Check::bits:
      return std::size(kBits);
    default:
      return 20;
  }
}

// A case for each source, so that they run side by side.
class MutationsTest : public testing::TestWithParam<std::string> {};

TEST_P(MutationsTest, EveryBrokenRuleIsNoticed) {
  int number = 0;
  for (const Mutation& mutation : kMutations) {
    ++number;
    if (mutation.source != GetParam()) continue;
    const std::string error = Detect(number, mutation.check, MostLoads(mutation.check));
    EXPECT_NE(error, "") << "nobody notices that " << mutation.name;
    std::cout << mutation.name << " -> " << error << '\n';
  }
}

std::set<std::string> Sources() {
  std::set<std::string> sources;
  for (const Mutation& mutation : kMutations) sources.insert(mutation.source);
  return sources;
}

std::string NameOf(const testing::TestParamInfo<std::string>& info) {
  std::string name = info.param;
  std::replace(name.begin(), name.end(), '.', '_');
  return name;
}

INSTANTIATE_TEST_SUITE_P(Sources, MutationsTest, testing::ValuesIn(Sources()), NameOf);

TEST(MutationsTest, ThereAreManyAndWithoutOneNothingIsNoticed) {
  EXPECT_GE(std::size(kMutations), 40U);
  for (const Check check :
       {Check::planner, Check::broken, Check::caps, Check::models, Check::pages, Check::bits}) {
    EXPECT_EQ(Detect(0, check, 8), "");
  }
}

}  // namespace
}  // namespace recurve::cuda
