// SPDX-License-Identifier: Apache-2.0
#include "client/load/closed_loop.h"

#include <algorithm>
#include <chrono>
#include <deque>
#include <memory>
#include <optional>
#include <stop_token>
#include <utility>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"

namespace recurve::client {
namespace {

using Clock = std::chrono::steady_clock;

double Seconds(Clock::duration duration) { return std::chrono::duration<double>(duration).count(); }

// Lanes whose stream has ended, handed from gRPC's threads to the loop.
class EndedLanes {
 public:
  void Push(uint32_t lane) {
    const absl::MutexLock lock(&mutex_);
    lanes_.push_back(lane);
    changed_.Signal();
  }

  // Waits for a lane whose request has ended; none once `stop` has been requested, even if there is
  // such a lane.
  std::optional<uint32_t> Pop(const std::stop_token& stop) {
    // Made before the mutex is taken and destroyed after, since the callback takes it too.
    const std::stop_callback wake(stop, [this] {
      const absl::MutexLock lock(&mutex_);
      changed_.SignalAll();
    });
    const absl::MutexLock lock(&mutex_);
    while (lanes_.empty() && !stop.stop_requested()) changed_.Wait(&mutex_);
    if (stop.stop_requested()) return std::nullopt;
    const uint32_t lane = lanes_.front();
    lanes_.pop_front();
    return lane;
  }

 private:
  absl::Mutex mutex_;
  absl::CondVar changed_;
  std::deque<uint32_t> lanes_ ABSL_GUARDED_BY(mutex_);
};

// One of the concurrent streams. Its callbacks run one at a time; the loop looks at it between
// streams.
struct Lane {
  std::unique_ptr<Stream> stream;
  RequestRecord record;
  Clock::time_point start;
};

}  // namespace

void RequestRecord::Hear(const v1::GenerateResponse& message, double seconds) {
  const int tokens = message.tokens_size();
  if (tokens > 0) {
    if (tokens_seen == 0) {
      time_to_first_token = seconds;
    } else {
      inter_token.insert(inter_token.end(), static_cast<size_t>(tokens),
                         (seconds - time_to_last_token) / tokens);
    }
    time_to_last_token = seconds;
    tokens_seen += static_cast<uint64_t>(tokens);
  }
  prompt_tokens = message.usage().prompt_tokens();
  generated_tokens = message.usage().generated_tokens();
  if (!message.has_final()) return;
  cached_tokens = message.final().cached_tokens();
  drained = message.final().finish_reason() == v1::FINISH_REASON_DRAINED;
  if (generated_tokens > 0) {
    mean_depth = message.final().generated_depth().mean_depth();
    generated_rows = generated_tokens - 1;  // the last token never becomes a row
  }
}

LoadResult RunClosedLoop(Client& client, const CallOptions& call, const Load& load,
                         const std::stop_token& stop) {
  EndedLanes ended_lanes;
  std::vector<Lane> lanes(std::min(load.streams, load.requests));
  uint32_t started = 0;
  const auto start_next = [&](uint32_t index) {
    Lane& lane = lanes[index];
    lane.record = RequestRecord();
    const v1::GenerateRequest request = load.make_request(started++);
    CallOptions options = call;
    options.report = &lane.record.report;
    lane.start = Clock::now();
    lane.stream = client.StartGenerate(
        request, options,
        [&lane](const v1::GenerateResponse& message) {
          lane.record.Hear(message, Seconds(Clock::now() - lane.start));
        },
        [&lane, &ended_lanes, index](const absl::Status& status) {
          lane.record.status = status;
          lane.record.end_to_end = Seconds(Clock::now() - lane.start);
          ended_lanes.Push(index);
        });
  };

  LoadResult result;
  const auto take = [&](uint32_t index) {
    lanes[index].stream.reset();  // waits until gRPC has let go of it
    result.records.push_back(std::move(lanes[index].record));
    load.progress(static_cast<uint32_t>(result.records.size()));
  };
  const Clock::time_point begin = Clock::now();
  for (uint32_t i = 0; i < lanes.size() && !stop.stop_requested(); ++i) start_next(i);
  while (result.records.size() < load.requests) {
    const std::optional<uint32_t> index = ended_lanes.Pop(stop);
    result.seconds = Seconds(Clock::now() - begin);
    result.stopped = !index;
    if (result.stopped) break;
    take(*index);
    if (started < load.requests) start_next(*index);
  }
  for (const Lane& lane : lanes) {
    if (lane.stream != nullptr) lane.stream->Cancel();
  }
  while (result.records.size() < started) take(*ended_lanes.Pop(std::stop_token()));
  return result;
}

}  // namespace recurve::client
