// SPDX-License-Identifier: Apache-2.0
#include "engine/api/refusal.h"

#include "gtest/gtest.h"

namespace recurve {
namespace {

TEST(RefusalTest, TravelsInAStatus) {
  const absl::Status status = ToStatus({"stop_strings[3]", "has 0 bytes", "it must have 1"});
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(status.message(), "stop_strings[3] has 0 bytes; it must have 1");
  const auto refusal = RefusalIn(status);
  ASSERT_TRUE(refusal.has_value());
  EXPECT_EQ(refusal->field, "stop_strings[3]");
  EXPECT_EQ(refusal->found, "has 0 bytes");
  EXPECT_EQ(refusal->limit, "it must have 1");
}

TEST(RefusalTest, OtherStatusesCarryNone) {
  EXPECT_FALSE(RefusalIn(absl::OkStatus()).has_value());
  EXPECT_FALSE(RefusalIn(absl::InvalidArgumentError("stop_strings is odd; so")).has_value());
}

}  // namespace
}  // namespace recurve
