// SPDX-License-Identifier: Apache-2.0
// What a flood of requests, nearly all of which are refused, costs those that were admitted before:
// counted in steps, not in time.
#include <atomic>
#include <latch>
#include <memory>
#include <thread>
#include <vector>

#include "gtest/gtest.h"
#include "tests/engine/small_engine.h"

namespace recurve {
namespace {

// How many steps there had been when a sample ended.
class StepsToTheEnd final : public RequestSink {
 public:
  explicit StepsToTheEnd(const std::atomic<uint64_t>* steps) : steps_(steps) {}
  void OnPromptLogprobs(uint32_t, std::vector<PositionLogprobs>) override {}
  void OnTokens(uint32_t, std::span<const TokenEvent>, uint32_t) override {}
  void OnFinished(uint32_t, Finish finish) override {
    EXPECT_TRUE(finish.status.ok());
    at_end_ = steps_->load();
    ended_.count_down();
  }
  uint64_t Wait() {
    ended_.wait();
    return at_end_;
  }

 private:
  const std::atomic<uint64_t>* const steps_;
  uint64_t at_end_ = 0;
  std::latch ended_{1};
};

class Nobody final : public RequestSink {
 public:
  void OnPromptLogprobs(uint32_t, std::vector<PositionLogprobs>) override {}
  void OnTokens(uint32_t, std::span<const TokenEvent>, uint32_t) override {}
  void OnFinished(uint32_t, Finish) override {}
};

struct Cost {
  std::vector<uint64_t> steps;  // of each stream, from its first to its end
  uint64_t refused = 0, let_in = 0;
};

// `streams` of an engine of four slots, alone or with a flood that never stops.
Cost Measure(uint32_t streams, bool flood) {
  std::atomic<uint64_t> steps = 0;
  std::latch all_there(1);
  const auto engine = MakeSmallEngine([&](uint32_t) {
    all_there.wait();
    ++steps;
    return absl::OkStatus();
  });
  std::vector<std::shared_ptr<StepsToTheEnd>> sinks;
  for (uint32_t i = 0; i < streams; ++i) {
    sinks.push_back(std::make_shared<StepsToTheEnd>(&steps));
    EXPECT_TRUE(engine->Start(IdsRequest({i, 2, 3}, 150), sinks.back()).ok());
  }
  Cost cost;
  std::atomic<bool> over = false;
  std::thread flooding([&] {
    const auto nobody = std::make_shared<Nobody>();
    for (uint32_t i = 0; flood && !over; ++i) {
      const auto started = engine->Start(IdsRequest({i % 97, i % 31, 5}, 10), nobody);
      if (started.ok()) {
        ++cost.let_in;
      } else {
        EXPECT_EQ(started.status().code(), absl::StatusCode::kResourceExhausted);
        ++cost.refused;
      }
      if (cost.refused == 1 && !started.ok()) all_there.count_down();
    }
  });
  if (!flood) all_there.count_down();
  for (const auto& sink : sinks) cost.steps.push_back(sink->Wait());
  over = true;
  flooding.join();
  return cost;
}

class FloodTest : public testing::TestWithParam<uint32_t> {};

// However many slots the flood takes: a step has room for a row of each. One step is allowed, since
// a stream may come before the first plan or just after it.
TEST_P(FloodTest, CostsThoseWhoWereAdmittedNoStep) {
  const Cost alone = Measure(GetParam(), /*flood=*/false);
  const Cost flooded = Measure(GetParam(), /*flood=*/true);
  for (uint32_t i = 0; i < GetParam(); ++i) {
    EXPECT_LE(flooded.steps[i], alone.steps[i] + 1) << "stream " << i;
  }
  EXPECT_GT(flooded.refused, 10 * GetParam());
  EXPECT_GT(flooded.let_in, 0U);
}

INSTANTIATE_TEST_SUITE_P(Streams, FloodTest, testing::Values(1U, 2U, 4U));

// An engine without a tokenizer would say so of the first text that it looks at.
TEST(RefusalTest, ARefusedTextIsNotLookedAt) {
  std::latch in_step(1), go_on(1);
  const auto engine = MakeSmallEngine([&](uint32_t epoch) {
    if (epoch == 1) in_step.count_down();
    go_on.wait();
    return absl::OkStatus();
  });
  const auto nobody = std::make_shared<Nobody>();
  Request text = IdsRequest({}, 10);
  text.prompt = std::string(1 << 20, 'x');
  EXPECT_EQ(engine->Start(text, nobody).status().code(), absl::StatusCode::kInvalidArgument);
  ASSERT_TRUE(engine->Start(IdsRequest({1, 2}, 10), nobody).ok());
  in_step.wait();  // nobody leaves the queue until it is over
  while (engine->Start(IdsRequest({1, 2}, 10), nobody).ok()) {
  }
  for (int i = 0; i < 1000; ++i) {
    EXPECT_EQ(engine->Start(text, nobody).status().code(), absl::StatusCode::kResourceExhausted);
  }
  EXPECT_EQ(engine->Snapshot().encoded_bytes, 0U);
  go_on.count_down();
}

}  // namespace
}  // namespace recurve
