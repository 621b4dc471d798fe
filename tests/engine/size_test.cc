// SPDX-License-Identifier: Apache-2.0
// What follows from sizes alone: shapes, memory, bounds, and the ratio that MoR can reach.
#include "engine/bench/size.h"

#include <string>
#include <utility>
#include <vector>

#include "engine/bench/shapes.h"
#include "gtest/gtest.h"

namespace recurve {
namespace {

TEST(ShapesTest, LayersFitTheRecursions) {
  EXPECT_EQ(ShapeConfig("135m", 1, 0)->num_layers, 30U);
  EXPECT_EQ(ShapeConfig("135m", 3, 0)->num_layers, 32U);
  EXPECT_EQ(ShapeConfig("360m", 4, 0)->num_layers, 34U);
  EXPECT_EQ(ShapeConfig("730m", 3, 0)->num_layers, 26U);
  EXPECT_EQ(ShapeConfig("1.7b", 3, 0)->num_layers, 26U);
  EXPECT_FALSE(ShapeConfig("2b", 1, 0).ok());
  EXPECT_FALSE(ShapeConfig("135m", 0, 0).ok());
  EXPECT_FALSE(ShapeConfig("135m", 3, 31).ok());
  EXPECT_EQ(ShapeConfig("135m", 4'000'000'000, 0).status().message(),
            "--recursions is 4000000000; expected 1 to 14");
  EXPECT_EQ(ShapeConfig("135m", 2, 1026).status().message(),
            "--layers is 1026; expected at most 1024");
}

TEST(ShapesTest, FlopBoundOfThePaperSizes) {
  // 360M, four recursions at capacities 1, 3/4, 1/2, 1/4, without context: 34 layers against
  // 2 + 8 * 2.5, both with the head of 960 * 49152.
  const ModelConfig config = *ShapeConfig("360m", 4, 0);
  const double layer = 960.0 * (960 + 640) + 960.0 * 960 + 3.0 * 960 * 2560;
  const double head = 960.0 * 49152;
  const double expected = 2 * (22 * layer + head + 2.5 * 960);
  EXPECT_NEAR(FlopsPerToken(config, {1, 0.75, 0.5, 0.25}, 0), expected, expected * 1e-12);
  EXPECT_NEAR(FlopsPerToken(VanillaTwin(config), {1}, 0), 2 * (34 * layer + head), 1);
  // Attention over 100 tokens: a recursion that a quarter takes sees a quarter of the entries.
  const double attention = 2.0 * 960 * 100 * (2 + 8 * (1 + 0.5625 + 0.25 + 0.0625));
  EXPECT_NEAR(FlopsPerToken(config, {1, 0.75, 0.5, 0.25}, 100), expected + 2 * attention, 1);
  // In bf16 a token by itself reads two bytes for each multiply-add, but that three heads of
  // queries read the same entries.
  EXPECT_NEAR(BytesPerToken(config, {1, 0.75, 0.5, 0.25}, 100, 2, Precision::kBf16),
              expected + 2 * attention / 3, 1);
}

SizeQuestion QuestionOf(uint32_t streams, std::vector<double> shares) {
  return {.streams = streams,
          .context = 1024,
          .number_bytes = 2,
          .kv_precision = Precision::kBf16,
          .page_bytes = 4096,
          .shares = std::move(shares),
          .bytes_per_second = 1e12,
          .flops_per_second = 0};
}

TEST(SizeTest, MemoryIsCountedByGroup) {
  const auto config = ShapeConfig("135m", 3, 0);
  ASSERT_TRUE(config.ok());
  const SizeAnswer size = ComputeSize(*config, QuestionOf(4, {1, 0.5, 0.25}));
  // Ten layers a recursion: 16 entries of one fill a page, and 160 of an end.
  EXPECT_EQ(size.pages_per_stream, 3 * 64 + 2 * 7);
  EXPECT_EQ(size.pages, 4 * size.pages_per_stream);
  EXPECT_EQ(size.kv_bytes, size.pages * 4096);
  using Groups = std::vector<std::pair<std::string, uint64_t>>;
  const uint64_t page = uint64_t{4} * 4096;
  EXPECT_EQ(size.expected_bytes_by_group, (Groups{{"entry", 7 * page},
                                                  {"1", 64 * page},
                                                  {"2", 32 * page},
                                                  {"3", 16 * page},
                                                  {"exit", 7 * page}}));
  EXPECT_EQ(size.expected_kv_bytes, (64 + 32 + 16 + 14) * page);
}

TEST(SizeTest, OneStreamReadsWhatATokenReads) {
  for (const uint32_t recursions : {1, 3}) {
    const auto config = ShapeConfig("360m", recursions, 0);
    ASSERT_TRUE(config.ok());
    const std::vector<double> shares =
        recursions == 1 ? std::vector<double>{1} : std::vector<double>{1, 0.7, 0.3};
    const SizeAnswer size = ComputeSize(*config, QuestionOf(1, shares));
    EXPECT_NEAR(size.tokens_per_second,
                1e12 / BytesPerToken(*config, shares, 1024, 2, Precision::kBf16),
                1e-9 * size.tokens_per_second);
    EXPECT_EQ(size.prompt_tokens_per_second, 0);
  }
}

TEST(SizeTest, ManyStreamsShareWeightsAndNotTheirEntriesOrProducts) {
  const auto config = ShapeConfig("360m", 1, 0);
  ASSERT_TRUE(config.ok());
  SizeQuestion question = QuestionOf(32, {1});
  const double weights = BytesPerToken(*config, {1}, 0, 2, Precision::kBf16);
  const double entries = BytesPerToken(*config, {1}, 1024, 2, Precision::kBf16) - weights;
  SizeAnswer size = ComputeSize(*config, question);
  EXPECT_NEAR(size.step_seconds, (weights + 32 * entries) / 1e12, 1e-12);
  question.flops_per_second = 1e12;
  size = ComputeSize(*config, question);
  EXPECT_NEAR(size.tokens_per_second, 1e12 / FlopsPerToken(*config, {1}, 1024), 1e-6);
  EXPECT_GT(size.prompt_tokens_per_second, size.tokens_per_second);  // no head
}

// Of 135M with three recursions of ten layers each, an entry and an exit layer.
double IdealOf(uint32_t streams, uint32_t block_rows, std::vector<double> shares,
               double flops_per_second = 1e30, double bytes_per_second = 1e12) {
  const auto config = ShapeConfig("135m", 3, 0);
  return IdealRatio(*config, {.streams = streams,
                              .block_rows = block_rows,
                              .shares = std::move(shares),
                              .context = 0,
                              .bytes_per_second = bytes_per_second,
                              .flops_per_second = flops_per_second});
}

TEST(IdealRatioTest, OneStreamSavesTheWeightsThatItDoesNotPass) {
  const double layer = 576 * (576 + 2 * 192) + 576 * 576 + 3 * 576 * 1536;
  const double head = 49152 * 576;
  // Of the mean depth of some thousand tokens.
  EXPECT_NEAR(IdealOf(1, 1, {1, 2 / 3.0, 1 / 3.0}), (32 * layer + head) / (22 * layer + head),
              0.01);
  EXPECT_NEAR(IdealOf(1, 1, {1, 0, 0}), (32 * layer + head) / (12 * layer + head), 1e-3);
}

TEST(IdealRatioTest, ManyRowsThatReadNothingSaveTheirProducts) {
  const auto config = ShapeConfig("135m", 3, 0);
  const double flops = FlopsPerToken(VanillaTwin(*config), {1}, 0) /
                       FlopsPerToken(*config, {1, 2 / 3.0, 1 / 3.0}, 0);
  EXPECT_NEAR(IdealOf(32, 32, {1, 2 / 3.0, 1 / 3.0}, 1e12, 1e30), flops, 0.02);
}

TEST(IdealRatioTest, NothingIsSavedWhereAllTokensGoDeep) {
  // But for the router, of which the twin has none.
  for (const uint32_t streams : {1, 8, 32}) {
    EXPECT_NEAR(IdealOf(streams, streams, {1, 1, 1}), 1, 0.01) << streams;
  }
}

TEST(IdealRatioTest, FewRowsShareWeightsWorseUnlessOthersWaitBesideTheBlock) {
  const std::vector<double> shares = {1, 2 / 3.0, 1 / 3.0};
  EXPECT_NEAR(IdealOf(8, 8, shares), 1.09, 0.02);
  EXPECT_NEAR(IdealOf(32, 32, shares), 1.05, 0.02);
  EXPECT_NEAR(IdealOf(48, 32, shares), 1.32, 0.02);
}

}  // namespace
}  // namespace recurve
