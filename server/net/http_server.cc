// SPDX-License-Identifier: Apache-2.0
#include "server/net/http_server.h"

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>

#include <array>
#include <boost/asio/basic_socket_acceptor.hpp>
#include <boost/asio/generic/stream_protocol.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/beast/core/basic_stream.hpp>
#include <boost/beast/core/error.hpp>
#include <boost/beast/core/flat_buffer.hpp>
#include <boost/beast/http.hpp>
#include <boost/system/error_code.hpp>
#include <cerrno>
#include <list>
#include <optional>
#include <thread>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "engine/base/mutex.h"

namespace recurve {
namespace {

namespace asio = boost::asio;
namespace beast = boost::beast;
namespace http = beast::http;
using boost::system::error_code;
using Protocol = asio::generic::stream_protocol;
using Acceptor = asio::basic_socket_acceptor<Protocol>;

// After a failed accept, such as one for want of a descriptor, the next is tried this much later.
constexpr std::chrono::milliseconds kAcceptPause(50);
// What is read and thrown away of a connection that is about to be closed.
constexpr size_t kMaxDiscardedBytes = 1 << 20;

template <typename Text>
std::string ToString(const Text& text) {
  return std::string(text.data(), text.size());
}

HttpResponse Refusal(int status) {
  return {
      .status = status,
      .content_type = "text/plain; charset=utf-8",
      .body = absl::StrCat(
          status, " ", ToString(http::obsolete_reason(static_cast<http::status>(status))), "\n")};
}

// The answer to a request that cannot be read; 0 if there is nobody to answer.
int StatusOf(const error_code& error) {
  if (error.category() != make_error_code(http::error::bad_method).category() ||
      error == http::error::end_of_stream || error == http::error::partial_message) {
    return 0;
  }
  if (error == http::error::header_limit || error == http::error::buffer_overflow) return 431;
  return error == http::error::body_limit ? 413 : 400;
}

}  // namespace

// All members are used on the thread of `context_`, but for construction, destruction and Count.
class HttpServer::Impl {
 public:
  Impl(std::unique_ptr<Listener> listener, const HttpServerOptions& options)
      : listener_(std::move(listener)), options_(options) {
    for (const int status : {400, 413, 431}) counts_.answers[status] = 0;
  }
  ~Impl() {
    context_.stop();
    if (thread_.joinable()) thread_.join();
    error_code ignored;
    acceptor_.release(ignored);  // the listener's own to close
  }

  absl::Status Serve(Handler handler);

  const Address& address() const { return listener_->address(); }
  Counts counts() const {
    const MutexLock lock(mutex_);
    return counts_;
  }

 private:
  class Connection;
  using Connections = std::list<std::shared_ptr<Connection>>;

  void AwaitConnection();
  void Accept();
  void Add(Protocol::socket socket);
  void Evict();
  void Drop(Connection* connection);
  void Touch(Connection* connection);
  template <typename Change>
  void Count(Change change) ABSL_LOCKS_EXCLUDED(mutex_) {
    const MutexLock lock(mutex_);
    change(&counts_);
  }

