// SPDX-License-Identifier: Apache-2.0
// What callers of health see, above all at the end, over a channel within this process.
#include "server/grpc/health_service.h"

#include <grpcpp/grpcpp.h>

#include <chrono>
#include <memory>
#include <string>
#include <thread>

#include "grpc/health/v1/health.grpc.pb.h"
#include "gtest/gtest.h"

namespace recurve {
namespace {

using ::grpc::health::v1::Health;
using ::grpc::health::v1::HealthCheckRequest;
using ::grpc::health::v1::HealthCheckResponse;
using std::chrono::steady_clock;

constexpr char kName[] = "a.Service";

HealthCheckRequest Named(const std::string& name) {
  HealthCheckRequest request;
  request.set_service(name);
  return request;
}

class HealthServiceTest : public testing::Test {
 protected:
  HealthServiceTest() {
    ::grpc::ServerBuilder builder;
    builder.RegisterService(health_.service());
    server_ = builder.BuildAndStart();
    stub_ = Health::NewStub(server_->InProcessChannel({}));
  }
  ~HealthServiceTest() override { Shutdown(); }

  void Shutdown() { server_->Shutdown(std::chrono::system_clock::now()); }

  // A Watch call, open until it is cancelled or the server ends it.
  struct Watch {
    Watch(Health::Stub* stub, const std::string& name)
        : reader(stub->Watch(&context, Named(name))) {}
    ~Watch() { context.TryCancel(); }
    // The next status, or nothing at the end.
    std::string Next() {
      HealthCheckResponse response;
      if (!reader->Read(&response)) return "";
      return HealthCheckResponse::ServingStatus_Name(response.status());
    }
    ::grpc::ClientContext context;
    std::unique_ptr<::grpc::ClientReader<HealthCheckResponse>> reader;
  };

  HealthService health_{{kName}};
  std::unique_ptr<::grpc::Server> server_;
  std::unique_ptr<Health::Stub> stub_;
};

TEST_F(HealthServiceTest, WatchersHearOfChangesByName) {
  Watch ready(stub_.get(), kName), live(stub_.get(), kLivenessName), unknown(stub_.get(), "b");
  EXPECT_EQ(ready.Next(), "NOT_SERVING");
  EXPECT_EQ(live.Next(), "SERVING");
  EXPECT_EQ(unknown.Next(), "SERVICE_UNKNOWN");
  health_.Set(/*ready=*/true, /*live=*/true);
  EXPECT_EQ(ready.Next(), "SERVING");
  health_.Set(/*ready=*/true, /*live=*/false);
  EXPECT_EQ(live.Next(), "NOT_SERVING");
}

// A server that shut down as soon as the statuses were set would cancel the calls that bring them.
TEST_F(HealthServiceTest, WatchersHearTheEndThoughTheServerShutsDownAtOnce) {
  health_.Set(/*ready=*/true, /*live=*/true);
  Watch watch(stub_.get(), kName);
  EXPECT_EQ(watch.Next(), "SERVING");
  std::string last, after;
  ::grpc::Status status;
  std::thread reading([&] {
    last = watch.Next();
    after = watch.Next();
    status = watch.reader->Finish();
  });
  health_.Close(steady_clock::now() + std::chrono::hours(1));
  Shutdown();
  reading.join();
  EXPECT_EQ(last, "NOT_SERVING");
  EXPECT_EQ(after, "");
  EXPECT_EQ(status.error_code(), ::grpc::StatusCode::UNAVAILABLE) << status.error_message();
  EXPECT_EQ(status.error_message(), "the server is shutting down");
}

TEST_F(HealthServiceTest, AWatcherThatDoesNotReadHoldsUpTheEndUntilItsTime) {
  health_.Set(/*ready=*/true, /*live=*/true);
  Watch watch(stub_.get(), kName);
  EXPECT_EQ(watch.Next(), "SERVING");  // so the server has the call; nobody reads what follows
  health_.Close(steady_clock::now());
  HealthCheckResponse response;
  ::grpc::ClientContext context;
  ASSERT_TRUE(stub_->Check(&context, Named(kName), &response).ok());
  EXPECT_EQ(response.status(), HealthCheckResponse::NOT_SERVING);
}

TEST_F(HealthServiceTest, NothingServesAfterTheEnd) {
  health_.Close(steady_clock::now() + std::chrono::hours(1));
  health_.Set(/*ready=*/true, /*live=*/true);
  for (const char* name : {kName, kLivenessName}) {
    Watch watch(stub_.get(), name);
    EXPECT_EQ(watch.Next(), "NOT_SERVING") << name;
    EXPECT_EQ(watch.Next(), "");
    EXPECT_EQ(watch.reader->Finish().error_code(), ::grpc::StatusCode::UNAVAILABLE);
  }
}

}  // namespace
}  // namespace recurve
