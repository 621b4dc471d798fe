// SPDX-License-Identifier: Apache-2.0
// The fake backend refuses what step.h forbids, or the schedule's tests would not notice.
#include "tests/engine/schedule/fake_backend.h"

#include <string>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/engine/backend/page_pairs.h"

namespace recurve {
namespace {

using testing::HasSubstr;

absl::Status RunPair(const PagePair& pair, FakeFault fault) {
  FakeModel model;
  model.shape = kPairsShape;
  FakeBackend backend(model, kPairsLimits, kPairsEntriesPerPage, /*seed=*/1, fault);
  StepResult result;
  for (const StepPlan& plan : {PagePairsBegin(), pair.plan}) {
    if (absl::Status status = backend.Submit(plan); !status.ok()) return status;
    if (absl::Status status = backend.Collect(result); !status.ok()) return status;
  }
  return absl::OkStatus();
}

TEST(FakeBackendTest, RefusesWhatStepForbidsAndNothingElse) {
  for (const PagePair& pair : PagePairs()) {
    SCOPED_TRACE(pair.name);
    const absl::Status status = RunPair(pair, FakeFault::kNone);
    EXPECT_EQ(status.ok(), pair.refusal.empty()) << status;
    if (status.ok()) continue;
    EXPECT_EQ(status.code(), absl::StatusCode::kInternal);
    for (const std::string& name : pair.refusal) {
      EXPECT_THAT(std::string(status.message()), HasSubstr(name));
    }
  }
}

TEST(FakeBackendTest, RefusesNothingOnRequest) {
  for (const PagePair& pair : PagePairs()) {
    if (pair.name == "two evictions of one group") continue;  // of entries that are gone
    EXPECT_TRUE(RunPair(pair, FakeFault::kRefusesNothing).ok()) << pair.name;
  }
}

}  // namespace
}  // namespace recurve
