// SPDX-License-Identifier: Apache-2.0
#include "server/net/http_server.h"

#include <boost/asio/basic_socket_acceptor.hpp>
#include <boost/asio/post.hpp>
#include <cerrno>
#include <list>
#include <optional>
#include <thread>
#include <unordered_map>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "engine/base/mutex.h"
#include "server/net/http_connection.h"

namespace recurve {
namespace {

namespace asio = boost::asio;
using boost::system::error_code;
using Protocol = HttpConnection::Protocol;
using Acceptor = asio::basic_socket_acceptor<Protocol>;

// After a failed accept, such as one for want of a descriptor, the next is tried this much later.
constexpr std::chrono::milliseconds kAcceptPause(50);

}  // namespace

// All members are used on the thread of `context_`, but for construction, destruction and counts.
class HttpServer::Impl final : public HttpConnection::Owner {
 public:
  Impl(std::unique_ptr<Listener> listener, const HttpServerOptions& options)
      : listener_(std::move(listener)), address_(listener_->address()), options_(options) {
    for (const int status : {400, 413, 431}) counts_.answers[status] = 0;
  }
  ~Impl() override {
    context_.stop();
    if (thread_.joinable()) thread_.join();
    error_code ignored;
    acceptor_.release(ignored);  // the listener's own to close
  }

  absl::Status Serve(WritingHandler handler);
  void StopAccepting() {
    asio::post(context_, [this] { CloseIdle(); });
  }

  const Address& address() const { return address_; }
  Counts counts() const {
    const MutexLock lock(mutex_);
    return counts_;
  }

  void Handle(HttpRequest request, std::shared_ptr<HttpResponseWriter> writer) override {
    handler_(std::move(request), std::move(writer));
  }
  void OnBusy(HttpConnection* connection, bool busy) override;
  void OnAnswer(int status) override {
    Count([status](Counts* counts) { ++counts->answers[status]; });
  }
  void OnTimeOut() override {
    Count([](Counts* counts) { ++counts->timed_out; });
  }
  void OnClosed(HttpConnection* connection) override;

 private:
  using Connections = std::list<std::shared_ptr<HttpConnection>>;

  void AwaitConnection();
  void Accept();
  void Add(Protocol::socket socket);
  bool Evict();
  void CloseIdle();
  template <typename Change>
  void Count(Change change) ABSL_LOCKS_EXCLUDED(mutex_) {
    const MutexLock lock(mutex_);
    change(&counts_);
  }

  std::unique_ptr<Listener> listener_;
  const Address address_;
  const HttpServerOptions options_;
  WritingHandler handler_;
  asio::io_context context_{1};
  Acceptor acceptor_{context_};
  asio::steady_timer pause_{context_};
  bool has_stopped_ = false;
  Connections connections_;  // the one whose last request or answer was whole the longest ago first
  std::unordered_map<HttpConnection*, Connections::iterator> places_;
  mutable Mutex mutex_;
  Counts counts_ ABSL_GUARDED_BY(mutex_);
  std::thread thread_;
};

absl::Status HttpServer::Impl::Serve(WritingHandler handler) {
  handler_ = std::move(handler);
  error_code error;
  acceptor_.assign(Protocol(address().is_unix() ? AF_UNIX : AF_INET, 0), listener_->fd(), error);
  if (!error) acceptor_.non_blocking(true, error);
  if (error) return absl::UnavailableError(absl::StrCat("cannot accept: ", error.message()));
  AwaitConnection();
  thread_ = std::thread([this] { context_.run(); });
  return absl::OkStatus();
}

// Waits for a connection before accepting it, since without a descriptor left an accept fails even
// where there is none.
void HttpServer::Impl::AwaitConnection() {
  acceptor_.async_wait(Acceptor::wait_read, [this](const error_code&) { Accept(); });
}

void HttpServer::Impl::Accept() {
  if (has_stopped_) return;
  Protocol::socket socket(context_);
  error_code error;
  acceptor_.accept(socket, error);
  if (!error) {
    Add(std::move(socket));
  } else if (error != asio::error::would_block) {
    // Whatever it was, the next attempt may do better, and the connection still waits. A descriptor
    // less in use may be what it takes.
    if (error.value() == EMFILE || error.value() == ENFILE) Evict();
    pause_.expires_after(kAcceptPause);
    pause_.async_wait([this](const error_code&) { AwaitConnection(); });
    return;
  }
  AwaitConnection();
}

void HttpServer::Impl::Add(Protocol::socket socket) {
  if (connections_.size() >= options_.max_connections && !Evict()) {
    return Count([](Counts* counts) { ++counts->refused; });  // and the socket closes
  }
  auto connection = std::make_shared<HttpConnection>(&context_, std::move(socket), options_, this);
  places_[connection.get()] = connections_.insert(connections_.end(), connection);
  Count([](Counts* counts) { ++counts->open; });
  connection->Start();
}

// Whether a connection was there that may be closed.
bool HttpServer::Impl::Evict() {
  for (const auto& connection : connections_) {
    if (options_.spare_busy && connection->is_busy()) continue;
    Count([](Counts* counts) { ++counts->evicted; });
    const std::shared_ptr<HttpConnection> evicted = connection;  // the list lets go of it
    evicted->Close();
    return true;
  }
  return false;
}

void HttpServer::Impl::CloseIdle() {
  has_stopped_ = true;
  error_code ignored;
  acceptor_.release(ignored);
  listener_.reset();
  const Connections connections = connections_;
  for (const auto& connection : connections) {
    if (connection->is_busy()) {
      connection->EndAfterAnswer();
    } else {
      connection->Close();
    }
  }
}

// A request or an answer is whole.
void HttpServer::Impl::OnBusy(HttpConnection* connection, bool busy) {
  Count([busy](Counts* counts) { counts->busy += busy ? 1 : -1; });
  connections_.splice(connections_.end(), connections_, places_.at(connection));
}

void HttpServer::Impl::OnClosed(HttpConnection* connection) {
  Count([](Counts* counts) { --counts->open; });
  const auto place = places_.find(connection);
  connections_.erase(place->second);
  places_.erase(place);
}

HttpServer::HttpServer(std::unique_ptr<Listener> listener, const HttpServerOptions& options)
    : impl_(std::make_unique<Impl>(std::move(listener), options)) {}
HttpServer::~HttpServer() = default;

absl::Status HttpServer::Serve(Handler handler) {
  return impl_->Serve(
      [handler = std::move(handler)](const HttpRequest& request,
                                     const std::shared_ptr<HttpResponseWriter>& writer) {
        writer->Send(handler(request));
      });
}
absl::Status HttpServer::Serve(WritingHandler handler) { return impl_->Serve(std::move(handler)); }
void HttpServer::StopAccepting() { impl_->StopAccepting(); }
const Address& HttpServer::address() const { return impl_->address(); }
HttpServer::Counts HttpServer::counts() const { return impl_->counts(); }

}  // namespace recurve
