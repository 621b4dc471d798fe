// SPDX-License-Identifier: Apache-2.0
#include "server/grpc/grpc_status.h"

#include <grpcpp/support/status.h>

#include <string>

#include "gtest/gtest.h"

namespace recurve {
namespace {

TEST(GrpcStatusTest, LongMessagesAreCutBetweenCharacters) {
  EXPECT_EQ(ToGrpc(absl::InternalError("short")).error_message(), "short");
  EXPECT_EQ(ToGrpc(absl::InternalError(std::string(2000, 'x'))).error_message().size(), 1024U);
  const std::string half = std::string(1023, 'x') + "\xE2\x82\xAC and more";  // a euro sign
  EXPECT_EQ(ToGrpc(absl::InternalError(half)).error_message(), std::string(1023, 'x'));
  const std::string whole = std::string(1021, 'x') + "\xE2\x82\xAC and more";
  EXPECT_EQ(ToGrpc(absl::InternalError(whole)).error_message(), whole.substr(0, 1024));
}

}  // namespace
}  // namespace recurve
