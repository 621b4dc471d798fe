// SPDX-License-Identifier: Apache-2.0
#include "client/load/extent.h"

#include "gmock/gmock.h"

namespace recurve::client {
namespace {

using testing::HasSubstr;

TEST(ExtentTest, IsRequestsOrATime) {
  EXPECT_EQ(ParseExtent("12")->requests, 12U);
  EXPECT_EQ(ParseExtent("0")->requests, 0U);
  EXPECT_EQ(ParseExtent("1500ms")->seconds, 1.5);
  EXPECT_EQ(ParseExtent("2m")->seconds, 120);
  EXPECT_EQ(ParseExtent("2m")->requests, std::nullopt);
  for (const char* text : {"", "-1", "x", "0s", "-1s", "inf", "100000001", "1.5", "169h"}) {
    const auto extent = ParseExtent(text);
    ASSERT_FALSE(extent.ok()) << text;
    EXPECT_THAT(std::string(extent.status().message()), HasSubstr("expected a number of requests"));
  }
}

}  // namespace
}  // namespace recurve::client
