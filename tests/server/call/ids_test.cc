// SPDX-License-Identifier: Apache-2.0
#include "server/call/ids.h"

#include <set>
#include <string>

#include "engine/api/request.h"
#include "gtest/gtest.h"
#include "server/access/names.h"

namespace recurve {
namespace {

TEST(IdsTest, ValidIdsArePrintableAndShort) {
  EXPECT_TRUE(IsValidName("a b~!", 5));
  EXPECT_TRUE(IsValidName(std::string(64, 'x'), 64));
  EXPECT_FALSE(IsValidName("", 64));
  EXPECT_FALSE(IsValidName(std::string(65, 'x'), 64));
  EXPECT_FALSE(IsValidName("a\nb", 64));
  EXPECT_FALSE(IsValidName("\xC3\xA4", 64));
  std::set<std::string> made;
  for (int i = 0; i < 1000; ++i) made.insert(MakeRequestId());
  EXPECT_EQ(made.size(), 1000U);
  EXPECT_TRUE(IsValidName(*made.begin(), kMaxRequestIdBytes));
}

}  // namespace
}  // namespace recurve
