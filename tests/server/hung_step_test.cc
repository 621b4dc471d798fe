// SPDX-License-Identifier: Apache-2.0
// A whole server around a real engine whose step fails or does not come back: what health says
// while calls still end and the process is there.
#include <unistd.h>

#include <atomic>
#include <filesystem>
#include <fstream>
#include <latch>
#include <thread>

#include "absl/cleanup/cleanup.h"
#include "grpc/health/v1/health.grpc.pb.h"
#include "gtest/gtest.h"
#include "server/grpc/health_service.h"
#include "server/lifecycle.h"
#include "tests/engine/small_engine.h"
#include "tests/scoped_directory.h"
#include "tests/server/server_fixture.h"

namespace recurve {
namespace {

using ::grpc::health::v1::HealthCheckRequest;
using ::grpc::health::v1::HealthCheckResponse;

class SettableClock final : public Clock {
 public:
  SteadyTime Now() const override { return SteadyTime(std::chrono::seconds(seconds)); }
  std::atomic<int> seconds = 1000;
};

// Of one engine, which may outlive the server's run.
struct Step {
  SettableClock clock;
  std::latch begun{1}, go_on{1}, loop_ended{1};
};

// The statuses of one Watch call, in order, until the call ends.
std::vector<int> StatusesUntilTheEnd(const std::shared_ptr<grpc::Channel>& channel,
                                     const std::string& service, std::latch* watching) {
  grpc::ClientContext context;
  HealthCheckRequest request;
  request.set_service(service);
  const auto reader = grpc::health::v1::Health::NewStub(channel)->Watch(&context, request);
  std::vector<int> statuses;
  HealthCheckResponse response;
  while (reader->Read(&response)) {
    statuses.push_back(response.status());
    if (statuses.size() == 1) watching->count_down();
  }
  reader->Finish();
  return statuses;
}

int Check(const std::shared_ptr<grpc::Channel>& channel, const std::string& service) {
  grpc::ClientContext context;
  HealthCheckRequest request;
  request.set_service(service);
  HealthCheckResponse response;
  const auto stub = grpc::health::v1::Health::NewStub(channel);
  return stub->Check(&context, request, &response).ok() ? int{response.status()} : -1;
}

class HungStepTest : public testing::TestWithParam<bool> {};

TEST_P(HungStepTest, TurnsLivenessOffWhileTheProcessIsThere) {
  const bool hangs = GetParam();
  Step step;
  const ScopedDirectory directory;
  ServerOptions options = TestOptions();
  options.listen.listen = *ParseAddress("unix:" + directory.path() + "/calls");
  options.listen.port_file = directory.path() + "/ports";
  const auto make_engine = [hangs, &step](const EngineOptions&, const std::shared_ptr<Progress>&) {
    Assembly assembly = SmallAssembly(
        [hangs, &step](uint32_t epoch) {
          if (epoch != 5) return absl::OkStatus();
          thread_local const absl::Cleanup at_end([&step] { step.loop_ended.count_down(); });
          step.begun.count_down();
          step.go_on.wait();
          return hangs ? absl::OkStatus() : absl::InternalError("the card fell off the bus");
        },
        /*queue_depth=*/0);
    assembly.clock = &step.clock;
    assembly.step_timeout = std::chrono::seconds(30);
    assembly.info.max_context = 256;
    return MakeEngine(std::move(assembly));
  };
  Events events;
  Log log(LogFormat::kText, STDERR_FILENO);
  int exit_code = -1;
  std::thread process([&] { exit_code = RunServer(options, make_engine, &events, &log); });
  while (!std::filesystem::exists(options.listen.port_file)) std::this_thread::yield();
  const auto channel =
      grpc::CreateChannel(options.listen.listen.ToString(), grpc::InsecureChannelCredentials());
  while (Check(channel, "") != HealthCheckResponse::SERVING) std::this_thread::yield();

  std::latch watching(2);
  std::vector<int> readiness, liveness;
  std::thread ready([&] { readiness = StatusesUntilTheEnd(channel, "", &watching); });
  std::thread live([&] { liveness = StatusesUntilTheEnd(channel, kLivenessName, &watching); });
  watching.wait();
  v1::GenerateRequest request;
  request.mutable_tokens()->add_ids(1);
  request.mutable_stop()->set_max_tokens(100);
  request.mutable_stop()->set_ignore_eos(true);
  StreamEnd end;
  std::thread client([&] {
    grpc::ClientContext context;
    const auto stub = v1::GenerationService::NewStub(channel);
    end = ReadAll(stub->Generate(&context, request).get());
  });
  step.begun.wait();
  EXPECT_EQ(Check(channel, kLivenessName), HealthCheckResponse::SERVING);
  if (hangs) {
    step.clock.seconds += 31;  // longer than --step_timeout, and the step is not back
  } else {
    step.go_on.count_down();
  }
  ready.join();
  live.join();
  const std::vector<int> expected = {HealthCheckResponse::SERVING,
                                     HealthCheckResponse::NOT_SERVING};
  EXPECT_EQ(readiness, expected);
  EXPECT_EQ(liveness, expected);
  client.join();
  EXPECT_EQ(end.status.error_code(), grpc::StatusCode::UNAVAILABLE);
  process.join();
  EXPECT_EQ(exit_code, kExitEngineFailed);
  // A step that comes back now, just before the process would end, still finds all that it needs.
  if (hangs) step.go_on.count_down();
  step.loop_ended.wait();
}

INSTANTIATE_TEST_SUITE_P(HungStep, HungStepTest, testing::Bool(),
                         [](const auto& test) { return test.param ? "hangs" : "fails"; });

}  // namespace
}  // namespace recurve
