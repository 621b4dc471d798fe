// SPDX-License-Identifier: Apache-2.0
// rope_theta, rope_scaling and rope_parameters of config.json, and the frequencies they mean.
#include "engine/model/rope.h"

#include <algorithm>
#include <cmath>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace recurve {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

const char kLlama31[] = R"("factor": 8.0, "high_freq_factor": 4.0, "low_freq_factor": 1.0,
                           "original_max_position_embeddings": 8192)";

// A configuration with `members`, as "\"rope_theta\": 3".
absl::StatusOr<ModelConfig> Parse(const std::string& members) {
  std::vector<std::string> warnings;
  return ParseModelConfig(
      absl::StrCat(R"({"vocab_size": 10, "hidden_size": 64, "intermediate_size": 96,
          "num_hidden_layers": 1, "num_attention_heads": 4, "max_position_embeddings": 131072)",
                   members.empty() ? "" : ", ", members, "}"),
      "", &warnings);
}

TEST(Rope, ThetaMayStandInTheObject) {
  EXPECT_EQ(Parse("")->rope_theta, 10000.0F);
  for (const char* members : {R"("rope_theta": 777)", R"("rope_parameters": {"rope_theta": 777})",
                              R"("rope_scaling": {"rope_type": "default", "rope_theta": 777.0})",
                              R"("rope_theta": 777, "rope_parameters": {"rope_theta": 777})"}) {
    const auto config = Parse(members);
    ASSERT_TRUE(config.ok()) << config.status();
    EXPECT_EQ(config->rope_theta, 777.0F);
    EXPECT_EQ(config->rope_scaling.type, RopeScaling::Type::kNone);
  }
}

TEST(Rope, TheDefaultTypeScalesNothing) {
  for (const char* members :
       {R"("rope_scaling": null)", R"("rope_scaling": {})",
        R"("rope_scaling": {"type": "default"})",
        R"("rope_scaling": {"type": "default", "rope_type": "default"})",
        R"("rope_parameters": {"rope_type": "default", "rope_theta": 10000.0})",
        R"("rope_scaling": null, "rope_parameters": {"partial_rotary_factor": 1.0})"}) {
    const auto config = Parse(members);
    ASSERT_TRUE(config.ok()) << config.status();
    EXPECT_EQ(config->rope_scaling, RopeScaling()) << members;
  }
}

TEST(Rope, ReadsLlama3InEverySpelling) {
  for (const std::string& members :
       {absl::StrCat(R"("rope_scaling": {"rope_type": "llama3", )", kLlama31, "}"),
        absl::StrCat(R"("rope_scaling": {"type": "llama3", )", kLlama31, "}"),
        absl::StrCat(R"("rope_parameters": {"rope_type": "llama3", "rope_theta": 5e5, )", kLlama31,
                     "}"),
        absl::StrCat(R"("rope_scaling": {"type": "llama3", "rope_type": "llama3", )", kLlama31,
                     R"(}, "rope_parameters": {"rope_type": "llama3", )", kLlama31, "}")}) {
    const auto config = Parse(members);
    ASSERT_TRUE(config.ok()) << config.status();
    EXPECT_EQ(config->rope_scaling.type, RopeScaling::Type::kLlama3);
    EXPECT_EQ(config->rope_scaling.factor, 8.0F);
    EXPECT_EQ(config->rope_scaling.low_frequency_factor, 1.0F);
    EXPECT_EQ(config->rope_scaling.high_frequency_factor, 4.0F);
    EXPECT_EQ(config->rope_scaling.original_positions, 8192U);
  }
}

TEST(Rope, RefusalsNameTheField) {
  const std::vector<std::pair<std::string, std::string>> cases = {
      {R"("rope_scaling": 3)", "config.json: rope_scaling is 3; expected an object"},
      {R"("rope_parameters": [])", "rope_parameters is []; expected an object"},
      {R"("rope_scaling": {"rope_type": "yarn", "factor": 4})",
       "rope_scaling.rope_type is \"yarn\"; expected one of \"default\", \"linear\", \"llama3\""},
      {R"("rope_scaling": {"type": "dynamic", "factor": 4})", "rope_scaling.type is \"dynamic\""},
      {R"("rope_parameters": {"rope_type": "longrope"})",
       "rope_parameters.rope_type is \"longrope\""},
      {R"("rope_parameters": {"full_attention": {"rope_type": "default"}})",
       "rope_parameters.full_attention is {\"rope_type\":\"default\"}; expected no field"},
      {R"("rope_scaling": {"type": "linear", "rope_type": "default", "factor": 2})",
       "rope_scaling.rope_type is \"default\"; expected the type beside it, \"linear\""},
      {R"("rope_scaling": {"type": "linear"})", "rope_scaling.factor is absent; expected a number"},
      {R"("rope_scaling": {"type": "linear", "factor": 0.5})",
       "rope_scaling.factor is 0.5; expected a number from 1"},
      {R"("rope_scaling": {"type": "default", "factor": 2})", "rope_scaling.factor is 2; expected"},
      {R"("rope_scaling": {"type": "linear", "factor": 2, "low_freq_factor": 1})",
       "rope_scaling.low_freq_factor is 1; expected no field"},
      {R"("rope_parameters": {"partial_rotary_factor": 0.5})",
       "rope_parameters.partial_rotary_factor is 0.5; expected 1"},
      {R"("rope_theta": 5, "rope_parameters": {"rope_theta": 3})",
       "rope_parameters.rope_theta is 3; expected the rope_theta beside it, 5"},
      {R"("rope_scaling": {"rope_theta": 5}, "rope_parameters": {"rope_theta": 3})",
       "rope_parameters.rope_theta is 3; expected the rope_theta beside it, 5"},
      {R"("rope_scaling": {"type": "linear", "factor": 2}, "rope_parameters": {})",
       "rope_parameters is {}; expected the rope_scaling beside it, {\"factor\":2"},
  };
  for (const auto& [members, message] : cases) {
    const auto config = Parse(members);
    ASSERT_EQ(config.status().code(), absl::StatusCode::kInvalidArgument) << members;
    EXPECT_THAT(std::string(config.status().message()), HasSubstr(message)) << members;
  }
}

