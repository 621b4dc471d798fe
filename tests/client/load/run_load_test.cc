// SPDX-License-Identifier: Apache-2.0
// Loads against a service whose requests end at once, or not at all.
#include "client/load/run_load.h"

#include <grpcpp/grpcpp.h>

#include <algorithm>
#include <atomic>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/strings/str_cat.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/clock.h"
#include "client/load/recurve_target.h"
#include "gmock/gmock.h"
#include "recurve/v1/generation.grpc.pb.h"

namespace recurve::client {
namespace {

// Streams of one message that end at once; but one of "wait" ends, without it, when it is
// cancelled, one of "one, and wait" does so after it, and those of "together" end when kTogether of
// them are there at once.
class FakeService final : public v1::GenerationService::CallbackService {
 public:
  static constexpr size_t kTogether = 2000;

  grpc::ServerWriteReactor<v1::GenerateResponse>* Generate(
      grpc::CallbackServerContext* /*context*/, const v1::GenerateRequest* request) override {
    auto* const stream = new StreamOfOne;
    if (request->text() == "wait") return stream;
    if (request->text() == "one, and wait") {
      stream->Begin();
      return stream;
    }
    if (request->text() != "together") {
      stream->End();
      return stream;
    }
    const absl::MutexLock lock(&mutex_);
    together_.push_back(stream);
    if (together_.size() == kTogether) {
      for (StreamOfOne* other : together_) other->End();
    }
    return stream;
  }

 private:
  class StreamOfOne final : public grpc::ServerWriteReactor<v1::GenerateResponse> {
   public:
    StreamOfOne() {
      message_.add_tokens();
      message_.mutable_final()->set_cached_tokens(3);
    }
    void Begin() { StartWrite(&message_); }
    void End() {
      if (!ended_.exchange(true)) StartWriteAndFinish(&message_, {}, grpc::Status::OK);
    }
    void OnCancel() override {
      if (!ended_.exchange(true)) Finish(grpc::Status::CANCELLED);
    }
    void OnDone() override { delete this; }

   private:
    v1::GenerateResponse message_;
    std::atomic<bool> ended_ = false;
  };

  absl::Mutex mutex_;
  std::vector<StreamOfOne*> together_ ABSL_GUARDED_BY(mutex_);
};

class RunLoadTest : public testing::Test {
 protected:
  static constexpr uint64_t kNever = ~uint64_t{0};

  RunLoadTest() {
    grpc::ServerBuilder builder;
    int port = 0;
    builder.AddListeningPort("127.0.0.1:0", grpc::InsecureServerCredentials(), &port);
    builder.RegisterService(&service_);
    server_ = builder.BuildAndStart();
    connection_.server = absl::StrCat("127.0.0.1:", port);
  }

  // Runs the load, whose i-th request has the text `text(i)`. A stop is requested as soon as
  // `stop_after` requests have ended.
  template <typename Text>
  LoadResult Run(const LoadShape& shape, const Text& text, uint64_t stop_after = kNever) {
    RecurveTarget target(connection_);
    std::stop_source stop;
    Load load;
    load.shape = shape;
    load.make_request = [&](uint64_t index) {
      EXPECT_EQ(index, made_++);
      v1::GenerateRequest request;
      request.set_text(text(index));
      return request;
    };
    load.progress = [&](const LoadProgress& progress) {
      EXPECT_LE(progress.ended, progress.sent);
      if (progress.ended >= stop_after) stop.request_stop();
    };
    if (stop_after == 0) stop.request_stop();
    return RunLoad(target, {}, load, stop.get_token());
  }

  static LoadShape Closed(uint32_t streams, uint64_t requests, uint64_t warmup = 0) {
    return {std::nullopt, streams, {.requests = warmup}, {.requests = requests}};
  }

  static int CountCode(const LoadResult& result, absl::StatusCode code) {
    return static_cast<int>(
        std::count_if(result.records.begin(), result.records.end(),
                      [&](const RequestRecord& record) { return record.status.code() == code; }));
  }

