// SPDX-License-Identifier: Apache-2.0
#include "client/load/http_client.h"

#include <array>
#include <boost/asio/executor_work_guard.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/ssl/stream.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/beast/core/error.hpp>
#include <boost/beast/core/flat_buffer.hpp>
#include <boost/beast/core/tcp_stream.hpp>
#include <boost/beast/http.hpp>
#include <limits>
#include <thread>

#include "absl/strings/cord.h"
#include "absl/strings/str_cat.h"
#include "client/client.h"

namespace recurve::client {
namespace {

namespace asio = boost::asio;
namespace beast = boost::beast;
namespace http = beast::http;
using asio::ip::tcp;
using Error = boost::system::error_code;

constexpr size_t kReadBytes = size_t{16} << 10;  // at once

struct Connection {
  Connection(asio::io_context& context, TlsClient* client) : tcp(context) {
    if (client != nullptr) tls.emplace(tcp, client->context());
  }

  // Calls `action` with what HTTP is spoken through.
  template <typename Action>
  void With(Action action) {
    if (tls) {
      action(*tls);
    } else {
      action(tcp);
    }
  }

  beast::tcp_stream tcp;
  std::optional<asio::ssl::stream<beast::tcp_stream&>> tls;  // none: plaintext
  beast::flat_buffer buffer;                                 // read, and not yet parsed
  bool is_used = false;                                      // it has served a call
};

}  // namespace

class HttpClient::Core {
 public:
  Core(const HttpUrl& url, std::shared_ptr<TlsClient> tls,
       std::chrono::milliseconds connect_timeout)
      : url_(url),
        tls_(std::move(tls)),
        connect_timeout_(connect_timeout),
        context_(1),
        work_(asio::make_work_guard(context_)) {
    tcp::resolver resolver(context_);
    endpoints_ = resolver.resolve(url.host, url.port, error_);
    thread_ = std::thread([this] { context_.run(); });
  }
  ~Core() {
    work_.reset();
    asio::post(context_, [this] { idle_.clear(); });
    thread_.join();
  }

  const HttpUrl& url() const { return url_; }
  const TlsClient* tls() const { return tls_.get(); }  // null: plaintext
  std::chrono::milliseconds connect_timeout() const { return connect_timeout_; }
  asio::io_context& context() { return context_; }
  const tcp::resolver::results_type& endpoints() const { return endpoints_; }
  const Error& error() const { return error_; }  // of the look-up

  // On the thread of `context`.
  std::unique_ptr<Connection> Take() {
    if (idle_.empty()) return std::make_unique<Connection>(context_, tls_.get());
    std::unique_ptr<Connection> last = std::move(idle_.back());
    idle_.pop_back();
    return last;
  }
  void Give(std::unique_ptr<Connection> connection) { idle_.push_back(std::move(connection)); }
  void ForgetIdle() { idle_.clear(); }

 private:
  const HttpUrl url_;
  const std::shared_ptr<TlsClient> tls_;
  const std::chrono::milliseconds connect_timeout_;
  asio::io_context context_;
  asio::executor_work_guard<asio::io_context::executor_type> work_;
  tcp::resolver::results_type endpoints_;
  Error error_;
  std::vector<std::unique_ptr<Connection>> idle_;
  std::thread thread_;
};

// Its members are used on the client's thread alone.
class HttpClient::Exchange final : public HttpCall, public std::enable_shared_from_this<Exchange> {
 public:
  Exchange(Core* core, HttpRequest request, HttpReceiver* receiver)
      : core_(core),
        timeout_(request.timeout),
        receiver_(receiver),
        timer_(core->context()),
        request_(request.is_post ? http::verb::post : http::verb::get,
                 absl::StrCat(core->url().path, request.path), 11, std::move(request.body)) {
    request_.set(http::field::host, core->url().host_and_port());
    for (const auto& [name, value] : request.headers) request_.set(name, value);
    if (request.is_post) request_.set(http::field::content_type, "application/json");
    request_.prepare_payload();
  }

  void Start() override {
    asio::post(core_->context(), [self = shared_from_this()] { self->Connect(); });
  }

  void Resume() override {
    asio::post(core_->context(), [self = shared_from_this()] {
      if (!self->has_ended_ && self->receiver_->OnBody({})) self->ReadOn();
    });
  }

  void Cancel() override {
    asio::post(core_->context(), [self = shared_from_this()] {
      self->End(absl::CancelledError("the call was cancelled"));
    });
  }

 private:
  // `then`, unless the call has ended.
  template <typename Then>
  auto Guarded(Then then) {
    return [self = shared_from_this(), then](const Error& error, const auto&... /*result*/) {
      if (!self->has_ended_) then(error);
    };
  }

  void Connect() {
    if (has_ended_) return;
    if (core_->error()) return NotConnected(core_->error());
    if (timeout_) {
      timer_.expires_after(*timeout_);
      timer_.async_wait(Guarded([this](const Error& error) {
        if (!error) OutOfTime();
      }));
    }
    StartOver();
  }

