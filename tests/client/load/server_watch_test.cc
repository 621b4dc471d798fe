// SPDX-License-Identifier: Apache-2.0
#include "client/load/server_watch.h"

#include "gmock/gmock.h"

namespace recurve::client {
namespace {

// Tells what it is told to, and nothing after that.
class FakeTarget final : public Target {
 public:
  absl::StatusOr<TargetInfo> Describe() override { return TargetInfo(); }
  absl::Status Check(const v1::GenerateRequest& /*request*/) const override {
    return absl::OkStatus();
  }
  std::unique_ptr<Stream> Start(const v1::GenerateRequest& /*request*/, const CallOptions& /*call*/,
                                OnMessage /*on_message*/, OnEnd /*on_end*/) override {
    return nullptr;
  }
  std::optional<v1::GetLoadResponse> AskLoad() override {
    const absl::MutexLock lock(&mutex);
    if (asked < loads.size()) return loads[asked++];
    is_through = true;
    return last;
  }
  void WaitUntilThrough() {
    const absl::MutexLock lock(&mutex);
    mutex.Await(absl::Condition(&is_through));
  }

  absl::Mutex mutex;
  std::vector<v1::GetLoadResponse> loads;
  std::optional<v1::GetLoadResponse> last;
  size_t asked = 0;
  bool is_through = false;
};

v1::GetLoadResponse Loaded(uint32_t running, uint32_t waiting, uint32_t free, uint32_t cached) {
  v1::GetLoadResponse load;
  load.set_requests_running(running);
  load.set_requests_waiting(waiting);
  load.set_kv_pages(100);
  load.set_kv_pages_free(free);
  load.set_kv_pages_cached(cached);
  load.set_steps(10 * running);
  load.add_prompt_rows_by_depth(40 * running);
  load.add_generated_rows_by_depth(10 * running);
  return load;
}

TEST(ServerWatchTest, ThePeaksAreOfAllThatWasSeen) {
  FakeTarget target;
  target.loads = {Loaded(1, 0, 90, 0), Loaded(2, 9, 50, 10), Loaded(3, 0, 30, 60)};
  target.last = Loaded(3, 0, 100, 0);
  ServerWatch watch(target, std::chrono::milliseconds(1));
  target.WaitUntilThrough();
  const auto delta = watch.End();
  ASSERT_TRUE(delta.has_value());
  EXPECT_GE(delta->peaks.moments, 2U);
  EXPECT_DOUBLE_EQ(delta->peaks.kv_share, 0.4);
  EXPECT_EQ(delta->peaks.running, 3U);
  EXPECT_EQ(delta->peaks.waiting, 9U);
  EXPECT_EQ(delta->steps, 20U);
  EXPECT_EQ(delta->rows_per_step(), 5);
}

TEST(ServerWatchTest, AServerThatDoesNotTellIsNotAskedAgain) {
  FakeTarget target;
  ServerWatch watch(target, std::chrono::milliseconds(1));
  EXPECT_EQ(watch.End(), std::nullopt);
}

}  // namespace
}  // namespace recurve::client