  FakeService service_;
  std::unique_ptr<grpc::Server> server_;
  ConnectionFlags connection_;
  uint64_t made_ = 0;
};

std::string Go(uint64_t /*index*/) { return "go"; }

TEST_F(RunLoadTest, RunsEachRequestOnce) {
  const LoadResult result = Run(Closed(3, 20, 5), &Go);
  EXPECT_FALSE(result.stopped);
  EXPECT_EQ(CountCode(result, absl::StatusCode::kOk), 25);
  EXPECT_EQ(made_, 25U);
  std::set<uint64_t> measured;
  for (const RequestRecord& record : result.records) {
    EXPECT_EQ(record.cached_tokens, 3U);
    EXPECT_EQ(record.is_measured, record.index >= 5);
    EXPECT_LE(record.intended, record.sent);
    EXPECT_LE(record.sent, record.messages.at(0).at);
    EXPECT_LE(record.messages.at(0).at, record.ended);
    if (!record.is_measured) continue;
    measured.insert(record.index);
    EXPECT_GE(record.intended, result.window_begin);
    EXPECT_LE(record.ended, result.window_end);
  }
  EXPECT_EQ(measured.size(), 20U);
}

// None of them ends before all have been sent.
TEST_F(RunLoadTest, AnOpenLoopSendsWhatIsDueThoughNothingEnds) {
  constexpr size_t kStreams = FakeService::kTogether;
  const LoadShape shape = {Schedule::Trace(std::vector<double>(kStreams, 0)),
                           10000,
                           {.requests = 0},
                           {.requests = kStreams}};
  const LoadResult result = Run(shape, [](uint64_t /*index*/) { return "together"; });
  EXPECT_EQ(CountCode(result, absl::StatusCode::kOk), static_cast<int>(kStreams));
}

TEST_F(RunLoadTest, WhatWaitsForAPlaceHasBeenIntendedBefore) {
  const LoadShape shape = {Schedule::Trace({0, 0, 0}), 1, {.requests = 0}, {.requests = 3}};
  const LoadResult result = Run(shape, &Go);
  ASSERT_EQ(result.records.size(), 3U);
  for (size_t i = 1; i < 3; ++i) {
    EXPECT_EQ(result.records[i].index, i);
    EXPECT_EQ(result.records[i].intended, 0);
    EXPECT_GE(result.records[i].sent, result.records[i - 1].ended);
  }
}

TEST_F(RunLoadTest, ATimeEndsTheLoad) {
  const LoadShape shape = {Schedule::Constant(200), 100, {.seconds = 0.02}, {.seconds = 0.05}};
  const LoadResult result = Run(shape, &Go);
  EXPECT_FALSE(result.stopped);
  EXPECT_EQ(result.records.size(), 14U);  // at 0, 5, ... 65 ms, however late
  EXPECT_EQ(result.window_begin, 0.02);
  EXPECT_DOUBLE_EQ(result.window_end, 0.07);
}

TEST_F(RunLoadTest, FaultsEndWhatWouldNotEnd) {
  Load load;
  load.shape = Closed(2, 4);
  load.make_request = [](uint64_t index) {
    v1::GenerateRequest request;
    request.set_text(index < 2 ? "wait" : "one, and wait");
    return request;
  };
  load.fault_of = [](uint64_t index, const v1::GenerateRequest& /*request*/) {
    if (index == 0) return Fault{Fault::Kind::kDeadline, 0, 0.001};
    return Fault{Fault::Kind::kCancel, index == 1 ? 0U : 1U, 0};
  };
  load.progress = [](const LoadProgress& /*progress*/) {};
  RecurveTarget target(connection_);
  const LoadResult result = RunLoad(target, {}, load, std::stop_token());
  EXPECT_EQ(CountCode(result, absl::StatusCode::kDeadlineExceeded), 1);
  EXPECT_EQ(CountCode(result, absl::StatusCode::kCancelled), 3);
  for (const RequestRecord& record : result.records) {
    EXPECT_FALSE(record.cut_short);
    EXPECT_EQ(record.messages.size(), record.index < 2 ? 0U : 1U);
    EXPECT_EQ(record.fault, record.index == 0 ? Fault::Kind::kDeadline : Fault::Kind::kCancel);
  }
}

// What a target is told, and how it answers, without a server.
class FakeTarget final : public Target {
 public:
  class FakeStream final : public Stream {
   public:
    explicit FakeStream(OnEnd on_end) : on_end_(std::move(on_end)) {}
    void Cancel() override { End(absl::CancelledError("")); }
    void End(const absl::Status& status) {
      if (!std::exchange(has_ended_, true)) on_end_(status);
    }