  void StartOver() {
    connection_ = core_->Take();
    parser_.emplace();
    parser_->body_limit(std::numeric_limits<uint64_t>::max());
    is_connected_ = false;
    if (connection_->is_used) return Connected();
    connection_->tcp.expires_after(core_->connect_timeout());
    connection_->tcp.async_connect(core_->endpoints(), Guarded([this](const Error& error) {
                                     if (error) return NotConnected(error);
                                     connection_->tcp.socket().set_option(tcp::no_delay(true));
                                     if (connection_->tls) return Handshake();
                                     Connected();
                                   }));
  }

  void Handshake() {
    TlsClient::Expect(core_->url(), connection_->tls->native_handle());
    connection_->tls->async_handshake(asio::ssl::stream_base::client,
                                      Guarded([this](const Error& error) {
                                        if (error) return NotConnected(error);
                                        Connected();
                                      }));
  }

  void Connected() {
    is_connected_ = true;
    connection_->tcp.expires_never();
    connection_->With([this](auto& stream) {
      // After an error, too: what a server says before it closes a connection tells more.
      http::async_write(stream, request_, Guarded([this](const Error&) { ReadHeader(); }));
    });
  }

  void ReadHeader() {
    connection_->With([this](auto& stream) {
      http::async_read_header(stream, connection_->buffer, *parser_,
                              Guarded([this](const Error& error) {
                                if (error) return NoAnswer(error);
                                const auto& header = parser_->get();
                                receiver_->OnHeader(static_cast<int>(header.result_int()),
                                                    std::string(header[http::field::retry_after]));
                                ReadOn();
                              }));
    });
  }

  void ReadOn() {
    if (has_ended_) return;
    if (parser_->is_done()) return End(absl::OkStatus());
    parser_->get().body().data = bytes_.data();
    parser_->get().body().size = bytes_.size();
    connection_->With([this](auto& stream) {
      http::async_read_some(
          stream, connection_->buffer, *parser_, Guarded([this](const Error& error) {
            if (error && error != http::error::need_buffer) {
              return End(
                  absl::UnavailableError(absl::StrCat("the connection broke: ", error.message())));
            }
            const size_t size = bytes_.size() - parser_->get().body().size;
            if (size == 0 || receiver_->OnBody({bytes_.data(), size})) ReadOn();
          }));
    });
  }

  void OutOfTime() {
    End(absl::DeadlineExceededError(
        is_connected_ ? "Deadline Exceeded"
                      : absl::StrCat("Deadline Exceeded before a connection to ", Peer())));
  }

  // To whom a connection is made.
  std::string Peer() const {
    return absl::StrCat(core_->url().host_and_port(), core_->tls() ? " with TLS" : "");
  }

  void NotConnected(const Error& error) {
    if (TlsClient::IsAbout(error)) return EndForTls(error);
    NotReached(
        absl::StrCat("cannot connect to ", Peer(), ": ",
                     error == beast::error::timeout ? "no answer in time" : error.message()));
  }

  void NoAnswer(const Error& error) {
    // A server may have closed a connection that was idle just when it was taken: then another one
    // is as good as the first.
    if (connection_->is_used && !parser_->got_some()) {
      core_->ForgetIdle();
      return StartOver();
    }
    if (TlsClient::IsAbout(error)) return EndForTls(error);
    const std::string name = core_->url().host_and_port();
    NotReached(absl::StrCat(
        name, " gave no answer: ", error.message(),
        core_->tls() ? "" : absl::StrCat("; does it want TLS, as https://", name, "?")));
  }

  void EndForTls(const Error& error) {
    End(core_->tls()->Explain(core_->url(), error, connection_->tls->native_handle()));
  }

  void NotReached(const std::string& message) {
    absl::Status status = absl::UnavailableError(message);
    status.SetPayload(kNotReachedPayload, absl::Cord());
    End(status);
  }

  void End(const absl::Status& status) {
    if (has_ended_) return;
    has_ended_ = true;
    timer_.cancel();
    if (status.ok() && parser_->keep_alive()) {
      connection_->is_used = true;
      core_->Give(std::move(connection_));
    } else if (connection_ != nullptr) {
      connection_->tcp.close();
    }
    receiver_->OnEnd(status);
  }

  Core* const core_;
  const std::optional<std::chrono::milliseconds> timeout_;
  HttpReceiver* const receiver_;
  asio::steady_timer timer_;
  http::request<http::string_body> request_;
  std::unique_ptr<Connection> connection_;
  std::optional<http::response_parser<http::buffer_body>> parser_;
  std::array<char, kReadBytes> bytes_;
  bool is_connected_ = false, has_ended_ = false;
};

HttpClient::HttpClient(const HttpUrl& url, std::shared_ptr<TlsClient> tls,
                       std::chrono::milliseconds connect_timeout)
    : core_(std::make_unique<Core>(url, std::move(tls), connect_timeout)) {}
HttpClient::~HttpClient() = default;

std::shared_ptr<HttpCall> HttpClient::Call(HttpRequest request, HttpReceiver* receiver) {
  return std::make_shared<Exchange>(core_.get(), std::move(request), receiver);
}

}  // namespace recurve::client
