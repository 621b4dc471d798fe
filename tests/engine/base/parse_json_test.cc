// SPDX-License-Identifier: Apache-2.0
#include "engine/base/parse_json.h"

#include <string>
#include <string_view>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace recurve {
namespace {

std::string Message(std::string_view text, int most_levels) {
  const auto value = ParseJson(text, most_levels);
  if (!value.ok()) return std::string(value.status().message());
  return value->is_discarded() ? "no JSON" : value->dump();
}

TEST(ParseJsonTest, TakesLevelsUpToTheBound) {
  EXPECT_EQ(Message("7", 0), "7");
  EXPECT_EQ(Message("[]", 0), "JSON nested deeper than 0 levels");
  EXPECT_EQ(Message(R"({"a":[1,{}]})", 3), R"({"a":[1,{}]})");
  EXPECT_EQ(Message(R"({"a":[1,{}]})", 2), "JSON nested deeper than 2 levels");
  EXPECT_EQ(Message(std::string(500000, '['), 2), "JSON nested deeper than 2 levels");
}

TEST(ParseJsonTest, ANameStandsOnceInAnObject) {
  EXPECT_EQ(Message(R"({"a":{"a":1},"b":[{"a":1},{"a":1}]})", 3),
            R"({"a":{"a":1},"b":[{"a":1},{"a":1}]})");
  EXPECT_EQ(Message(R"({"a":{"b":1,"c":2,"b":3}})", 3), "b is given twice in one object");
  EXPECT_EQ(Message(R"({"\n":1,"\n":2,"a":1,"a":2})", 3), "\\n is given twice in one object");
}

TEST(ParseJsonTest, WhatIsNoJsonIsDiscarded) {
  for (const char* text : {"", "{", "[1,]", R"({"a":1,"a":2)", "\xff", "1 2"}) {
    EXPECT_EQ(Message(text, 3), "no JSON") << text;
  }
}

// The names of an object in what is too deep belong to no open object.
TEST(ParseJsonTest, NamesBelowTheBoundAreLeftAlone) {
  EXPECT_EQ(Message(R"([[[{"a":1,"b":{"a":2}}]]])", 2), "JSON nested deeper than 2 levels");
  EXPECT_EQ(Message(R"([[[{"a":1)", 2), "JSON nested deeper than 2 levels");
}

}  // namespace
}  // namespace recurve
