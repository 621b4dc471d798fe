// SPDX-License-Identifier: Apache-2.0
#include "server/call/call_record.h"

#include <unistd.h>

#include <cstdio>
#include <functional>
#include <memory>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace recurve {
namespace {

using testing::EndsWith;

constexpr SteadyTime kArrival{std::chrono::hours(1)};

SteadyTime At(int milliseconds) { return kArrival + std::chrono::milliseconds(milliseconds); }

class CallRecordTest : public testing::Test {
 protected:
  CallRecordTest() {
    origin_.method = "Generate";
    origin_.id = "one";
    origin_.arrival = kArrival;
  }

  // The line that is written for it.
  std::string Line(const CallRecord& record) {
    return LineOf([&](Log* log) { RecordCall(origin_, record, &metrics_, log); });
  }
  std::string Answered(const absl::Status& status, SteadyTime ended) {
    return LineOf([&](Log* log) { RecordAnswer(origin_, status, ended, &metrics_, log); });
  }

  static std::string LineOf(const std::function<void(Log*)>& record) {
    const std::unique_ptr<std::FILE, int (*)(std::FILE*)> file{std::tmpfile(), &std::fclose};
    Log log(LogFormat::kText, fileno(file.get()));
    record(&log);
    log.Flush();
    std::string text(1 << 16, '\0');
    text.resize(static_cast<size_t>(pread(fileno(file.get()), text.data(), text.size(), 0)));
    return text;
  }

  CallOrigin origin_;
  Metrics metrics_;
};

TEST_F(CallRecordTest, SamplesAreToldTogether) {
  CallRecord record;
  record.code = absl::StatusCode::kOk;
  record.reason = "length";
  record.samples.resize(2);
  Finish& first = record.samples[0];
  first.prompt_tokens = 5;
  first.generated_tokens = 3;
  first.preemptions = 1;
  first.generated_depth = {{}, {3}};
  first.admitted = At(20);
  first.ended = At(100);
  Finish& second = record.samples[1];
  second.prompt_tokens = 5;
  second.generated_tokens = 1;
  second.preemptions = 2;
  second.generated_depth = {{}, {0, 0, 3}};
  second.admitted = At(10);
  second.ended = At(90);
  record.first_token = At(25);
  origin_.tenant = "acme";
  origin_.trace_id = "4bf9";
  EXPECT_THAT(Line(record),
              EndsWith(" request id=one method=Generate code=OK tenant=acme trace_id=4bf9 "
                       "reason=length samples=2 prompt_tokens=5 generated_tokens=4 mean_depth=2 "
                       "preemptions=3 queue_ms=10 ttft_ms=25 total_ms=100\n"));
}

TEST_F(CallRecordTest, AWaitThatEndsWithoutASlotCounts) {
  CallRecord record;
  record.code = absl::StatusCode::kResourceExhausted;
  record.error = absl::ResourceExhaustedError("queue_timeout_ms has passed");
  record.reason = EndReasonName(EndReason::kQueueTimeout);
  record.samples.resize(1);
  record.samples[0].ended = At(2);
  EXPECT_THAT(Line(record),
              EndsWith("code=RESOURCE_EXHAUSTED reason=queue_timeout prompt_tokens=0 "
                       "generated_tokens=0 mean_depth=0 preemptions=0 queue_ms=2 total_ms=2 "
                       "error=\"queue_timeout_ms has passed\"\n"));
  EXPECT_DOUBLE_EQ(metrics_.latencies().queue.sum, 0.002);
}

TEST_F(CallRecordTest, RefusalIsNoRequest) {
  CallRecord record;
  record.code = absl::StatusCode::kUnavailable;
  record.error = absl::UnavailableError("the model is still loading");
  record.refusal = Rejection::kLoading;
  EXPECT_THAT(Line(record), EndsWith(" request id=one method=Generate code=UNAVAILABLE "
                                     "refused=loading error=\"the model is still loading\"\n"));
  EXPECT_EQ(metrics_.latencies().queue.sum, 0.0);
}

TEST_F(CallRecordTest, ACallThatGeneratesNothingIsToldWithItsTime) {
  origin_.method = "Tokenize";
  origin_.tenant = "acme";
  origin_.trace_id = "4bf9";
  EXPECT_THAT(Answered(absl::OkStatus(), At(3)),
              EndsWith(" request id=one method=Tokenize code=OK tenant=acme trace_id=4bf9 "
                       "total_ms=3\n"));
  EXPECT_THAT(Answered(absl::InvalidArgumentError("no such id"), At(4)),
              EndsWith(" request id=one method=Tokenize code=INVALID_ARGUMENT tenant=acme "
                       "trace_id=4bf9 error=\"no such id\" total_ms=4\n"));
}

}  // namespace
}  // namespace recurve
