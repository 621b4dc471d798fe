// SPDX-License-Identifier: Apache-2.0
#include "engine/kv/budget.h"

#include <algorithm>
#include <array>
#include <random>
#include <string>

#include "gtest/gtest.h"

namespace recurve {
namespace {

constexpr StepShape kShape = {3, 0};  // groups: entry 0, recursions 1 to 3, exit 4

KvBudget Parsed(const std::string& text) {
  KvBudget budget;
  budget.policy = EvictionPolicy::kWindow;
  EXPECT_TRUE(ParseKvBudget(text, kShape, budget).ok()) << text;
  return budget;
}

TEST(BudgetTest, SaysWhatEachGroupKeeps) {
  KvBudget budget = Parsed("entry:64,2:50%,exit:1");
  EXPECT_EQ(budget.Keep(0, 1024), 64U);
  EXPECT_EQ(budget.Keep(1, 1024), kNoBoundary);
  EXPECT_EQ(budget.Keep(2, 1024), 512U);
  EXPECT_EQ(budget.Keep(4, 1024), 1U);
  budget.sinks = 4;
  budget.recent = 8;
  EXPECT_EQ(budget.Keep(2, 16), 12U);  // what no policy takes
  EXPECT_TRUE(budget.limited());
  const std::array<uint32_t, 5> pages = {16, 32, 32, 32, 16};
  EXPECT_FALSE(budget.bounds_all(pages));
  EXPECT_TRUE(Parsed("entry:1,1:1,2:1,3:1,exit:1").bounds_all(pages));
  EXPECT_FALSE(Parsed("entry:1,1:1,2:1,3:1,exit:9%").bounds_all(pages));  // grows with the sequence
  const std::array<uint32_t, 5> no_ends = {0, 32, 32, 32, 0};
  EXPECT_TRUE(Parsed("1:1,2:1,3:1").bounds_all(no_ends));
  budget.policy = EvictionPolicy::kNone;
  EXPECT_FALSE(budget.limited());
  EXPECT_EQ(budget.NextBoundary(0), kNoBoundary);
}

TEST(BudgetTest, BoundariesAreMultiples) {
  KvBudget budget = Parsed("1:5");
  budget.every = 16;
  EXPECT_EQ(budget.NextBoundary(0), 16U);
  EXPECT_EQ(budget.NextBoundary(15), 16U);
  EXPECT_EQ(budget.NextBoundary(16), 32U);
  EXPECT_EQ(budget.NextBoundary(kNoBoundary - 1), kNoBoundary);
}

TEST(BudgetTest, MostEntriesIsWhatAWalkFinds) {
  std::mt19937 random(3);
  for (int trial = 0; trial < 300; ++trial) {
    KvBudget budget = Parsed(trial % 2 == 0 ? "1:" + std::to_string(1 + random() % 40)
                                            : "1:" + std::to_string(1 + random() % 99) + "%");
    budget.every = 1 + random() % 20;
    budget.sinks = random() % 3;
    budget.recent = random() % 3;
    uint32_t held = 0, most = 0;
    for (uint32_t tokens = 1; tokens < 150; ++tokens) {
      most = std::max(most, ++held);  // every token is active
      EXPECT_GE(budget.MostEntries(1, tokens), most) << tokens;
      EXPECT_LE(budget.MostEntries(1, tokens), tokens);
      if (tokens % budget.every == 0) held = std::min(held, budget.Keep(1, tokens));
    }
    EXPECT_EQ(budget.MostEntries(2, 100), 100U);
  }
}

TEST(BudgetTest, BadBudgetsAreNamed) {
  const std::pair<const char*, const char*> bad[] = {
      {"64", "\"64\"; expected GROUP:ENTRIES or GROUP:PERCENT%"},
      {"0:4", "\"0:4\"; expected a group, which is entry, 1 to 3 or exit"},
      {"4:4", "\"4:4\"; expected a group, which is entry, 1 to 3 or exit"},
      {"1:0", "\"1:0\"; expected at least 1 entry, or 1% to 99%"},
      {"1:100%", "\"1:100%\"; expected at least 1 entry, or 1% to 99%"},
      {"1:-3", "\"1:-3\"; expected at least 1 entry, or 1% to 99%"},
      {"1:3,1:4", "\"1:4\"; expected each group once"},
      {"1:3,", "\"\"; expected GROUP:ENTRIES or GROUP:PERCENT%"}};
  for (const auto& [text, message] : bad) {
    KvBudget budget;
    const absl::Status status = ParseKvBudget(text, kShape, budget);
    EXPECT_EQ(status.message(), "kv_budget: " + std::string(message)) << text;
  }
  EXPECT_EQ(ParseEvictionPolicy("lru").status().message(),
            "kv_eviction is \"lru\"; expected none, window, attention or router");
  for (const char* name : {"none", "window", "attention", "router"}) {
    EXPECT_EQ(EvictionPolicyName(*ParseEvictionPolicy(name)), name);
  }
}

TEST(KvBudgetTest, ErrorsQuoteNothingThatDrivesATerminal) {
  KvBudget budget;
  const std::string text = "\x1b[2J\n" + std::string(1000, 'x');
  for (const absl::Status& status :
       {ParseKvBudget(text, {3, 0}, budget), ParseEvictionPolicy(text).status()}) {
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
    EXPECT_EQ(status.message().find('\n'), absl::string_view::npos);
    EXPECT_EQ(status.message().find('\x1b'), absl::string_view::npos);
    EXPECT_LT(status.message().size(), 300U);
  }
}

}  // namespace
}  // namespace recurve
