// SPDX-License-Identifier: Apache-2.0
#include "server/grpc/keep_awake.h"

#include <grpcpp/grpcpp.h>

#include <chrono>
#include <utility>

#include "grpc/health/v1/health.grpc.pb.h"

namespace recurve {
namespace {

constexpr std::chrono::milliseconds kPeriod(200);
constexpr std::chrono::seconds kTimeout(1);

}  // namespace

KeepAwake::KeepAwake(std::shared_ptr<grpc::Channel> channel)
    : channel_(std::move(channel)), thread_([this] { Run(); }) {}

KeepAwake::~KeepAwake() {
  {
    const MutexLock lock(mutex_);
    stopping_ = true;
  }
  stop_.NotifyOne();
  thread_.join();
}

void KeepAwake::Run() {
  const auto stub = ::grpc::health::v1::Health::NewStub(channel_);
  MutexLock lock(mutex_);
  while (true) {
    const SteadyTime next = std::chrono::steady_clock::now() + kPeriod;
    while (!stopping_ && stop_.WaitUntil(mutex_, next)) {
    }
    if (stopping_) return;
    lock.Unlock();
    grpc::ClientContext context;
    context.set_deadline(std::chrono::system_clock::now() + kTimeout);
    ::grpc::health::v1::HealthCheckResponse response;
    // The answer does not matter, only that the pollers had something to do.
    stub->Check(&context, {}, &response);
    lock.Lock();
  }
}

}  // namespace recurve
