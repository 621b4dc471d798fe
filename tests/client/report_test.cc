// SPDX-License-Identifier: Apache-2.0
#include "client/cli/report.h"

#include "client/client.h"
#include "gmock/gmock.h"

namespace recurve::client {
namespace {

using testing::HasSubstr;
using testing::Not;

std::string Reported(const absl::Status& status) {
  testing::internal::CaptureStderr();
  EXPECT_EQ(ReportError("host:1", status), 1);
  return testing::internal::GetCapturedStderr();
}

TEST(ReportTest, AdviceFitsTheFailure) {
  absl::Status status = absl::UnavailableError("the server answers NOT_SERVING");
  EXPECT_THAT(Reported(status), HasSubstr("host:1: UNAVAILABLE: the server answers NOT_SERVING\n"));
  EXPECT_THAT(Reported(status), HasSubstr("does not serve now"));
  EXPECT_THAT(Reported(status), Not(HasSubstr("Start one")));
  status.SetPayload(kNotReachedPayload, absl::Cord());
  EXPECT_THAT(Reported(status), HasSubstr("Start one with `./run serve`"));
  EXPECT_THAT(Reported(status), Not(HasSubstr("does not serve now")));

  status = absl::ResourceExhaustedError("no");
  EXPECT_THAT(Reported(status), HasSubstr("too large"));
  status.SetPayload(kRetryPushbackPayload, absl::Cord("7"));
  EXPECT_THAT(Reported(status), HasSubstr("--attempts=5"));
}

}  // namespace
}  // namespace recurve::client
