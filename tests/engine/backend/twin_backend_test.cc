// SPDX-License-Identifier: Apache-2.0
#include "tests/engine/backend/twin_backend.h"

#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "gtest/gtest.h"

namespace recurve {
namespace {

StepResult Result() {
  StepResult result;
  result.epoch = 12;
  result.part_rows[kPartBlock] = 5;
  result.outcomes = {{.slot = 1, .ran = kRanBlock, .active = 2},
                     {.slot = 3, .ran = kRanExit | kRanEntry, .rows = 1, .token = 7}};
  result.depths = {2, 3};
  result.logprobs = {{3, 10, 7, -0.5F}, {3, 10, 9, -1.5F}};
  result.logits_rows = {{1, 4}, {3, 9}};
  result.logits = {0.0F, 1.0F, 2.0F, 3.0F};
  return result;
}

TEST(TwinBackendTest, TimesMayDiffer) {
  StepResult other = Result();
  other.part_ns[kPartExit] = 1;
  EXPECT_EQ(Difference(Result(), other), "");
}

TEST(TwinBackendTest, EveryOtherWordIsCompared) {
  using Change = std::function<void(StepResult&)>;
  const std::vector<std::pair<Change, std::string>> cases = {
      {[](auto& r) { r.epoch = 13; }, "result: epoch is 12 and 13"},
      {[](auto& r) { ++r.part_rows[kPartBlock]; }, "part 3: rows is 5 and 6"},
      {[](auto& r) { r.outcomes[1].slot = 4; }, "slot 3: slot is 3 and 4"},
      {[](auto& r) { r.outcomes[0].ran = 0; }, "slot 1: ran is 4 and 0"},
      {[](auto& r) { r.outcomes[1].rows = 2; }, "slot 3: rows is 1 and 2"},
      {[](auto& r) { r.outcomes[0].active = 1; }, "slot 1: active is 2 and 1"},
      {[](auto& r) { r.outcomes[1].token = 8; }, "slot 3: token is 7 and 8"},
      {[](auto& r) { r.outcomes[1].flags = kStopId; }, "slot 3: flags is 0 and 1"},
      {[](auto& r) { r.outcomes.pop_back(); }, "outcomes: size is 2 and 1"},
      {[](auto& r) { r.depths[1] = 2; }, "row 1 of EXIT: depth is 3 and 2"},
      {[](auto& r) { r.depths.push_back(1); }, "depths: size is 2 and 3"},
      {[](auto& r) { r.logprobs[1].id = 8; }, "slot 3, log probability 1: id is 9 and 8"},
      {[](auto& r) { r.logprobs[0].position = 8; },
       "slot 3, log probability 0: position is 10 and 8"},
      {[](auto& r) { r.logprobs[0].value = -0.25F; },
       "slot 3, log probability 0: bits of the value is 3204448256 and 3196059648"},
      {[](auto& r) { r.logprobs.pop_back(); }, "logprobs: size is 2 and 1"},
      {[](auto& r) { r.logits_rows[1].position = 8; },
       "slot 3, position 9: position of the logits is 9 and 8"},
      {[](auto& r) { r.logits[0] = -0.0F; },
       "slot 1, position 4, token 0: bits of the logit is 0 and 2147483648"},
      {[](auto& r) { r.logits[3] = 2.0F; },
       "slot 3, position 9, token 1: bits of the logit is 1077936128 and 1073741824"},
      {[](auto& r) { r.logits.pop_back(); }, "logits: size is 4 and 3"},
  };
  for (const auto& [change, message] : cases) {
    StepResult other = Result();
    change(other);
    EXPECT_EQ(Difference(Result(), other), message);
  }
}

// Answers each plan with a result that it was given.
class Answering final : public Backend {
 public:
  explicit Answering(StepResult result) : result_(std::move(result)) {}
  absl::Status Submit(const StepPlan&) override {
    ++outstanding_;
    return absl::OkStatus();
  }
  absl::Status Collect(StepResult& result) override {
    --outstanding_;
    result = result_;
    return absl::OkStatus();
  }
  uint32_t Outstanding() const override { return outstanding_; }

 private:
  const StepResult result_;
  uint32_t outstanding_ = 0;
};

TEST(TwinBackendTest, AnErrorNamesTheStep) {
  StepResult other = Result();
  TwinBackend same(std::make_unique<Answering>(Result()), std::make_unique<Answering>(other));
  other.outcomes[1].token = 8;
  TwinBackend different(std::make_unique<Answering>(Result()), std::make_unique<Answering>(other));
  StepResult result;
  ASSERT_TRUE(same.Submit(StepPlan()).ok());
  EXPECT_EQ(same.Outstanding(), 1U);
  EXPECT_TRUE(same.Collect(result).ok());
  EXPECT_EQ(result.outcomes[1].token, 7U);
  ASSERT_TRUE(different.Submit(StepPlan()).ok());
  EXPECT_EQ(different.Collect(result), absl::InternalError("step 12, slot 3: token is 7 and 8"));
}

}  // namespace
}  // namespace recurve
