// SPDX-License-Identifier: Apache-2.0
// Closed-loop load against a service whose requests end at once, or not at all.
#include "client/load/closed_loop.h"

#include <grpcpp/grpcpp.h>

#include <algorithm>
#include <chrono>
#include <mutex>
#include <set>
#include <thread>

#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "recurve/v1/generation.grpc.pb.h"

namespace recurve::client {
namespace {

class FakeService final : public v1::GenerationService::Service {
 public:
  // Ends at once, but for "wait", which waits until it is cancelled.
  grpc::Status Generate(grpc::ServerContext* context, const v1::GenerateRequest* request,
                        grpc::ServerWriter<v1::GenerateResponse>* writer) override {
    if (request->text() == "wait") {
      while (!context->IsCancelled()) std::this_thread::sleep_for(std::chrono::milliseconds(1));
      return grpc::Status::CANCELLED;
    }
    v1::GenerateResponse message;
    message.add_tokens();
    message.mutable_final()->set_cached_tokens(3);
    writer->Write(message);
    return grpc::Status::OK;
  }
};

class ClosedLoopTest : public testing::Test {
 protected:
  ClosedLoopTest() {
    grpc::ServerBuilder builder;
    int port = 0;
    builder.AddListeningPort("127.0.0.1:0", grpc::InsecureServerCredentials(), &port);
    builder.RegisterService(&service_);
    server_ = builder.BuildAndStart();
    options_.servers = {absl::StrCat("127.0.0.1:", port)};
  }

  // Runs the load, whose i-th request has the text `text(i)`. A stop is requested as soon as
  // `stop_after` requests have ended.
  template <typename Text>
  LoadResult Run(uint32_t streams, uint32_t requests, const Text& text, uint32_t stop_after) {
    Client client(options_);
    std::stop_source stop;
    Load load;
    load.streams = streams;
    load.requests = requests;
    load.make_request = [&](uint32_t index) {
      made_.insert(index);
      v1::GenerateRequest request;
      request.set_text(text(index));
      return request;
    };
    load.progress = [&](uint32_t ended) {
      if (ended >= stop_after) stop.request_stop();
    };
    if (stop_after == 0) stop.request_stop();
    return RunClosedLoop(client, {}, load, stop.get_token());
  }

  static int CountCode(const LoadResult& result, absl::StatusCode code) {
    return static_cast<int>(
        std::count_if(result.records.begin(), result.records.end(),
                      [&](const RequestRecord& record) { return record.status.code() == code; }));
  }

  FakeService service_;
  std::unique_ptr<grpc::Server> server_;
  ClientOptions options_;
  std::set<uint32_t> made_;
};

TEST_F(ClosedLoopTest, RunsEachRequestOnce) {
  const LoadResult result = Run(
      3, 20, [](uint32_t) { return "go"; }, /*stop_after=*/100);
  EXPECT_FALSE(result.stopped);
  EXPECT_EQ(CountCode(result, absl::StatusCode::kOk), 20);
  EXPECT_EQ(made_.size(), 20U);
  EXPECT_GT(result.seconds, 0);
  for (const RequestRecord& record : result.records) EXPECT_EQ(record.cached_tokens, 3U);
}

TEST_F(ClosedLoopTest, AStopCancelsWhatRunsAndKeepsWhatWasMeasured) {
  const auto text = [](uint32_t index) { return index == 0 ? "go" : "wait"; };
  const LoadResult result = Run(4, 1000, text, /*stop_after=*/1);
  EXPECT_TRUE(result.stopped);
  EXPECT_EQ(CountCode(result, absl::StatusCode::kOk), 1);
  EXPECT_EQ(CountCode(result, absl::StatusCode::kCancelled),
            static_cast<int>(result.records.size()) - 1);
  EXPECT_EQ(result.records.size(), made_.size());
  EXPECT_LE(result.records.size(), 5U);
  EXPECT_GT(result.seconds, 0);
}

TEST_F(ClosedLoopTest, AStopBeforeTheFirstRequestSendsNone) {
  const LoadResult result = Run(
      4, 10, [](uint32_t) { return "go"; }, /*stop_after=*/0);
  EXPECT_TRUE(result.stopped);
  EXPECT_TRUE(result.records.empty());
  EXPECT_TRUE(made_.empty());
}

TEST_F(ClosedLoopTest, ADrainedRequestIsNotACompleteOne) {
  RequestRecord record;
  v1::GenerateResponse message;
  message.mutable_final()->set_finish_reason(v1::FINISH_REASON_DRAINED);
  record.Hear(message, 1.0);
  EXPECT_TRUE(record.drained);
}

}  // namespace
}  // namespace recurve::client
