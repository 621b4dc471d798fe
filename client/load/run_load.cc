// SPDX-License-Identifier: Apache-2.0
#include "client/load/run_load.h"

#include <sys/resource.h>

#include <algorithm>
#include <chrono>
#include <deque>
#include <list>
#include <map>
#include <memory>
#include <optional>
#include <utility>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"
#include "client/call_status.h"

namespace recurve::client {
namespace {

using Clock = std::chrono::steady_clock;

// A request on its way. Its callbacks run one at a time, on the target's threads; the load's thread
// looks at the record before the first and after the last one.
struct InFlight {
  std::list<InFlight>::iterator self;
  Fault fault;
  CallOptions call;
  v1::GenerateRequest request;
  std::unique_ptr<Stream> stream;
  RequestRecord record;
  uint64_t tokens = 0;              // that came
  MessageReader* reader = nullptr;  // of a message that it is not done with
};

// What becomes of requests, handed from the target's threads to the load's in order; or what the
// load's has to do with them later.
struct Event {
  enum class Kind {
    kEnded,
    kCancel,  // it is to be cancelled
    kHeld,    // a slow reader has a message
    kRead,    // and is done with it
    kRetry,   // a full server is to be asked again
  };
  InFlight* request = nullptr;
  Kind kind = Kind::kEnded;
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
  Run(Target& target, const CallOptions& call, const Load& load)
      : target_(target), call_(call), load_(load), pacing_(load.shape) {}

  LoadResult Do(const std::stop_token& stop) {
    if (!stop.stop_requested()) Prepare();
    begin_ = Clock::now();
    const double cpu_before = CpuSeconds();
    while (!pacing_.is_over() && !stop.stop_requested()) {
      if (!later_.empty() && later_.begin()->first <= Now()) {
        const Event event = later_.begin()->second;
        later_.erase(later_.begin());
        Handle(event);
      } else if (const std::optional<Pacing::Start> start = pacing_.Take(Now())) {
        Send(*start);
      } else if (pacing_.is_over()) {
        break;  // it saw just now that its time is over, with nothing on its way
      } else if (const std::optional<Event> event = events_.Pop(stop, UntilNext())) {
        Handle(*event);
      }
    }
    result_.stopped = !pacing_.is_over();
    const double stopped_at = Now();
    pacing_.Stop();
    CancelAll();
    while (!pacing_.is_over()) {
      const std::optional<Event> event = events_.Pop(std::stop_token(), absl::InfiniteDuration());
      if (event) Handle(*event);
    }
    result_.seconds = Now();
    result_.cpu_seconds = CpuSeconds() - cpu_before;
    FindWindow(stopped_at);
    return std::move(result_);
  }

 private:
  double Now() const { return std::chrono::duration<double>(Clock::now() - begin_).count(); }

  static double CpuSeconds() {
    rusage usage;
    if (getrusage(RUSAGE_SELF, &usage) != 0) return 0;
    const auto seconds = [](const timeval& time) {
      return static_cast<double>(time.tv_sec) + static_cast<double>(time.tv_usec) * 1e-6;
    };
    return seconds(usage.ru_utime) + seconds(usage.ru_stime);
  }

  // The next start, or what is to be done before.
  absl::Duration UntilNext() const {
    std::optional<double> next = pacing_.next_start();
    if (!later_.empty()) {
      next = std::min(next.value_or(later_.begin()->first), later_.begin()->first);
    }
    return next ? absl::Seconds(std::max(0.0, *next - Now())) : absl::InfiniteDuration();
  }

  void CancelAll() {
    for (const InFlight& request : in_flight_) request.stream->Cancel();
    for (const auto& [at, event] : std::exchange(later_, {})) {
      if (event.kind == Event::Kind::kRetry) {
        event.request->record.status = absl::CancelledError("the load was stopped");
      }
      Handle(event);
    }
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
    request->call = call_;
    request->call.report = &record.report;
    request->request = std::move(next_);
    request->fault = load_.fault_of ? load_.fault_of(start.index, request->request) : Fault();
    record.fault = request->fault.kind;
    if (record.fault == Fault::Kind::kDeadline) SetDeadline(request->fault.seconds, request->call);
    record.sent = Now();
    StartStream(request);
    ++sent_;
    Prepare();
  }

