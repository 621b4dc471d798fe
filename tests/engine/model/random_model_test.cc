// SPDX-License-Identifier: Apache-2.0
#include <bit>
#include <cmath>
#include <cstring>
#include <vector>

#include "engine/model/weights.h"
#include "gtest/gtest.h"

namespace recurve {
namespace {

ModelConfig SmallConfig() {
  ModelConfig config;
  config.vocab_size = 101;
  config.hidden_size = 32;
  config.intermediate_size = 48;
  config.num_layers = 8;
  config.num_heads = 4;
  config.num_kv_heads = 2;
  config.head_dim = 8;
  config.max_positions = 64;
  config.sharing = Sharing::kMiddleCycle;
  config.num_recursions = 3;
  config.router.type = RouterType::kExpertChoice;
  return config;
}

std::vector<float> F32Values(const Tensor& tensor) {
  std::vector<float> values(size_t{tensor.rows} * tensor.columns);
  std::memcpy(values.data(), tensor.data, values.size() * 4);
  return values;
}

double Deviation(const Tensor& tensor) {
  double squares = 0.0;
  const std::vector<float> values = F32Values(tensor);
  for (const float value : values) squares += double{value} * double{value};
  return std::sqrt(squares / static_cast<double>(values.size()));
}

// FNV-1a of a tensor's bytes.
uint64_t Hash(const Tensor& tensor, size_t element) {
  uint64_t hash = 0xCBF29CE484222325U;
  for (size_t i = 0; i < element * tensor.rows * tensor.columns; ++i) {
    hash = (hash ^ static_cast<uint64_t>(tensor.data[i])) * 0x100000001B3U;
  }
  return hash;
}

TEST(RandomModel, HasEveryTensorInShape) {
  const Model model = RandomModel(SmallConfig(), DataType::kF32, 1);
  const Weights& weights = model.weights;
  ASSERT_EQ(weights.entry.size(), 1U);
  ASSERT_EQ(weights.block.size(), 2U);
  ASSERT_EQ(weights.exit.size(), 1U);
  ASSERT_EQ(weights.routers.size(), 3U);
  EXPECT_TRUE(weights.aux_routers.empty());
  EXPECT_EQ(weights.router_bias.data, nullptr);
  EXPECT_EQ(weights.embedding.rows, 101U);
  EXPECT_EQ(weights.embedding.columns, 32U);
  EXPECT_NE(weights.lm_head.data, weights.embedding.data);
  EXPECT_EQ(weights.final_norm.rows, 1U);
  EXPECT_EQ(weights.final_norm.columns, 32U);
  EXPECT_EQ(weights.block[1].attention[0].k.rows, 16U);
  EXPECT_EQ(weights.block[1].attention[0].o.columns, 32U);
  EXPECT_EQ(weights.block[1].down.columns, 48U);
  EXPECT_EQ(weights.routers[2].out.rows, 1U);
  EXPECT_EQ(weights.routers[2].hidden.data, nullptr);
}

TEST(RandomModel, HasTheSameBitsEverywhere) {
  const Model model = RandomModel(SmallConfig(), DataType::kF32, 1);
  EXPECT_EQ(Hash(model.weights.embedding, 4), 15521824309034168187U);
  EXPECT_EQ(Hash(model.weights.routers[1].out, 4), 1152475088841669881U);
  const Model again = RandomModel(SmallConfig(), DataType::kF32, 1);
  EXPECT_EQ(Hash(again.weights.block[0].up, 4), Hash(model.weights.block[0].up, 4));
  const Model other = RandomModel(SmallConfig(), DataType::kF32, 2);
  EXPECT_NE(Hash(other.weights.block[0].up, 4), Hash(model.weights.block[0].up, 4));
  EXPECT_NE(Hash(model.weights.block[0].up, 4), Hash(model.weights.block[0].gate, 4));
}

TEST(RandomModel, HasTheSameBitsHoweverManyThreadsDrawIt) {
  ModelConfig config = SmallConfig();
  config.vocab_size = 20'000;  // three pieces of embedding, the last one short
  const Model one = RandomModel(config, DataType::kBf16, 1);
  const Model three = RandomModel(config, DataType::kBf16, 1, /*threads=*/3);
  EXPECT_EQ(Hash(three.weights.embedding, 2), Hash(one.weights.embedding, 2));
  EXPECT_EQ(Hash(three.weights.lm_head, 2), Hash(one.weights.lm_head, 2));
  EXPECT_EQ(Hash(three.weights.block[1].down, 2), Hash(one.weights.block[1].down, 2));
}

TEST(RandomModel, KeepsScales) {
  ModelConfig config = SmallConfig();
  config.hidden_size = 256;
  config.vocab_size = 500;
  const Model model = RandomModel(config, DataType::kF32, 3);
  EXPECT_NEAR(Deviation(model.weights.embedding), 1.0, 0.02);
  EXPECT_NEAR(Deviation(model.weights.lm_head), 3.0 / 16, 0.01);
  EXPECT_NEAR(Deviation(model.weights.block[0].up), 1.0 / 16, 0.002);
  EXPECT_NEAR(Deviation(model.weights.routers[0].out), 1.0 / 16, 0.01);
  EXPECT_NEAR(Deviation(model.weights.block[0].down), 1.0 / std::sqrt(48.0 * 16), 0.002);
  config.tie_word_embeddings = true;
  const Model tied = RandomModel(config, DataType::kF32, 3);
  EXPECT_EQ(tied.weights.lm_head.data, tied.weights.embedding.data);
  EXPECT_NEAR(Deviation(tied.weights.embedding), 3.0 / 16, 0.01);
}

TEST(RandomModel, RoutersDecideBothWays) {
  // Scores of embedding rows, the stream at the first recursion of a model without ends.
  ModelConfig config = SmallConfig();
  config.sharing = Sharing::kCycle;
  config.num_layers = 6;
  const Model model = RandomModel(config, DataType::kF32, 4);
  const std::vector<float> rows = F32Values(model.weights.embedding);
  for (const RouterWeights& router : model.weights.routers) {
    const std::vector<float> weights = F32Values(router.out);
    int passed = 0;
    for (uint32_t token = 0; token < config.vocab_size; ++token) {
      double score = 0.0;
      for (uint32_t i = 0; i < config.hidden_size; ++i) {
        score += double{rows[token * config.hidden_size + i]} * double{weights[i]};
      }
      passed += score >= 0.0 ? 1 : 0;
    }
    EXPECT_GT(passed, 25);
    EXPECT_LT(passed, 76);
  }
}

TEST(RandomModel, HalvesAreRoundedFloats) {
  const Model full = RandomModel(SmallConfig(), DataType::kF32, 5);
  const Model bf16 = RandomModel(SmallConfig(), DataType::kBf16, 5);
  const Model f16 = RandomModel(SmallConfig(), DataType::kF16, 5);
  EXPECT_EQ(bf16.weights.lm_head.rows, 101U);
  EXPECT_EQ(bf16.weights.lm_head.type, DataType::kBf16);
  const std::vector<float> values = F32Values(full.weights.lm_head);
  for (size_t i = 0; i < values.size(); ++i) {
    uint16_t half = 0;
    std::memcpy(&half, bf16.weights.lm_head.data + 2 * i, 2);
    const float brain = std::bit_cast<float>(uint32_t{half} << 16);
    ASSERT_LE(std::fabs(brain - values[i]), std::fabs(values[i]) * 0x1p-8F) << i;
    std::memcpy(&half, f16.weights.lm_head.data + 2 * i, 2);
    const int exponent = (half >> 10) & 31;
    const double sign = half >= 0x8000 ? -1.0 : 1.0;
    const double f16_value =
        exponent == 0 ? 0.0 : sign * std::ldexp(1024 + (half & 1023), exponent - 25);
    ASSERT_LE(std::fabs(f16_value - double{values[i]}),
              std::max(std::fabs(double{values[i]}) * 0x1p-11, 0x1p-14))
        << i;
  }
}

}  // namespace
}  // namespace recurve
