// SPDX-License-Identifier: Apache-2.0
// What grpc.health.v1.Health says of a server.
#include "gmock/gmock.h"
#include "grpc/health/v1/health.grpc.pb.h"
#include "server/grpc/generation_service.h"
#include "server/grpc/health_service.h"
#include "tests/server/server_fixture.h"

namespace recurve {
namespace {

using ::grpc::health::v1::HealthCheckRequest;
using ::grpc::health::v1::HealthCheckResponse;

class HealthTest : public ServerTest {};

TEST_F(HealthTest, FollowsTheServer) {
  Start(/*ready=*/false);
  const auto channel = NewChannel();
  for (const std::string service : {"", kGenerationServiceName}) {
    EXPECT_EQ(Health(channel, service), HealthCheckResponse::NOT_SERVING);
  }
  EXPECT_EQ(Health(channel, kLivenessName), HealthCheckResponse::SERVING);
  EXPECT_EQ(Health(channel, "other"), -grpc::StatusCode::NOT_FOUND);
  server_->SetEngine(engine_.get());
  server_->SetServing(true);
  for (const std::string service : {"", kGenerationServiceName}) {
    EXPECT_EQ(Health(channel, service), HealthCheckResponse::SERVING);
  }
  EXPECT_EQ(MetricValue(MetricsPage(), "recurve_ready"), 1.0);
  server_->SetServing(false);
  EXPECT_EQ(Health(channel, ""), HealthCheckResponse::NOT_SERVING);
  EXPECT_EQ(Health(channel, kLivenessName), HealthCheckResponse::SERVING);
  EXPECT_EQ(MetricValue(MetricsPage(), "recurve_ready"), 0.0);
  EXPECT_EQ(MetricValue(MetricsPage(), "recurve_live"), 1.0);
}

// A restart helps, and nothing else does.
TEST_F(HealthTest, AFailedEngineIsNeitherReadyNorLiveForGood) {
  Start();
  const auto channel = NewChannel();
  server_->SetEngineFailed();
  for (const std::string service : {"", kGenerationServiceName, kLivenessName}) {
    EXPECT_EQ(Health(channel, service), HealthCheckResponse::NOT_SERVING) << service;
  }
  const std::string page = MetricsPage();
  EXPECT_EQ(MetricValue(page, "recurve_ready"), 0.0);
  EXPECT_EQ(MetricValue(page, "recurve_live"), 0.0);
  server_->SetServing(true);
  EXPECT_EQ(Health(channel, ""), HealthCheckResponse::NOT_SERVING);
  EXPECT_EQ(Health(channel, kLivenessName), HealthCheckResponse::NOT_SERVING);
}

TEST_F(HealthTest, WatchersHearOfChangesAndDoNotHoldUpShutdown) {
  Start();
  const auto stub = grpc::health::v1::Health::NewStub(NewChannel());
  grpc::ClientContext known_context, unknown_context;
  HealthCheckRequest request;
  const auto known = stub->Watch(&known_context, request);
  request.set_service("other");
  const auto unknown = stub->Watch(&unknown_context, request);
  HealthCheckResponse response;
  ASSERT_TRUE(known->Read(&response));
  EXPECT_EQ(response.status(), HealthCheckResponse::SERVING);
  ASSERT_TRUE(unknown->Read(&response));
  EXPECT_EQ(response.status(), HealthCheckResponse::SERVICE_UNKNOWN);
  server_->SetServing(false);
  ASSERT_TRUE(known->Read(&response));
  EXPECT_EQ(response.status(), HealthCheckResponse::NOT_SERVING);
  // Would last until then if a watcher held it up, and the test would time out.
  server_->Shutdown(std::chrono::steady_clock::now() + std::chrono::hours(1));
  EXPECT_FALSE(known->Read(&response));
  EXPECT_EQ(known->Finish().error_code(), grpc::StatusCode::UNAVAILABLE);
  EXPECT_FALSE(unknown->Read(&response));
}

}  // namespace
}  // namespace recurve
