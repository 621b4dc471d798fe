// SPDX-License-Identifier: Apache-2.0
#include "engine/backend/limits.h"

#include <functional>
#include <string>
#include <utility>
#include <vector>

#include "gtest/gtest.h"

namespace recurve {
namespace {

constexpr BackendLimits kLimits = {
    {.slots = 4, .areas = 2, .chunk = 8, .ends = 3, .block_rows = 5, .prompt_rows = 9},
    /*pages=*/10,
    /*max_positions=*/64};
constexpr BackendMaxima kMaxima = {.slots = 4, .hidden_rows = 20, .pages = 30};

ModelConfig Config() {
  ModelConfig config;
  config.num_recursions = kMaxGroups - 2;
  config.max_positions = 64;
  return config;
}

TEST(LimitsTest, WhatMeetsEveryBoundIsAllowed) {
  EXPECT_TRUE(CheckLimits(kLimits, Config(), kMaxima).ok());
}

TEST(LimitsTest, RefusalsNameLimitAndValue) {
  using Change = std::function<void(BackendLimits&, ModelConfig&)>;
  const std::vector<std::pair<Change, std::string>> cases = {
      {[](auto& l, auto&) { l.slots = 0; }, "slots: found 0, expected at least 1"},
      {[](auto& l, auto&) { l.areas = 0; }, "areas: found 0, expected at least 1"},
      {[](auto& l, auto&) { l.chunk = 0; }, "chunk: found 0, expected at least 1"},
      {[](auto& l, auto&) { l.ends = 0; }, "ends: found 0, expected at least 1"},
      {[](auto& l, auto&) { l.block_rows = 0; }, "block_rows: found 0, expected at least 1"},
      {[](auto& l, auto&) { l.pages = 0; }, "pages: found 0, expected at least 1"},
      {[](auto& l, auto&) { l.max_positions = 0; }, "max_positions: found 0, expected at least 1"},
      {[](auto& l, auto&) { l.prompt_rows = 7; },
       "prompt_rows: found 7, expected at least chunk = 8"},
      {[](auto& l, auto&) { l.max_positions = 65; },
       "max_positions: found 65, expected at most the model's 64"},
      {[](auto& l, auto&) { l.slots = 5; }, "slots: found 5, expected at most 4"},
      {[](auto& l, auto&) { l.pages = 31; }, "pages: found 31, expected at most 30"},
      {[](auto& l, auto&) { l.areas = 3; },
       "areas and chunk: found 3 and 8, expected at most 20 rows of areas and slots"},
      {[](auto& l, auto&) { l.areas = l.chunk = l.prompt_rows = 1U << 16; },
       "areas and chunk: found 65536 and 65536, expected at most 20 rows of areas and slots"},
      {[](auto&, auto& c) { ++c.num_recursions; }, "num_recursions: found 15, expected at most 14"},
  };
  for (const auto& [change, message] : cases) {
    BackendLimits limits = kLimits;
    ModelConfig config = Config();
    change(limits, config);
    EXPECT_EQ(CheckLimits(limits, config, kMaxima), absl::InvalidArgumentError(message));
  }
}

TEST(LimitsTest, CountsRows) {
  EXPECT_EQ(MaxRows(kLimits), 14U);
  EXPECT_EQ(HiddenRows(kLimits), 20U);
}

}  // namespace
}  // namespace recurve
