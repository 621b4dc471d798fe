// SPDX-License-Identifier: Apache-2.0
// The flags of recurve-bench.
#ifndef RECURVE_ENGINE_BENCH_FLAGS_H_
#define RECURVE_ENGINE_BENCH_FLAGS_H_

#include <CLI/CLI.hpp>
#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "engine/backend/factory/make_backend.h"
#include "engine/bench/measurement.h"
#include "engine/schedule/policy.h"

namespace recurve {

// What the command line says; `backend` and `bench` are whole after SettleFlags.
struct BenchFlags {
  std::string model, shape, depths, precision = "bf16", kv_precision = "auto",
                                    policies_text = "staged", threads = "auto",
                                    queue_depth = "auto", format = "text";
  uint32_t recursions = 3, layers = 0, repeat = 5, warmup = 1;
  uint32_t ends_min = 0;             // 0: the policies'
  bool size = false;                 // print a SizeAnswer instead of running
  uint32_t context = 0;              // of --size; 0: the model's
  double bandwidth = 0, tflops = 0;  // of --size: GB/s, TFLOP/s
  bool kernels = false;              // measure products instead of running
  bool attention = false;            // measure attention alone instead of running
  BackendOptions backend;
  BenchOptions bench;
  std::vector<std::string> policy_names;  // of --policy; one, without a name, for --ends_min
  std::vector<Policy> policies;
};

// Binds all flags, and what --help says of figures, to `flags`, which outlives `app`.
void AddFlags(CLI::App& app, BenchFlags& flags);

// Fills in what the flags say as text. InvalidArgument names the flag, the value and what is
// possible.
absl::Status SettleFlags(BenchFlags& flags);

}  // namespace recurve

#endif  // RECURVE_ENGINE_BENCH_FLAGS_H_