TEST(Rope, RefusesLlama3WithoutItsBounds) {
  const std::vector<std::pair<std::string, std::string>> cases = {
      {R"("factor": null)", "factor is null; expected a number from 1"},
      {R"("factor": 0.5)", "factor is 0.5; expected a number from 1"},
      {R"("low_freq_factor": null)", "low_freq_factor is null; expected a number above 0"},
      {R"("low_freq_factor": 0)", "low_freq_factor is 0; expected a number above 0"},
      {R"("high_freq_factor": null)", "high_freq_factor is null"},
      {R"("high_freq_factor": 1.0)",
       "low_freq_factor is 1.0; expected less than high_freq_factor, 1"},
      {R"("original_max_position_embeddings": null)",
       "original_max_position_embeddings is null; expected an integer from 1 to 16777216"},
      {R"("original_max_position_embeddings": 0)", "original_max_position_embeddings is 0"},
      {R"("original_max_position_embeddings": 8192.5)", "original_max_position_embeddings is 8192"},
  };
  for (const auto& [member, message] : cases) {
    std::string members = absl::StrCat(", ", kLlama31);
    const std::string name = member.substr(0, member.find(':'));
    const size_t at = members.find(name);
    members.replace(at, std::min(members.find(',', at), members.size()) - at, member);
    const auto config =
        Parse(absl::StrCat(R"("rope_scaling": {"rope_type": "llama3")", members, "}"));
    ASSERT_EQ(config.status().code(), absl::StatusCode::kInvalidArgument) << member;
    EXPECT_THAT(std::string(config.status().message()),
                HasSubstr("config.json: rope_scaling." + message));
  }
}

ModelConfig Heads(uint32_t head_dim, float theta, const RopeScaling& scaling) {
  ModelConfig config;
  config.head_dim = head_dim;
  config.rope_theta = theta;
  config.rope_scaling = scaling;
  return config;
}

TEST(RotaryFrequencies, ArePowersOfTheta) {
  const std::vector<double> found = RotaryFrequencies(Heads(8, 10000.0F, {}));
  ASSERT_EQ(found.size(), 4U);
  for (size_t i = 0; i < 4; ++i) EXPECT_NEAR(found[i] / std::pow(10.0, -1.0 * i), 1.0, 1e-14);
}

TEST(RotaryFrequencies, LinearDividesAll) {
  const std::vector<double> plain = RotaryFrequencies(Heads(8, 10000.0F, {}));
  const std::vector<double> found =
      RotaryFrequencies(Heads(8, 10000.0F, {RopeScaling::Type::kLinear, 4.0F}));
  EXPECT_THAT(found, ElementsAre(plain[0] / 4, plain[1] / 4, plain[2] / 4, plain[3] / 4));
}

// inv_freq of transformers 5.24.0, which are floats: of Llama 3.2's 1B and of Llama 3.1's 8B.
struct Llama3Case {
  uint32_t head_dim;
  float factor;
  std::vector<std::pair<size_t, double>> frequencies;
};

TEST(RotaryFrequencies, Llama3IsThatOfTransformers) {
  const std::vector<Llama3Case> cases = {
      {64,
       32.0F,
       {{0, 1.0},
        {13, 0.00483942124992609},
        {14, 0.0032114461064338684},
        {15, 0.0012905480107292533},
        {16, 0.000429556705057621},
        {17, 9.708286233944818e-05},
        {18, 1.9461638657958247e-05},
        {31, 9.418306490260875e-08}}},
      {128,
       8.0F,
       {{1, 0.8146172165870667},
        {28, 0.0032114461064338684},
        {29, 0.0021665706299245358},
        {31, 0.0008567514596506953},
        {34, 0.0001785077911335975},
        {35, 9.556212171446532e-05},
        {36, 7.784655463183299e-05},
        {63, 3.068925877869333e-07}}},
  };
  for (const Llama3Case& c : cases) {
    const std::vector<double> found = RotaryFrequencies(
        Heads(c.head_dim, 500000.0F, {RopeScaling::Type::kLlama3, c.factor, 1.0F, 4.0F, 8192}));
    ASSERT_EQ(found.size(), c.head_dim / 2);
    for (const auto& [i, expected] : c.frequencies) {
      EXPECT_NEAR(found[i] / expected, 1.0, 1e-6) << c.head_dim << " " << i;
    }
  }
}

}  // namespace
}  // namespace recurve
