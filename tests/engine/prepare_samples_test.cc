// SPDX-License-Identifier: Apache-2.0
#include "engine/prepare_samples.h"

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace recurve {
namespace {

using testing::HasSubstr;
using testing::IsEmpty;

ModelConfig Config(Sharing sharing) {
  ModelConfig config;
  config.vocab_size = 97;
  config.sharing = sharing;
  config.num_layers = 8;
  config.num_recursions = 3;
  return config;
}

absl::StatusOr<ScheduledSample> Prepare(uint32_t max_recursions, const ModelConfig& config) {
  Request request;
  request.prompt = std::vector<uint32_t>{1, 2};
  request.max_recursions = max_recursions;
  return PrepareSample(request, config, EvictionOptions(), TextEncoder(nullptr, 64));
}

TEST(PrepareSamplesTest, RecursionsAreCapped) {
  const auto prepared = Prepare(2, Config(Sharing::kMiddleCycle));
  ASSERT_TRUE(prepared.ok()) << prepared.status();
  ASSERT_EQ(prepared->caps.size(), 1U);
  EXPECT_EQ(prepared->caps[0].position, 0U);
  EXPECT_EQ(prepared->caps[0].cap, 2U);
}

// Their only recursion is what GetModelInfo tells as num_recursions.
TEST(PrepareSamplesTest, LayersRepeatedInPlaceAreOneRecursion) {
  const ModelConfig config = Config(Sharing::kMiddleSequence);
  ASSERT_EQ(config.recursions(), 1U);
  const auto prepared = Prepare(1, config);
  ASSERT_TRUE(prepared.ok()) << prepared.status();
  EXPECT_THAT(prepared->caps, IsEmpty());
  for (const uint32_t other : {0U, 2U, 3U}) {
    const auto refused = Prepare(other, config);
    EXPECT_EQ(refused.status().code(), absl::StatusCode::kInvalidArgument);
    EXPECT_THAT(std::string(refused.status().message()), HasSubstr("expected 1"));
  }
}

}  // namespace
}  // namespace recurve
