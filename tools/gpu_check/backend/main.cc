// SPDX-License-Identifier: Apache-2.0
// recurve-backend-check: whether the CUDA backend computes on this card what it should.
#include <cstdio>
#include <memory>
#include <string>
#include <string_view>

#include "absl/status/statusor.h"
#include "absl/strings/numbers.h"
#include "engine/backend/cuda/runtime.h"
#include "tools/gpu_check/backend/device.h"
#include "tools/gpu_check/backend/stages.h"
#include "tools/gpu_check/report.h"

namespace recurve::gpu_check {
namespace {

struct Stage {
  const char* name;
  const char* question;
  int (*run)(const StageOptions&);
};
constexpr Stage kStages[] = {
    {"f32_twin", "whether each step in f32 is the CPU's, word for word", F32TwinStage},
    {"bf16_digests", "whether all steps in bf16 have the bits that emulation gives",
     Bf16DigestsStage},
    {"invariance", "whether bits in bf16 depend on anything that they may not depend on",
     InvarianceStage},
};

void PrintUsage() {
  std::printf(
      "Usage: recurve-backend-check STAGE [FLAG...]\n\nPrints a line of JSON for each "
      "model. Stages:\n");
  for (const Stage& stage : kStages) std::printf("  %-14s%s\n", stage.name, stage.question);
  std::printf(
      "Flags:\n"
      "  --smallest      one small model alone\n"
      "  --eager         kernels launched by themselves instead of in graphs\n"
      "  --loads=N       random loads: 60 unless told otherwise; bf16_digests has at most 20\n"
      "  --digests=FILE  of bf16_digests: what to compare with\n"
      "  --write         of bf16_digests: write the file instead\n"
      "Exit status: 0; 1 where bits are not as expected or a step failed; 2 for a wrong command "
      "line or no device.\n");
}

// Whether the flag is known.
bool Parse(std::string_view flag, StageOptions& options) {
  constexpr std::string_view kLoads = "--loads=";
  constexpr std::string_view kDigests = "--digests=";
  if (flag == "--smallest") {
    options.smallest = true;
  } else if (flag == "--eager") {
    options.eager = true;
  } else if (flag == "--write") {
    options.write = true;
  } else if (flag.substr(0, kLoads.size()) == kLoads) {
    return absl::SimpleAtoi(std::string(flag.substr(kLoads.size())), &options.loads);
  } else if (flag.substr(0, kDigests.size()) == kDigests) {
    options.digests = flag.substr(kDigests.size());
  } else {
    return false;
  }
  return true;
}

int RunStage(const Stage& stage, const StageOptions& options) {
  const absl::StatusOr<std::unique_ptr<Runtime>> runtime = MakeRuntime({});
  if (!runtime.ok()) {
    std::fprintf(stderr, "recurve-backend-check: %s\n",
                 std::string(runtime.status().message()).c_str());
    return 2;
  }
  const int findings = stage.run(options);
  Report(stage.name, "end",
         {{"device", (*runtime)->facts().name}, {"findings", static_cast<double>(findings)}});
  return findings == 0 ? 0 : 1;
}

int Main(int argc, char** argv) {
  const std::string_view wanted = argc > 1 ? argv[1] : "--help";
  StageOptions options;
  bool understood = true;
  for (int i = 2; i < argc; ++i) understood = understood && Parse(argv[i], options);
  for (const Stage& stage : kStages) {
    if (understood && wanted == stage.name) return RunStage(stage, options);
  }
  PrintUsage();
  return wanted == "--help" ? 0 : 2;
}

}  // namespace
}  // namespace recurve::gpu_check

int main(int argc, char** argv) { return recurve::gpu_check::Main(argc, argv); }
