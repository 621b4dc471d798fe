// SPDX-License-Identifier: Apache-2.0
#include "server/net/descriptors.h"

#include <sys/resource.h>
#include <unistd.h>

#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace recurve {
namespace {

using testing::HasSubstr;

TEST(DescriptorsTest, RaisesTheSoftLimitToTheHardOne) {
  rlimit before{};
  ASSERT_EQ(getrlimit(RLIMIT_NOFILE, &before), 0);
  rlimit lower = before;
  lower.rlim_cur = 100;
  ASSERT_EQ(setrlimit(RLIMIT_NOFILE, &lower), 0);
  EXPECT_EQ(SoftDescriptorLimit(), 100U);
  const DescriptorLimit raised = RaiseDescriptorLimit();
  EXPECT_EQ(raised.before, 100U);
  EXPECT_EQ(raised.now, before.rlim_max);
  EXPECT_EQ(SoftDescriptorLimit(), before.rlim_max);
  setrlimit(RLIMIT_NOFILE, &before);
}

TEST(DescriptorsTest, CountsThoseThatAreOpen) {
  const uint64_t open = OpenDescriptors();
  const int one = dup(0);
  EXPECT_EQ(OpenDescriptors(), open + 1);
  close(one);
}

TEST(DescriptorsTest, ConnectionsGetWhatIsLeft) {
  EXPECT_EQ(*ConnectionLimit(0, 1024, 4), 1024 - 4 - kKeptDescriptors);
  EXPECT_EQ(*ConnectionLimit(0, 1U << 20, 4), kMostAutomaticConnections);
  EXPECT_EQ(*ConnectionLimit(100, 1024, 4), 100U);
  EXPECT_EQ(*ConnectionLimit(50000, 1U << 20, 4), 50000U);
  EXPECT_EQ(*ConnectionLimit(0, 5 + kKeptDescriptors, 4), 1U);
}

TEST(DescriptorsTest, RefusesWhatCannotBe) {
  const auto none = ConnectionLimit(0, 4 + kKeptDescriptors, 4);
  EXPECT_EQ(none.status().code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_THAT(none.status().message(),
              HasSubstr(absl::StrCat("--max_connections=auto: the process may open ",
                                     4 + kKeptDescriptors, " file descriptors")));
  EXPECT_THAT(none.status().message(),
              HasSubstr(absl::StrCat("raise the hard limit to ", 5 + kKeptDescriptors)));
  EXPECT_EQ(ConnectionLimit(0, 3, 4).status().code(), absl::StatusCode::kFailedPrecondition);
  const auto many = ConnectionLimit(1000, 1000, 4);
  EXPECT_THAT(many.status().message(), HasSubstr("--max_connections=1000: "));
  EXPECT_THAT(many.status().message(),
              HasSubstr(absl::StrCat("or allow ", 996 - kKeptDescriptors, " connections")));
}

}  // namespace
}  // namespace recurve
