// SPDX-License-Identifier: Apache-2.0
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "engine/base/status_macros.h"
#include "tests/engine/backend/step_driver.h"
#include "tests/engine/backend/twin_backend.h"
#include "tools/gpu_check/backend/cases.h"
#include "tools/gpu_check/backend/device_backend.h"
#include "tools/gpu_check/backend/stages.h"
#include "tools/gpu_check/report.h"

namespace recurve::gpu_check {
namespace {

using Outputs = std::vector<DriverOutput>;

struct Variant {
  const char* name;
  DeviceOptions device = {};
  DriverOptions driver = {.depth = 1};
  uint32_t chunk = 8;
  uint32_t block_rows = 3;
  bool alone = false;  // each request by itself
};

const Variant kUsual = {.name = "usual", .device = {}};

std::vector<Variant> Variants() {
  return {
      {.name = "eager", .device = {.eager = true}},
      {.name = "kernels cut for 16 rows", .device = {.least_rows = 16}},
      {.name = "kernels cut for 200 rows", .device = {.least_rows = 200}},
      {.name = "nothing queued", .device = {}, .driver = {.depth = 0}},
      {.name = "ends together", .device = {}, .driver = {.ends_min = 4, .depth = 1}},
      {.name = "chunks of 3", .device = {}, .chunk = 3},
      {.name = "chunks of 40", .device = {}, .chunk = 40, .block_rows = 1},
      {.name = "alone", .device = {}, .alone = true},
  };
}

absl::StatusOr<Outputs> Run(const Case& run, const Variant& variant) {
  BackendLimits limits = run.limits;
  limits.chunk = variant.chunk;
  limits.block_rows = variant.block_rows;
  limits.ends = limits.prompt_rows = variant.chunk + 1;
  std::vector<DriverRequest> requests = run.requests;
  for (DriverRequest& request : requests) request.chunk = variant.chunk;
  ASSIGN_OR_RETURN(const auto backend, MakeDeviceBackend(run.model, limits, variant.device));
  const ModelConfig& config = run.model->config;
  if (!variant.alone) return RunRequests(*backend, config, limits, requests, variant.driver);
  Outputs outputs;
  for (const DriverRequest& request : requests) {
    ASSIGN_OR_RETURN(const auto fresh, MakeDeviceBackend(run.model, limits, variant.device));
    ASSIGN_OR_RETURN(const Outputs one,
                     RunRequests(*fresh, config, limits, {request}, variant.driver));
    outputs.push_back(one.front());
  }
  return outputs;
}

// Where two outputs of a request differ; empty: nowhere.
std::string Difference(const DriverOutput& a, const DriverOutput& b) {
  if (a.tokens != b.tokens) return "other tokens";
  if (a.depths != b.depths) return "other depths";
  if (a.flags != b.flags) return "other flags";
  if (a.logprobs.size() != b.logprobs.size()) return "another number of log probabilities";
  for (size_t i = 0; i < a.logprobs.size(); ++i) {
    const TokenLogprob& x = a.logprobs[i];
    const TokenLogprob& y = b.logprobs[i];
    if (x.position != y.position || x.id != y.id || ComparedBits(x.value) != ComparedBits(y.value))
      return absl::StrCat("another log probability at position ", x.position);
  }
  if (a.logits.size() != b.logits.size()) return "another number of logits";
  for (size_t i = 0; i < a.logits.size(); ++i) {
    if (a.logits[i].size() != b.logits[i].size()) return absl::StrCat("logits of position ", i);
    for (size_t token = 0; token < a.logits[i].size(); ++token) {
      if (ComparedBits(a.logits[i][token]) == ComparedBits(b.logits[i][token])) continue;
      return absl::StrCat("position ", i, ", bits of the logit of token ", token, " are ",
                          ComparedBits(a.logits[i][token]), " and ",
                          ComparedBits(b.logits[i][token]));
    }
  }
  return "";
}

std::string FirstDifference(const Outputs& usual, const absl::StatusOr<Outputs>& other) {
  if (!other.ok()) return std::string(other.status().message());
  for (size_t i = 0; i < usual.size(); ++i) {
    const std::string difference = Difference(usual[i], (*other)[i]);
    if (!difference.empty()) return absl::StrCat("request ", i, ": ", difference);
  }
  return "";
}

// 1 if there was something to find.
int Tell(const std::string& model, const char* variant, const std::string& difference) {
  std::vector<Field> fields = {{"variant", variant}, {"wrong", difference.empty() ? 0.0 : 1.0}};
  if (!difference.empty()) fields.emplace_back("difference", difference);
  Report("invariance", model, fields);
  return difference.empty() ? 0 : 1;
}

}  // namespace

int InvarianceStage(const StageOptions& options) {
  int findings = 0;
  for (const Case& run : Cases()) {
    const absl::StatusOr<Outputs> usual = Run(run, kUsual);
    if (!usual.ok()) {
      findings += Tell(run.name, kUsual.name, std::string(usual.status().message()));
      continue;
    }
    for (const Variant& variant : Variants()) {
      findings += Tell(run.name, variant.name, FirstDifference(*usual, Run(run, variant)));
    }
    if (options.smallest) break;
  }
  return findings;
}

}  // namespace recurve::gpu_check