  const std::unique_ptr<Listener> listener_;
  const HttpServerOptions options_;
  Handler handler_;
  asio::io_context context_{1};
  Acceptor acceptor_{context_};
  asio::steady_timer pause_{context_};
  Connections connections_;  // the one whose last request or answer was whole the longest ago first
  mutable Mutex mutex_;
  Counts counts_ ABSL_GUARDED_BY(mutex_);
  std::thread thread_;
};

// One connection: reads a request, writes its answer, and so on. Whatever is under way in the
// context owns it; the server's list does so too until it is dropped.
class HttpServer::Impl::Connection : public std::enable_shared_from_this<Connection> {
 public:
  Connection(Protocol::socket socket, Impl* server)
      : server_(server),
        stream_(std::move(socket)),
        buffer_(2 * server->options_.max_header_bytes) {
    const int on = 1;  // of no effect on a unix socket
    setsockopt(stream_.socket().native_handle(), IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
  }

  void Read() {
    parser_.emplace();
    parser_->header_limit(server_->options_.max_header_bytes);
    parser_->body_limit(server_->options_.max_body_bytes);
    stream_.expires_after(server_->options_.stall_timeout);
    http::async_read(
        stream_, buffer_, *parser_,
        [self = shared_from_this()](const error_code& error, size_t) { self->OnRead(error); });
  }

  void Close() { stream_.close(); }

 private:
  friend class Impl;

  void OnRead(const error_code& error) {
    if (error) {
      const int status = StatusOf(error);
      if (status == 0) return End(error);
      return Write(Refusal(status), /*keep_alive=*/false, /*with_body=*/true);
    }
    server_->Touch(this);
    auto message = parser_->release();
    const std::string target = ToString(message.target());
    const size_t query = target.find('?');
    HttpRequest request{.method = ToString(message.method_string()),
                        .path = target.substr(0, query),
                        .query = query == std::string::npos ? "" : target.substr(query + 1),
                        .body = std::move(message.body())};
    Write(server_->handler_(request), message.keep_alive(),
          /*with_body=*/message.method() != http::verb::head);
  }

  void Write(HttpResponse response, bool keep_alive, bool with_body) {
    server_->Count([&](Counts* counts) { ++counts->answers[response.status]; });
    answer_ = {};
    answer_.version(11);
    answer_.result(static_cast<unsigned>(response.status));
    answer_.set(http::field::content_type, response.content_type);
    for (const auto& [name, value] : response.headers) answer_.set(name, value);
    answer_.content_length(response.body.size());
    answer_.keep_alive(keep_alive);
    if (with_body) answer_.body() = std::move(response.body);
    stream_.expires_after(server_->options_.stall_timeout);
    http::async_write(
        stream_, answer_,
        [self = shared_from_this()](const error_code& error, size_t) { self->OnWritten(error); });
  }

  void OnWritten(const error_code& error) {
    if (error) return End(error);
    server_->Touch(this);
    if (answer_.keep_alive()) return Read();
    error_code ignored;
    stream_.socket().shutdown(Protocol::socket::shutdown_send, ignored);
    stream_.expires_after(server_->options_.stall_timeout);
    Discard(0);
  }

  // Waits until the client has closed: to close before it has sent everything would take the answer
  // away from it.
  void Discard(size_t discarded) {
    stream_.async_read_some(asio::buffer(discarded_), [self = shared_from_this(), discarded](
                                                          const error_code& error, size_t bytes) {
      if (error || discarded + bytes > kMaxDiscardedBytes) return self->End(error);
      self->Discard(discarded + bytes);
    });
  }

  void End(const error_code& error) {
    if (error == beast::error::timeout) {
      server_->Count([](Counts* counts) { ++counts->timed_out; });
    }
    server_->Drop(this);
  }

  Impl* const server_;
  std::optional<Connections::iterator> place_;  // in the server's list, until dropped
  beast::basic_stream<Protocol> stream_;
  beast::flat_buffer buffer_;  // what was read beyond the last request stays in it
  std::optional<http::request_parser<http::string_body>> parser_;
  http::response<http::string_body> answer_;
  std::array<char, 4096> discarded_;
};

absl::Status HttpServer::Impl::Serve(Handler handler) {
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
  if (connections_.size() >= options_.max_connections) Evict();
  auto connection = std::make_shared<Connection>(std::move(socket), this);
  connection->place_ = connections_.insert(connections_.end(), connection);
  Count([](Counts* counts) { ++counts->open; });
  connection->Read();
}

void HttpServer::Impl::Evict() {
  if (connections_.empty()) return;
  Count([](Counts* counts) { ++counts->evicted; });
  Drop(connections_.front().get());
}

// Closes, and forgets. What is under way for the connection ends with an error, after which it is
// dropped again, without effect, and destroyed.
void HttpServer::Impl::Drop(Connection* connection) {
  connection->Close();
  if (!connection->place_) return;
  Count([](Counts* counts) { --counts->open; });
  const auto place = *connection->place_;
  connection->place_.reset();
  connections_.erase(place);
}

void HttpServer::Impl::Touch(Connection* connection) {
  if (!connection->place_) return;
  connections_.splice(connections_.end(), connections_, *connection->place_);
}

HttpServer::HttpServer(std::unique_ptr<Listener> listener, const HttpServerOptions& options)
    : impl_(std::make_unique<Impl>(std::move(listener), options)) {}
HttpServer::~HttpServer() = default;

absl::Status HttpServer::Serve(Handler handler) { return impl_->Serve(std::move(handler)); }
const Address& HttpServer::address() const { return impl_->address(); }
HttpServer::Counts HttpServer::counts() const { return impl_->counts(); }

}  // namespace recurve
