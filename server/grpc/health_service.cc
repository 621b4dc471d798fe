// SPDX-License-Identifier: Apache-2.0
#include "server/grpc/health_service.h"

#include <grpcpp/grpcpp.h>

#include <algorithm>
#include <functional>
#include <mutex>
#include <optional>
#include <unordered_map>
#include <utility>

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
      const std::lock_guard lock(mutex_);
      wanted_ = status;
    }
    Go();
  }

  void Close() {
    {
      const std::lock_guard lock(mutex_);
      closing_ = true;
    }
    Go();
  }

  void OnWriteDone(bool ok) override {
    {
      const std::lock_guard lock(mutex_);
      writing_ = false;
      cancelled_ = cancelled_ || !ok;
    }
    Go();
  }

  void OnCancel() override {
    {
      const std::lock_guard lock(mutex_);
      cancelled_ = true;
    }
    Go();
  }

  void OnDone() override { on_done_(this); }

 private:
  // Starts what is due. gRPC is called without the lock; `writing_` and `finished_` keep others
  // out.
  void Go() {
    bool write = false;
    {
      const std::lock_guard lock(mutex_);
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
  std::mutex mutex_;  // guards what follows
  std::optional<Status> wanted_, written_;
  bool writing_ = false, cancelled_ = false, closing_ = false, finished_ = false;
  HealthCheckResponse response_;
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
      const std::lock_guard lock(mutex_);
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
    const std::lock_guard lock(mutex_);
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
      const std::lock_guard lock(mutex_);
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

  // With the lock.
  Status StatusOf(Kind kind) const {
    if (kind == Kind::kUnknown) return HealthCheckResponse::SERVICE_UNKNOWN;
    return kind == Kind::kLiveness ? live_ : ready_;
  }

  void Remove(Watcher* watcher) {
    Entry last;  // destroyed without the lock
    const std::lock_guard lock(mutex_);
    const auto found = watchers_.find(watcher);
    last = std::move(found->second);
    watchers_.erase(found);
  }

  const std::vector<std::string> names_;
  std::mutex mutex_;  // guards what follows
  Status ready_ = HealthCheckResponse::NOT_SERVING;
  Status live_ = HealthCheckResponse::SERVING;
  bool closed_ = false;
  std::unordered_map<Watcher*, Entry> watchers_;
};

HealthService::HealthService(std::vector<std::string> names)
    : impl_(std::make_unique<Impl>(std::move(names))) {}
HealthService::~HealthService() = default;

::grpc::Service* HealthService::service() { return impl_.get(); }
void HealthService::Set(bool ready, bool live) { impl_->Set(ready, live, /*close=*/false); }
void HealthService::Close() { impl_->Set(/*ready=*/false, /*live=*/false, /*close=*/true); }

}  // namespace recurve
