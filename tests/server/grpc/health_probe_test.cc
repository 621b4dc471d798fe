// SPDX-License-Identifier: Apache-2.0
// What the server's call of itself makes of a port that takes connections and nothing else.
#include "server/grpc/health_probe.h"

#include <grpcpp/grpcpp.h>

#include <condition_variable>
#include <cstdio>
#include <thread>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/server/sockets.h"

namespace recurve {
namespace {

using std::chrono::steady_clock;
using testing::HasSubstr;

class HealthProbeTest : public testing::Test {
 protected:
  HealthProbeTest() {
    auto probe = HealthProbe::Create(listener_.get(), &acceptor_, /*client=*/nullptr);
    EXPECT_TRUE(probe.ok()) << probe.status();
    probe_ = *std::move(probe);
  }
  ~HealthProbeTest() override {
    acceptor_.Stop();
    std::fclose(log_file_);
  }
  // Accepts, and never says a word to whoever came.
  void Accept() {
    ASSERT_TRUE(acceptor_
                    .Start(listener_.get(),
                           [this](int connection) {
                             const std::lock_guard lock(mutex_);
                             taken_.emplace_back(connection);
                             changed_.notify_all();
                           })
                    .ok());
  }
  void WaitForTaken(size_t count) {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [&] { return taken_.size() >= count; });
  }

  std::FILE* const log_file_ = std::tmpfile();
  Log log_{LogFormat::kText, fileno(log_file_)};
  ScopedDescriptor listener_ = ListenOn(AF_INET);
  std::mutex mutex_;  // guards what follows
  std::condition_variable changed_;
  std::vector<ScopedDescriptor> taken_;
  Acceptor acceptor_{8, &log_};
  std::unique_ptr<HealthProbe> probe_;
};

// The system completes the connection: to have one proves nothing.
TEST_F(HealthProbeTest, AConnectionThatNobodyAcceptsIsNoAnswer) {
  const absl::Status answer = probe_->Ask(steady_clock::now() + Milliseconds(20));
  EXPECT_EQ(answer.code(), absl::StatusCode::kDeadlineExceeded) << answer;
  EXPECT_THAT(answer.message(), HasSubstr("a health call over a new connection failed: "));
}

TEST_F(HealthProbeTest, AConnectionThatNobodyServesIsNoAnswer) {
  Accept();
  const absl::Status answer = probe_->Ask(steady_clock::now() + Milliseconds(20));
  EXPECT_EQ(answer.code(), absl::StatusCode::kDeadlineExceeded) << answer;
  EXPECT_EQ(acceptor_.counts().open, 0U);
}

TEST_F(HealthProbeTest, GetsInWithoutADescriptorLeft) {
  // The library opens some when it is first used, and keeps them while there is a channel.
  const auto channel = grpc::CreateChannel("unix:/nobody", grpc::InsecureChannelCredentials());
  Accept();
  EXPECT_FALSE(probe_->Ask(steady_clock::now() + Milliseconds(20)).ok());
  WaitForTaken(1);
  const NoDescriptors none;
  std::thread asking(
      [&] { probe_->Ask(steady_clock::now() + std::chrono::hours(1)).IgnoreError(); });
  WaitForTaken(2);
  probe_->Cancel();
  asking.join();
}

TEST_F(HealthProbeTest, SaysThatNobodyListens) {
  listener_.Reset();
  const absl::Status answer = probe_->Ask(steady_clock::now() + std::chrono::hours(1));
  EXPECT_FALSE(answer.ok());
  EXPECT_THAT(answer.message(), HasSubstr("cannot connect"));
}

TEST_F(HealthProbeTest, CancelEndsAQuestionNowAndLater) {
  Accept();
  absl::Status answer;
  std::thread asking([&] { answer = probe_->Ask(steady_clock::now() + std::chrono::hours(1)); });
  WaitForTaken(1);
  probe_->Cancel();
  asking.join();
  EXPECT_FALSE(answer.ok());
  EXPECT_FALSE(probe_->Ask(steady_clock::now() + std::chrono::hours(1)).ok());
}

}  // namespace
}  // namespace recurve
