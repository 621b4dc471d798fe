// SPDX-License-Identifier: Apache-2.0
#include "engine/backend/model_shape.h"

#include <gtest/gtest.h>

namespace recurve {
namespace {

ModelConfig Config(Sharing sharing, uint32_t layers, uint32_t recursions,
                   KvMode kv_mode = KvMode::kRecursionWise) {
  ModelConfig config;
  config.num_layers = layers;
  config.sharing = sharing;
  config.num_recursions = recursions;
  config.kv_mode = kv_mode;
  return config;
}

TEST(ModelShape, MiddleCycle) {
  const ModelConfig config = Config(Sharing::kMiddleCycle, 11, 3);
  EXPECT_EQ(ShapeOf(config).groups(), 5U);
  EXPECT_EQ(PageTiles(config), 3U);
  const std::array<uint32_t, kMaxGroups> entries = PageEntries(config);
  EXPECT_EQ(entries[0], 48U);
  EXPECT_EQ(entries[1], 16U);
  EXPECT_EQ(entries[3], 16U);
  EXPECT_EQ(entries[4], 48U);
  EXPECT_EQ(entries[5], 0U);
}

TEST(ModelShape, CycleHasNoEnds) {
  const ModelConfig config = Config(Sharing::kCycle, 6, 3, KvMode::kShared);
  EXPECT_EQ(ShapeOf(config).groups(), 3U);
  const std::array<uint32_t, kMaxGroups> entries = PageEntries(config);
  EXPECT_EQ(entries[0], 0U);
  EXPECT_EQ(entries[1], 16U);
  EXPECT_EQ(entries[2], 0U);
}

TEST(ModelShape, RepeatedLayersRunAsOneRecursion) {
  const ModelConfig config = Config(Sharing::kMiddleSequence, 8, 3);
  EXPECT_EQ(ShapeOf(config).recursions, 1U);
  EXPECT_EQ(GroupLayers(config, 1), 6U);
  EXPECT_EQ(GroupLayers(config, 2), 1U);
  EXPECT_EQ(PageEntries(config)[0], 96U);
}

TEST(ModelShape, OverlaysAreGroupsOfTheirOwn) {
  const ModelConfig config = Config(Sharing::kMiddleCycle, 8, 2, KvMode::kSharedUpdate);
  EXPECT_EQ(ShapeOf(config).groups(), 4U);
  EXPECT_EQ(ShapeOf(config).shared_kv, 0U);
  EXPECT_EQ(GroupLayers(config, 2), 3U);
}

}  // namespace
}  // namespace recurve
