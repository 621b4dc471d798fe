// SPDX-License-Identifier: Apache-2.0
// A schedule over a model of two recursions (groups: entry 0, recursions 1 and 2, exit 3), small
// enough to follow by hand.
#ifndef RECURVE_TESTS_ENGINE_SCHEDULE_SCHEDULE_FIXTURE_H_
#define RECURVE_TESTS_ENGINE_SCHEDULE_SCHEDULE_FIXTURE_H_

#include <cstdint>
#include <memory>
#include <optional>
#include <utility>
#include <vector>

#include "engine/schedule/schedule.h"
#include "gtest/gtest.h"
#include "tests/engine/schedule/fake_backend.h"
#include "tests/engine/schedule/recorder.h"

namespace recurve {

class ScheduleFixture : public testing::Test {
 protected:
  ScheduleFixture() {
    BackendLimits& limits = options_.limits;
    limits.slots = 4;
    limits.areas = 2;
    limits.chunk = 4;
    limits.ends = 4;
    limits.block_rows = 4;
    limits.prompt_rows = 4;
    limits.pages = 100;
    limits.max_positions = 64;
    options_.entries_per_page = {4, 4, 4, 4};
    options_.vocab_size = 64;
    options_.eos_ids = {63};
    options_.default_max_tokens = 8;
    options_.headroom = 0;
    model_.seed = 7;
    model_.shape = {2, 0};
    model_.routing = FakeModel::Routing::kFixedDepth;
  }
  ~ScheduleFixture() override {
    if (schedule_ != nullptr) schedule_->EndAll(EndReason::kDrained, absl::OkStatus());
  }

  // Call after changing options_ and before anything below.
  void Start() {
    schedule_ = Schedule::Create(options_, model_.shape, &clock_).value();
    backend_ = std::make_unique<FakeBackend>(model_, options_.limits, options_.entries_per_page, 1,
                                             FakeFault::kNone);
  }

  // A sample of `prompt` tokens 10, 11, 12, ... that meets no end-of-sequence id.
  ScheduledSample MakeSample(uint32_t prompt, std::optional<uint32_t> max_tokens) {
    ScheduledSample sample;
    sample.id = recorders_.size();
    for (uint32_t i = 0; i < prompt; ++i) sample.prompt.push_back(10 + i);
    sample.max_tokens = max_tokens;
    sample.ignore_eos = true;
    recorders_.push_back(std::make_unique<Recorder>(sample.id));
    sample.observer = recorders_.back().get();
    return sample;
  }
  absl::Status Add(uint32_t prompt, std::optional<uint32_t> max_tokens) {
    return schedule_->Add(MakeSample(prompt, max_tokens));
  }
  // What the id-th sample that was made has been told.
  const Recorder& told(size_t id) const { return *recorders_[id]; }

  // Makes a plan, and has the backend run it: depth 0.
  void Step() {
    plan_ = schedule_->Plan();
    ASSERT_TRUE(backend_->Submit(plan_).ok());
    const absl::Status status = backend_->Collect(result_);
    ASSERT_TRUE(status.ok()) << status;
    schedule_->Commit(result_);
  }
  // Makes a plan, and has the step do what `outcomes` and `depths` say.
  void StepWith(std::vector<Outcome> outcomes, std::vector<uint32_t> depths) {
    plan_ = schedule_->Plan();
    CommitWith(plan_.epoch, std::move(outcomes), std::move(depths));
  }
  void CommitWith(uint32_t epoch, std::vector<Outcome> outcomes, std::vector<uint32_t> depths) {
    result_.Clear();
    result_.epoch = epoch;
    result_.outcomes = std::move(outcomes);
    result_.depths = std::move(depths);
    schedule_->Commit(result_);
  }

  // What the last step did to `slot`: kRan* bits, 0 if nothing.
  uint32_t RanIn(uint32_t slot) const {
    for (const Outcome& outcome : result_.outcomes) {
      if (outcome.slot == slot) return outcome.ran;
    }
    return 0;
  }
  // The room that the last plan gave `slot`, if it did.
  std::optional<uint32_t> RoomOf(uint32_t slot) const {
    for (const RoomChange& change : plan_.rooms) {
      if (change.slot == slot) return change.room;
    }
    return std::nullopt;
  }

  ScheduleOptions options_;
  FakeModel model_;
  FakeClock clock_;
  std::vector<std::unique_ptr<Recorder>> recorders_;
  std::unique_ptr<Schedule> schedule_;
  std::unique_ptr<FakeBackend> backend_;
  StepPlan plan_;      // the last one
  StepResult result_;  // the last one
};

}  // namespace recurve

#endif  // RECURVE_TESTS_ENGINE_SCHEDULE_SCHEDULE_FIXTURE_H_
