// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <cstdio>
#include <fstream>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "tools/gpu_check/backend/cases.h"
#include "tools/gpu_check/backend/digested_run.h"
#include "tools/gpu_check/backend/stages.h"
#include "tools/gpu_check/report.h"

namespace recurve::gpu_check {
namespace {

constexpr char kStage[] = "bf16_digests";
constexpr uint64_t kMostLoads = 20;  // emulation in bf16 takes most of a second for each

class Checked {
 public:
  explicit Checked(const StageOptions& options) : options_(options) {
    if (!options.write) expected_ = ReadDigests(options.digests);
  }

  void Add(const DigestedRun& run) {
    const std::string found = run.digest.Text();
    const std::string& expected = expected_[run.name];
    const bool wrong = !run.error.empty() || (!options_.write && found != expected);
    std::vector<Field> fields = {{"steps", static_cast<double>(run.digest.steps)},
                                 {"digest", found}};
    if (!run.error.empty()) fields.emplace_back("error", run.error);
    if (wrong && run.error.empty()) {
      fields.emplace_back("expected", expected.empty() ? "not in the file" : expected);
    }
    fields.emplace_back("wrong", wrong ? 1.0 : 0.0);
    Report(kStage, run.name, fields);
    findings_ += wrong ? 1 : 0;
    if (options_.write) absl::StrAppend(&written_, found, " ", run.name, "\n");
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

}  // namespace

int Bf16DigestsStage(const StageOptions& options) {
  Checked checked(options);
  for (const Case& run : Cases()) {
    checked.Add(DigestCase(run, {.eager = options.eager}));
    if (options.smallest) return checked.Finish();
  }
  for (uint64_t seed = 1; seed <= std::min(options.loads, kMostLoads); ++seed) {
    checked.Add(DigestLoad(seed));
  }
  return checked.Finish();
}

}  // namespace recurve::gpu_check