  void StartStream(InFlight* request) {
    request->stream = target_.Start(
        request->request, request->call,
        [this, request](const Heard& message, MessageReader& reader) {
          return Hear(message, reader, request);
        },
        [this, request](const absl::Status& status) {
          request->record.End(status, Now());
          events_.Push({request, Event::Kind::kEnded});
        });
    const Fault& fault = request->fault;
    if (fault.kind == Fault::Kind::kCancel && fault.tokens == 0) request->stream->Cancel();
  }

  static void SetDeadline(double seconds, CallOptions& call) {
    const auto deadline =
        std::chrono::ceil<std::chrono::milliseconds>(std::chrono::duration<double>(seconds));
    call.timeout = call.timeout ? std::min(*call.timeout, deadline) : deadline;
  }

  // On a thread of the target's. True if it is done with the message.
  bool Hear(const Heard& message, MessageReader& reader, InFlight* request) {
    request->record.Hear(message, Now());
    const uint64_t before = request->tokens;
    request->tokens += message.tokens.value_or(1);
    const Fault& fault = request->fault;
    if (fault.kind == Fault::Kind::kSlow) {
      request->reader = &reader;
      events_.Push({request, Event::Kind::kHeld});
      return false;
    }
    if (fault.kind == Fault::Kind::kCancel && before < fault.tokens &&
        request->tokens >= fault.tokens) {
      events_.Push({request, Event::Kind::kCancel});
    }
    return true;
  }

  void Handle(const Event& event) {
    InFlight* const request = event.request;
    switch (event.kind) {
      case Event::Kind::kEnded:
        return TryEnded(request);
      case Event::Kind::kCancel:
        return request->stream->Cancel();
      case Event::Kind::kHeld:
        if (result_.stopped) return Read(request);
        later_.emplace(Now() + request->fault.seconds, Event{request, Event::Kind::kRead});
        return;
      case Event::Kind::kRead:
        return Read(request);
      case Event::Kind::kRetry:
        if (result_.stopped) return Take(request);
        request->stream.reset();
        return StartStream(request);
    }
  }

  static void Read(InFlight* request) { std::exchange(request->reader, nullptr)->Done(); }

  void TryEnded(InFlight* request) {
    RequestRecord& record = request->record;
    const std::optional<double> wait = PushbackOf(record);
    if (!wait) return Take(request);
    ++record.pushbacks;
    record.pushback_seconds += *wait;
    // The deadline is of all tries together.
    const auto left = LeftAfter(*request, *wait);
    if (!MayRetry(record) || (left && left->count() <= 0)) return Take(request);
    request->call.timeout = left;
    later_.emplace(Now() + *wait, Event{request, Event::Kind::kRetry});
  }

  // After how many seconds to come again, if a refusal says so.
  static std::optional<double> PushbackOf(const RequestRecord& record) {
    const ReplicaSet::Outcome outcome = OutcomeOf(record.status);
    if (record.status.ok() || !record.messages.empty() || outcome.never_again ||
        !record.status.GetPayload(kRetryPushbackPayload)) {
      return std::nullopt;
    }
    return std::chrono::duration<double>(outcome.pushback).count();
  }

  bool MayRetry(const RequestRecord& record) const {
    return !result_.stopped && !target_.tries_again() && record.report.tries < load_.attempts;
  }

  // What is left of a request's timeout, if it has one, after a wait of so many seconds.
  std::optional<std::chrono::milliseconds> LeftAfter(const InFlight& request, double wait) const {
    if (!request.call.timeout) return std::nullopt;
    const std::chrono::duration<double> spent(Now() - request.record.sent + wait);
    return *request.call.timeout - std::chrono::ceil<std::chrono::milliseconds>(spent);
  }

  void Take(InFlight* request) {
    // Of a stream that did not wait for its reader.
    std::erase_if(later_, [&](const auto& entry) {
      return request->reader != nullptr && entry.second.request == request;
    });
    request->stream.reset();  // waits until the target has let go of it
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

  Target& target_;
  const CallOptions& call_;
  const Load& load_;
  Pacing pacing_;
  Clock::time_point begin_;
  v1::GenerateRequest next_;
  uint64_t sent_ = 0;
  std::list<InFlight> in_flight_;
  Events events_;
  std::multimap<double, Event> later_;  // by time
  LoadResult result_;
};

}  // namespace

LoadResult RunLoad(Target& target, const CallOptions& call, const Load& load,
                   const std::stop_token& stop) {
  return Run(target, call, load).Do(stop);
}

}  // namespace recurve::client
