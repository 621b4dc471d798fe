// SPDX-License-Identifier: Apache-2.0
#include "server/grpc/keep_awake.h"

#include <grpcpp/grpcpp.h>

#include <condition_variable>
#include <mutex>

#include "grpc/health/v1/health.grpc.pb.h"
#include "gtest/gtest.h"

namespace recurve {
namespace {

class CountingHealth final : public ::grpc::health::v1::Health::Service {
 public:
  grpc::Status Check(grpc::ServerContext*, const ::grpc::health::v1::HealthCheckRequest*,
                     ::grpc::health::v1::HealthCheckResponse*) override {
    const std::lock_guard lock(mutex_);
    ++calls_;
    called_.notify_all();
    return grpc::Status::OK;
  }
  void WaitForCalls(int calls) {
    std::unique_lock lock(mutex_);
    called_.wait(lock, [&] { return calls_ >= calls; });
  }

 private:
  std::mutex mutex_;
  std::condition_variable called_;
  int calls_ = 0;
};

TEST(KeepAwakeTest, CallsAgainAndAgainAndStops) {
  CountingHealth health;
  grpc::ServerBuilder builder;
  builder.RegisterService(&health);
  const auto server = builder.BuildAndStart();
  {
    const KeepAwake keep_awake(server->InProcessChannel({}));
    health.WaitForCalls(3);
  }
  server->Shutdown();
}

}  // namespace
}  // namespace recurve
