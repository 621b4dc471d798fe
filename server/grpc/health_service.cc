// SPDX-License-Identifier: Apache-2.0
#include "server/grpc/health_service.h"

#include <grpcpp/grpcpp.h>

#include <algorithm>
#include <functional>
#include <optional>
#include <unordered_map>
#include <utility>

#include "engine/base/mutex.h"
#include "grpc/health/v1/health.grpc.pb.h"

namespace recurve {
namespace {

using ::grpc::health::v1::HealthCheckRequest;
using ::grpc::health::v1::HealthCheckResponse;
using Status = HealthCheckResponse::ServingStatus;

// One Watch call: writes the newest status whenever it differs from the last one written.
class Watcher final : public ::grpc::ServerWriteReactor<HealthCheckResponse> {
 public:
  explicit Watcher(std::function<void(Watcher*)> on_done) : on_done_(std::move(on_done)) {}

  void Set(Status status) {
    {
      const MutexLock lock(mutex_);
      wanted_ = status;
    }
    Go();
  }

  void Close() {
    {
      const MutexLock lock(mutex_);
      closing_ = true;
    }
    Go();
  }

  void OnWriteDone(bool ok) override {
    {
      const MutexLock lock(mutex_);
      writing_ = false;
      cancelled_ = cancelled_ || !ok;
    }
    Go();
  }

  void OnCancel() override {
    {
      const MutexLock lock(mutex_);
      cancelled_ = true;
    }
    Go();
  }

  void OnDone() override { on_done_(this); }

 private:
  // Starts what is due. gRPC is called without the lock; `writing_` and `finished_` keep others
  // out.
  void Go() ABSL_LOCKS_EXCLUDED(mutex_) {
    bool write = false;
    {
      const MutexLock lock(mutex_);
      if (writing_ || finished_) return;
      write = !cancelled_ && wanted_ && wanted_ != written_;
      if (write) {
        writing_ = true;
        written_ = wanted_;
        response_.set_status(*wanted_);
      } else if (cancelled_ || closing_) {
        finished_ = true;
      } else {
        return;
      }
    }
    if (write) {
      StartWrite(&response_);
    } else {
      Finish({::grpc::StatusCode::UNAVAILABLE, "the server is shutting down"});
    }
  }

  const std::function<void(Watcher*)> on_done_;
  Mutex mutex_;
  std::optional<Status> wanted_ ABSL_GUARDED_BY(mutex_), written_ ABSL_GUARDED_BY(mutex_);
  bool writing_ ABSL_GUARDED_BY(mutex_) = false;
  bool cancelled_ ABSL_GUARDED_BY(mutex_) = false;
  bool closing_ ABSL_GUARDED_BY(mutex_) = false;
  bool finished_ ABSL_GUARDED_BY(mutex_) = false;
  HealthCheckResponse response_;  // of whoever set `writing_`, until the write is done
};

}  // namespace

class HealthService::Impl final : public ::grpc::health::v1::Health::CallbackService {
 public:
  explicit Impl(std::vector<std::string> names) : names_(std::move(names)) {}

  ::grpc::ServerUnaryReactor* Check(::grpc::CallbackServerContext* context,
                                    const HealthCheckRequest* request,
                                    HealthCheckResponse* response) override {
    auto* reactor = context->DefaultReactor();
    const Kind kind = KindOf(request->service());
    if (kind == Kind::kUnknown) {
      reactor->Finish({::grpc::StatusCode::NOT_FOUND, "no service of that name"});
      return reactor;
    }
    {
      const MutexLock lock(mutex_);
      response->set_status(StatusOf(kind));
    }
    reactor->Finish(::grpc::Status::OK);
    return reactor;
  }

  ::grpc::ServerWriteReactor<HealthCheckResponse>* Watch(
      ::grpc::CallbackServerContext* /*context*/, const HealthCheckRequest* request) override {
    const Kind kind = KindOf(request->service());
    auto watcher = std::make_shared<Watcher>([this](Watcher* done) { Remove(done); });
    // With the lock, so that no later change is overwritten; gRPC only takes note of what a reactor
    // starts before it is returned.
    const MutexLock lock(mutex_);
    watchers_.emplace(watcher.get(), Entry{watcher, kind});
    watcher->Set(StatusOf(kind));
    if (closed_) watcher->Close();
    return watcher.get();
  }

  void Set(bool ready, bool live, bool close) {
    const auto status = [](bool serving) {
      return serving ? HealthCheckResponse::SERVING : HealthCheckResponse::NOT_SERVING;
    };
    std::vector<std::pair<std::shared_ptr<Watcher>, Status>> changes;
    {
      const MutexLock lock(mutex_);
      if (closed_) return;
      closed_ = close;
      ready_ = status(ready);
      live_ = status(live);
      for (const auto& [key, entry] : watchers_) {
        changes.emplace_back(entry.watcher, StatusOf(entry.kind));
      }
    }
    for (const auto& [watcher, now] : changes) {
      watcher->Set(now);
      if (close) watcher->Close();
    }
  }

  void WaitUntilNoneWatches(SteadyTime until) {
    const MutexLock lock(mutex_);
    while (!watchers_.empty() && none_watches_.WaitUntil(mutex_, until)) {
    }
  }

 private:
  enum class Kind { kUnknown, kReadiness, kLiveness };  // of a name
  struct Entry {
    std::shared_ptr<Watcher> watcher;
    Kind kind;
  };

  Kind KindOf(const std::string& name) const {
    if (name == kLivenessName) return Kind::kLiveness;
    const bool known = std::find(names_.begin(), names_.end(), name) != names_.end();
    return known ? Kind::kReadiness : Kind::kUnknown;
  }

  Status StatusOf(Kind kind) const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    if (kind == Kind::kUnknown) return HealthCheckResponse::SERVICE_UNKNOWN;
    return kind == Kind::kLiveness ? live_ : ready_;
  }

  void Remove(Watcher* watcher) ABSL_LOCKS_EXCLUDED(mutex_) {
    Entry last;  // destroyed without the lock
    const MutexLock lock(mutex_);
    const auto found = watchers_.find(watcher);
    last = std::move(found->second);
    watchers_.erase(found);
    if (watchers_.empty()) none_watches_.NotifyAll();
  }

  const std::vector<std::string> names_;
  Mutex mutex_;
  Status ready_ ABSL_GUARDED_BY(mutex_) = HealthCheckResponse::NOT_SERVING;
  Status live_ ABSL_GUARDED_BY(mutex_) = HealthCheckResponse::SERVING;
  bool closed_ ABSL_GUARDED_BY(mutex_) = false;
  std::unordered_map<Watcher*, Entry> watchers_ ABSL_GUARDED_BY(mutex_);
  CondVar none_watches_;
};

HealthService::HealthService(std::vector<std::string> names)
    : impl_(std::make_unique<Impl>(std::move(names))) {}
HealthService::~HealthService() = default;

::grpc::Service* HealthService::service() { return impl_.get(); }
void HealthService::Set(bool ready, bool live) { impl_->Set(ready, live, /*close=*/false); }
void HealthService::Close(SteadyTime until) {
  impl_->Set(/*ready=*/false, /*live=*/false, /*close=*/true);
  impl_->WaitUntilNoneWatches(until);
}

}  // namespace recurve
