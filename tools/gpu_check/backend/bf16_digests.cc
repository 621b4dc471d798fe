// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <cstdio>
#include <fstream>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "engine/base/status_macros.h"
#include "tests/engine/backend/cuda/model_load.h"
#include "tests/engine/backend/step_driver.h"
#include "tools/gpu_check/backend/cases.h"
#include "tools/gpu_check/backend/device_backend.h"
#include "tools/gpu_check/backend/stages.h"
#include "tools/gpu_check/backend/step_digest.h"
#include "tools/gpu_check/report.h"

namespace recurve::gpu_check {
namespace {

constexpr char kStage[] = "bf16_digests";
constexpr uint64_t kMostLoads = 16;  // emulation in bf16 takes most of a second for each

// Digests by the names of what was run.
using Digests = std::map<std::string, std::string>;

// A line each: the digest, a blank, the name.
Digests ReadDigests(const std::string& path) {
  Digests digests;
  std::ifstream file(path);
  std::string digest;
  std::string name;
  while (file >> digest && std::getline(file >> std::ws, name)) digests[name] = digest;
  return digests;
}

class Checked {
 public:
  explicit Checked(const StageOptions& options) : options_(options) {
    if (!options.write) expected_ = ReadDigests(options.digests);
  }

  void Add(const std::string& name, const StepDigest& digest, const std::string& error) {
    const std::string found = absl::StrFormat("%016x", digest.value);
    const std::string& expected = expected_[name];
    const bool wrong = !error.empty() || (!options_.write && found != expected);
    std::vector<Field> fields = {{"steps", static_cast<double>(digest.steps)}, {"digest", found}};
    if (!error.empty()) fields.emplace_back("error", error);
    if (wrong && error.empty()) {
      fields.emplace_back("expected", expected.empty() ? "not in the file" : expected);
    }
    fields.emplace_back("wrong", wrong ? 1.0 : 0.0);
    Report(kStage, name, fields);
    findings_ += wrong ? 1 : 0;
    if (options_.write) absl::StrAppend(&written_, found, " ", name, "\n");
  }

  // The number of findings.
  int Finish() {
    if (!options_.write || findings_ > 0) return findings_;
    std::ofstream file(options_.digests, std::ios::trunc);
    file << written_ << std::flush;
    if (file.good()) return 0;
    std::fprintf(stderr, "recurve-backend-check: '%s' cannot be written\n",
                 options_.digests.c_str());
    return 1;
  }

 private:
  const StageOptions& options_;
  Digests expected_;
  std::string written_;
  int findings_ = 0;
};

absl::Status RunCase(const Case& run, bool eager, StepDigest& digest) {
  ASSIGN_OR_RETURN(std::unique_ptr<Backend> device,
                   MakeDeviceBackend(run.model, run.limits, {.eager = eager}));
  DigestedBackend backend(std::move(device), digest);
  return RunRequests(backend, run.model->config, run.limits, run.requests, {.depth = 1}).status();
}

std::string RunLoad(uint64_t seed, StepDigest& digest) {
  const auto make =
      [&digest](std::shared_ptr<const Model> model, const BackendLimits& limits,
                const cuda::LoadDevice& device) -> absl::StatusOr<std::unique_ptr<Backend>> {
    ASSIGN_OR_RETURN(
        std::unique_ptr<Backend> backend,
        MakeDeviceBackend(std::move(model), limits, {.eager = device.eager, .device = device}));
    return std::make_unique<DigestedBackend>(std::move(backend), digest);
  };
  cuda::ModelFigures figures;
  return cuda::RunModelLoad(seed, make, figures);
}

}  // namespace

int Bf16DigestsStage(const StageOptions& options) {
  Checked checked(options);
  for (const Case& run : Cases()) {
    StepDigest digest;
    const absl::Status status = RunCase(run, options.eager, digest);
    checked.Add(run.name, digest, std::string(status.message()));
    if (options.smallest) return checked.Finish();
  }
  for (uint64_t seed = 1; seed <= std::min(options.loads, kMostLoads); ++seed) {
    StepDigest digest;
    const std::string error = RunLoad(seed, digest);
    checked.Add(absl::StrCat("random load ", seed), digest, error);
  }
  return checked.Finish();
}

}  // namespace recurve::gpu_check
