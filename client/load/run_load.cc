// SPDX-License-Identifier: Apache-2.0
#include "client/load/run_load.h"

#include <algorithm>
#include <chrono>
#include <deque>
#include <list>
#include <memory>
#include <optional>
#include <utility>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"

namespace recurve::client {
namespace {

using Clock = std::chrono::steady_clock;

// A request on its way. Its callbacks run one at a time, on gRPC's threads; the load's thread looks
// at the record before the first and after the last one.
struct InFlight {
  std::list<InFlight>::iterator self;
  Fault fault;
  std::unique_ptr<Stream> stream;
  RequestRecord record;
  uint64_t tokens = 0;  // that came
};

// What becomes of requests, handed from gRPC's threads to the load's in order.
struct Event {
  InFlight* request = nullptr;
  bool has_ended = false;  // else it is to be cancelled
};

class Events {
 public:
  void Push(const Event& event) {
    const absl::MutexLock lock(&mutex_);
    events_.push_back(event);
    changed_.Signal();
  }

  // Waits for an event, at most for `wait`; now and then for less, without one. None when `stop`
  // has been requested, even if there is an event.
  std::optional<Event> Pop(const std::stop_token& stop, absl::Duration wait) {
    // Made before the mutex is taken and destroyed after, since the callback takes it too.
    const std::stop_callback wake(stop, [this] {
      const absl::MutexLock lock(&mutex_);
      changed_.SignalAll();
    });
    const absl::MutexLock lock(&mutex_);
    if (events_.empty() && !stop.stop_requested()) changed_.WaitWithTimeout(&mutex_, wait);
    if (events_.empty() || stop.stop_requested()) return std::nullopt;
    const Event event = events_.front();
    events_.pop_front();
    return event;
  }

 private:
  absl::Mutex mutex_;
  absl::CondVar changed_;
  std::deque<Event> events_ ABSL_GUARDED_BY(mutex_);
};

class Run {
 public:
  Run(Client& client, const CallOptions& call, const Load& load)
      : client_(client), call_(call), load_(load), pacing_(load.shape) {}

  LoadResult Do(const std::stop_token& stop) {
    if (!stop.stop_requested()) Prepare();
    begin_ = Clock::now();
    while (!pacing_.is_over() && !stop.stop_requested()) {
      if (const std::optional<Pacing::Start> start = pacing_.Take(Now())) {
        Send(*start);
      } else if (const std::optional<Event> event = events_.Pop(stop, UntilNextStart())) {
        Handle(*event);
      }
    }
    result_.stopped = !pacing_.is_over();
    const double stopped_at = Now();
    pacing_.Stop();
    for (const InFlight& request : in_flight_) request.stream->Cancel();
    while (!pacing_.is_over()) {
      const std::optional<Event> event = events_.Pop(std::stop_token(), absl::InfiniteDuration());
      if (event) Handle(*event);
    }
    FindWindow(stopped_at);
    return std::move(result_);
  }

 private:
  double Now() const { return std::chrono::duration<double>(Clock::now() - begin_).count(); }

  absl::Duration UntilNextStart() const {
    const std::optional<double> start = pacing_.next_start();
    return start ? absl::Seconds(std::max(0.0, *start - Now())) : absl::InfiniteDuration();
  }

  // The next request, before it is due.
  void Prepare() {
    if (pacing_.has_next()) next_ = load_.make_request(sent_);
  }

  void Send(const Pacing::Start& start) {
    InFlight* const request = &in_flight_.emplace_back();
    request->self = std::prev(in_flight_.end());
    RequestRecord& record = request->record;
    record.index = start.index;
    record.intended = start.intended;
    record.is_measured = start.is_measured;
    CallOptions call = call_;
    call.report = &record.report;
    request->fault = load_.fault_of ? load_.fault_of(start.index, next_) : Fault();
    record.fault = request->fault.kind;
    if (record.fault == Fault::Kind::kDeadline) SetDeadline(request->fault.seconds, call);
    record.sent = Now();
    request->stream = client_.StartGenerate(
        next_, call,
        [this, request](const v1::GenerateResponse& message) { Hear(message, request); },
        [this, request](const absl::Status& status) {
          request->record.status = status;
          request->record.ended = Now();
          events_.Push({request, /*has_ended=*/true});
        });
    const Fault& fault = request->fault;
    if (fault.kind == Fault::Kind::kCancel && fault.tokens == 0) request->stream->Cancel();
    ++sent_;
    Prepare();
  }

  static void SetDeadline(double seconds, CallOptions& call) {
    const auto deadline =
        std::chrono::ceil<std::chrono::milliseconds>(std::chrono::duration<double>(seconds));
    call.timeout = call.timeout ? std::min(*call.timeout, deadline) : deadline;
  }

  // On a thread of gRPC's.
  void Hear(const v1::GenerateResponse& message, InFlight* request) {
    request->record.Hear(message, Now());
    const uint64_t before = request->tokens;
    request->tokens += static_cast<uint64_t>(message.tokens_size());
    const Fault& fault = request->fault;
    if (fault.kind != Fault::Kind::kCancel || before >= fault.tokens) return;
    if (request->tokens >= fault.tokens) events_.Push({request, /*has_ended=*/false});
  }

  void Handle(const Event& event) {
    if (event.has_ended) return Take(event.request);
    event.request->stream->Cancel();
  }

  void Take(InFlight* request) {
    request->stream.reset();  // waits until gRPC has let go of it
    request->record.cut_short = result_.stopped && absl::IsCancelled(request->record.status);
    result_.records.push_back(std::move(request->record));
    in_flight_.erase(request->self);
    pacing_.Ended();
    load_.progress({Now(), sent_, result_.records.size()});
  }

  void FindWindow(double stopped_at) {
    result_.window_begin = pacing_.measured_from().value_or(stopped_at);
    double end = result_.window_begin;
    for (const RequestRecord& record : result_.records) {
      if (record.is_measured) end = std::max(end, record.ended);
    }
    end = pacing_.measured_until().value_or(end);
    if (result_.stopped) end = std::max(result_.window_begin, std::min(end, stopped_at));
    result_.window_end = end;
  }

  Client& client_;
  const CallOptions& call_;
  const Load& load_;
  Pacing pacing_;
  Clock::time_point begin_;
  v1::GenerateRequest next_;
  uint64_t sent_ = 0;
  std::list<InFlight> in_flight_;
  Events events_;
  LoadResult result_;
};

}  // namespace

LoadResult RunLoad(Client& client, const CallOptions& call, const Load& load,
                   const std::stop_token& stop) {
  return Run(client, call, load).Do(stop);
}

}  // namespace recurve::client