   private:
    const OnEnd on_end_;
    bool has_ended_ = false;
  };
  class FakeReader final : public MessageReader {
   public:
    void Done() override { ++done; }
    int done = 0;
  };

  absl::StatusOr<TargetInfo> Describe() override { return TargetInfo(); }
  absl::Status Check(const v1::GenerateRequest& /*request*/) const override {
    return absl::OkStatus();
  }
  // The first `refusals` are refused; then one message, and the end. All on the caller's thread.
  std::unique_ptr<Stream> Start(const v1::GenerateRequest& /*request*/, const CallOptions& call,
                                OnMessage on_message, OnEnd on_end) override {
    ++call.report->tries;
    timeouts.push_back(call.timeout);
    auto stream = std::make_unique<FakeStream>(std::move(on_end));
    if (refusals > 0) {
      --refusals;
      absl::Status status = absl::ResourceExhaustedError("full");
      status.SetPayload(kRetryPushbackPayload, absl::Cord(pushback));
      stream->End(status);
      return stream;
    }
    Heard heard;
    heard.tokens = 1;
    is_held = !on_message(heard, reader);
    if (!is_held || ends_while_held) stream->End(absl::OkStatus());
    return stream;
  }

  int refusals = 0;
  std::string pushback = "10";
  bool ends_while_held = false, is_held = false;
  FakeReader reader;
  std::vector<std::optional<std::chrono::milliseconds>> timeouts;
};

// One request.
Load FakeLoad(int attempts) {
  Load load;
  load.shape = {std::nullopt, 1, {.requests = 0}, {.requests = 1}};
  load.make_request = [](uint64_t /*index*/) { return v1::GenerateRequest(); };
  load.attempts = attempts;
  load.progress = [](const LoadProgress& /*progress*/) {};
  return load;
}

// Its last request ends before the time does, so that no end tells that it is over.
TEST_F(RunLoadTest, ATimeEndsALoadOfOneStream) {
  FakeTarget target;
  Load load = FakeLoad(1);
  load.shape.measured = {.seconds = 0.02};
  const LoadResult result = RunLoad(target, {}, load, std::stop_token());
  EXPECT_FALSE(result.stopped);
  EXPECT_GE(result.seconds, 0.02);
}

TEST_F(RunLoadTest, PushbackIsWaitedForAndCounted) {
  FakeTarget target;
  target.refusals = 2;
  const LoadResult result = RunLoad(target, {}, FakeLoad(3), std::stop_token());
  ASSERT_EQ(result.records.size(), 1U);
  const RequestRecord& record = result.records.front();
  EXPECT_TRUE(record.completed()) << record.status;
  EXPECT_EQ(record.pushbacks, 2U);
  EXPECT_DOUBLE_EQ(record.pushback_seconds, 0.02);
  EXPECT_EQ(record.report.tries, 3);
  EXPECT_GE(record.ended - record.sent, 0.02);
  EXPECT_GE(result.seconds, 0.02);
}

TEST_F(RunLoadTest, ARefusalIsTheEndWithoutFurtherAttemptsTimeOrWelcome) {
  FakeTarget target;
  target.refusals = 9;
  const auto once = RunLoad(target, {}, FakeLoad(1), std::stop_token());
  EXPECT_EQ(CountCode(once, absl::StatusCode::kResourceExhausted), 1);
  EXPECT_EQ(once.records.front().pushbacks, 1U);
  EXPECT_EQ(target.refusals, 8);
  CallOptions short_call, long_call;
  short_call.timeout = std::chrono::milliseconds(5);
  long_call.timeout = std::chrono::hours(1);
  EXPECT_EQ(RunLoad(target, short_call, FakeLoad(3), std::stop_token()).records.front().pushbacks,
            1U);
  EXPECT_EQ(target.refusals, 7);
  target.pushback = "-1";
  EXPECT_EQ(RunLoad(target, {}, FakeLoad(3), std::stop_token()).records.front().pushbacks, 0U);
  EXPECT_EQ(target.refusals, 6);
  target.pushback = "10";
  target.timeouts.clear();
  RunLoad(target, long_call, FakeLoad(2), std::stop_token());
  ASSERT_EQ(target.timeouts.size(), 2U);
  EXPECT_LT(*target.timeouts[1], std::chrono::hours(1));  // of both tries together
}

TEST_F(RunLoadTest, AStopEndsTheWaitForAnotherTry) {
  FakeTarget target;
  target.refusals = 1;
  target.pushback = "3600000";
  std::stop_source stop;
  const std::jthread stopper([&stop] {  // while the load waits, if this machine is not too busy
    absl::SleepFor(absl::Milliseconds(20));
    stop.request_stop();
  });
  const Load load = FakeLoad(3);
  const LoadResult result = RunLoad(target, {}, load, stop.get_token());
  ASSERT_EQ(result.records.size(), 1U);
  EXPECT_EQ(target.refusals, 0);
}

// Of a stream that waits for its reader, and of one that ends before.
TEST_F(RunLoadTest, SlowReadersTakeTheirTime) {
  Load load = FakeLoad(1);
  load.fault_of = [](uint64_t /*index*/, const v1::GenerateRequest& /*request*/) {
    return Fault{Fault::Kind::kSlow, 0, 3600};
  };
  FakeTarget early;
  early.ends_while_held = true;
  const LoadResult result = RunLoad(early, {}, load, std::stop_token());
  EXPECT_TRUE(early.is_held);
  EXPECT_EQ(early.reader.done, 0);
  EXPECT_EQ(CountCode(result, absl::StatusCode::kOk), 1);

  load.shape = Closed(1, 1);
  load.make_request = [](uint64_t /*index*/) {
    v1::GenerateRequest request;
    request.set_text("go");
    return request;
  };
  load.fault_of = [](uint64_t /*index*/, const v1::GenerateRequest& /*request*/) {
    return Fault{Fault::Kind::kSlow, 0, 0.02};
  };
  RecurveTarget target(connection_);
  const LoadResult slow = RunLoad(target, {}, load, std::stop_token());
  ASSERT_EQ(slow.records.size(), 1U);
  const RequestRecord& record = slow.records.front();
  EXPECT_TRUE(record.completed()) << record.status;
  EXPECT_GE(record.ended - record.messages.at(0).at, 0.02);
}

TEST_F(RunLoadTest, AStopCancelsWhatRunsAndKeepsWhatWasMeasured) {
  const auto text = [](uint64_t index) { return index == 0 ? "go" : "wait"; };
  const LoadResult result = Run(Closed(4, 1000), text, /*stop_after=*/1);
  EXPECT_TRUE(result.stopped);
  EXPECT_EQ(CountCode(result, absl::StatusCode::kOk), 1);
  EXPECT_EQ(CountCode(result, absl::StatusCode::kCancelled),
            static_cast<int>(result.records.size()) - 1);
  EXPECT_LE(result.records.size(), 5U);
  EXPECT_GT(result.window_end, result.window_begin);
}

// The next start is an hour away.
TEST_F(RunLoadTest, AStopEndsTheWaitForTheNextStart) {
  const LoadShape shape = {Schedule::Trace({0, 3600}), 5, {.requests = 0}, {.requests = 2}};
  const LoadResult result = Run(shape, &Go, /*stop_after=*/1);
  EXPECT_TRUE(result.stopped);
  EXPECT_EQ(result.records.size(), 1U);
}

TEST_F(RunLoadTest, AStopBeforeTheFirstRequestSendsNone) {
  const LoadResult result = Run(Closed(4, 10), &Go, /*stop_after=*/0);
  EXPECT_TRUE(result.stopped);
  EXPECT_TRUE(result.records.empty());
  EXPECT_EQ(made_, 0U);
  EXPECT_EQ(result.window_begin, result.window_end);
}

}  // namespace
}  // namespace recurve::client
