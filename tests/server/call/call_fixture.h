// SPDX-License-Identifier: Apache-2.0
// Calls between a fake engine and a transport that does what the test says, step by step.
#ifndef RECURVE_TESTS_SERVER_CALL_CALL_FIXTURE_H_
#define RECURVE_TESTS_SERVER_CALL_CALL_FIXTURE_H_

#include <gtest/gtest.h>
#include <unistd.h>

#include <condition_variable>
#include <cstdio>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <utility>

#include "server/call/call.h"
#include "tests/server/fake_engine.h"

namespace recurve {

// Its operations return at once; the test makes the reactions.
class TestCall final : public Call {
 public:
  using Call::Call, Call::PeerGone, Call::TransportDone, Call::WriteDone;

  Delta WaitForDelta() {
    Wait([this] { return delta_.has_value(); });
    return *std::exchange(delta_, std::nullopt);
  }
  // That went with the last delta.
  uint64_t seed() const { return seed_; }
  // How many were sent, once none can come any more.
  int num_deltas() const { return num_deltas_; }
  absl::Status WaitForStatus() {
    Wait([this] { return status_.has_value(); });
    return *status_;
  }
  void WaitForAbort() {
    Wait([this] { return aborted_; });
  }

 private:
  void SendDelta(const Delta& delta, const Echo& echo) override {
    Set([&] {
      delta_ = delta;
      ++num_deltas_;
      seed_ = echo.seed;
    });
  }
  void SendStatus(const absl::Status& status) override {
    Set([&] { status_ = status; });
  }
  void Abort() override {
    Set([&] { aborted_ = true; });
  }

  template <typename Function>
  void Set(const Function& function) {
    const std::lock_guard lock(mutex_);
    function();
    changed_.notify_all();
  }
  template <typename Function>
  void Wait(const Function& function) {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, function);
  }

  std::mutex mutex_;
  std::condition_variable changed_;
  std::optional<Delta> delta_;
  int num_deltas_ = 0;
  uint64_t seed_ = 0;
  std::optional<absl::Status> status_;
  bool aborted_ = false;
};

// A request with a text prompt.
inline Request TextRequest() {
  Request request;
  request.prompt = "hello";
  return request;
}

class CallTest : public testing::Test {
 protected:
  void SetUp() override {
    log_ = std::make_unique<Log>(LogFormat::kText, fileno(log_file_.get()));
    egress_ = std::make_unique<Egress>(options_.stream);
    context_.options = &options_;
    context_.metrics = &metrics_;
    context_.log = log_.get();
    context_.egress = egress_.get();
    context_.engine = &engine_;
  }

  void StallAfter(Milliseconds time) {
    options_.stream.stall_timeout = time;
    egress_ = std::make_unique<Egress>(options_.stream);
    context_.egress = egress_.get();
  }

  std::shared_ptr<TestCall> NewCall(bool streams = true,
                                    std::optional<SteadyTime> deadline = std::nullopt) {
    CallOrigin origin;
    origin.method = streams ? "Generate" : "Complete";
    origin.streams = streams;
    origin.deadline = deadline;
    origin.arrival = std::chrono::steady_clock::now();
    auto call = std::make_shared<TestCall>(&context_, origin);
    egress_->Open(call);
    return call;
  }

  // The log so far; calls that end later are not in it.
  std::string LogText() {
    log_->Flush();
    std::string text(1 << 16, '\0');
    text.resize(static_cast<size_t>(pread(fileno(log_file_.get()), text.data(), text.size(), 0)));
    return text;
  }

  ServerOptions options_;
  const std::unique_ptr<std::FILE, int (*)(std::FILE*)> log_file_{std::tmpfile(), &std::fclose};
  std::unique_ptr<Log> log_;
  Metrics metrics_;
  CallContext context_;
  FakeEngine engine_;
  std::unique_ptr<Egress> egress_;
};

}  // namespace recurve

#endif  // RECURVE_TESTS_SERVER_CALL_CALL_FIXTURE_H_
