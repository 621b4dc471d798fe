// SPDX-License-Identifier: Apache-2.0
#include "server/health_service.h"

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
    if (Knows(request->service())) {
      const std::lock_guard lock(mutex_);
      response->set_status(status_);
    } else {
      reactor->Finish({::grpc::StatusCode::NOT_FOUND, "no service of that name"});
      return reactor;
    }
    reactor->Finish(::grpc::Status::OK);
    return reactor;
  }

  ::grpc::ServerWriteReactor<HealthCheckResponse>* Watch(
      ::grpc::CallbackServerContext* /*context*/, const HealthCheckRequest* request) override {
    const bool known = Knows(request->service());
    auto watcher = std::make_shared<Watcher>([this](Watcher* done) { Remove(done); });
    // With the lock, so that no later change is overwritten; gRPC only takes note of what a reactor
    // starts before it is returned.
    const std::lock_guard lock(mutex_);
    watchers_.emplace(watcher.get(), Entry{watcher, known});
    watcher->Set(known ? status_ : HealthCheckResponse::SERVICE_UNKNOWN);
    if (closed_) watcher->Close();
    return watcher.get();
  }

  void Set(bool serving, bool close) {
    const Status status = serving ? HealthCheckResponse::SERVING : HealthCheckResponse::NOT_SERVING;
    std::vector<Entry> entries;
    {
      const std::lock_guard lock(mutex_);
      if (closed_) return;
      closed_ = close;
      status_ = status;
      for (const auto& [key, entry] : watchers_) entries.push_back(entry);
    }
    for (const Entry& entry : entries) {
      if (entry.known) entry.watcher->Set(status);
      if (close) entry.watcher->Close();
    }
  }

 private:
  struct Entry {
    std::shared_ptr<Watcher> watcher;
    bool known;
  };

  bool Knows(const std::string& name) const {
    return std::find(names_.begin(), names_.end(), name) != names_.end();
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
  Status status_ = HealthCheckResponse::NOT_SERVING;
  bool closed_ = false;
  std::unordered_map<Watcher*, Entry> watchers_;
};

HealthService::HealthService(std::vector<std::string> names)
    : impl_(std::make_unique<Impl>(std::move(names))) {}
HealthService::~HealthService() = default;

::grpc::Service* HealthService::service() { return impl_.get(); }
void HealthService::Set(bool serving) { impl_->Set(serving, /*close=*/false); }
void HealthService::Close() { impl_->Set(/*serving=*/false, /*close=*/true); }

}  // namespace recurve
