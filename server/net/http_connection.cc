// SPDX-License-Identifier: Apache-2.0
#include "server/net/http_connection.h"

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>

#include <atomic>
#include <boost/asio/buffer.hpp>
#include <boost/asio/dispatch.hpp>
#include <boost/asio/error.hpp>
#include <boost/asio/ssl/error.hpp>
#include <boost/asio/ssl/stream_base.hpp>
#include <boost/asio/write.hpp>
#include <cctype>
#include <chrono>
#include <utility>
#include <vector>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"

namespace recurve {
namespace {

namespace asio = boost::asio;
namespace http = boost::beast::http;

// What is read and thrown away of a connection that is about to be closed, beside a body that is as
// large as may be: of one that is a bit too large, so that its client, which sends it first, hears
// why.
constexpr size_t kMaxLingeredBytes = 1 << 20;
constexpr size_t kReadBytes = 4096;

template <typename Text>
std::string ToString(const Text& text) {
  return std::string(text.data(), text.size());
}

std::string Reason(int status) {
  return ToString(http::obsolete_reason(static_cast<http::status>(status)));
}

// The answer to a request that cannot be read; 0 if there is nobody to answer.
int StatusOf(const boost::system::error_code& error) {
  if (error.category() != make_error_code(http::error::bad_method).category() ||
      error == http::error::end_of_stream || error == http::error::partial_message) {
    return 0;
  }
  if (error == http::error::header_limit || error == http::error::buffer_overflow) return 431;
  return error == http::error::body_limit ? 413 : 400;
}

HttpRequest RequestOf(http::request<http::string_body> message) {
  const std::string target = ToString(message.target());
  const size_t query = target.find('?');
  HttpRequest request{.method = ToString(message.method_string()),
                      .path = target.substr(0, query),
                      .query = query == std::string::npos ? "" : target.substr(query + 1),
                      .body = std::move(message.body())};
  for (const auto& field : message) {
    request.headers.emplace(absl::AsciiStrToLower(ToString(field.name_string())),
                            ToString(field.value()));
  }
  return request;
}

}  // namespace

// Its calls run on the connection's thread: at once, if that is the caller's.
class HttpConnection::Writer final : public HttpResponseWriter {
 public:
  explicit Writer(std::shared_ptr<HttpConnection> connection)
      : connection_(std::move(connection)) {}
  ~Writer() override {
    if (!has_ended_) Run([](HttpConnection& connection) { connection.Close(); });
  }

  void Send(HttpResponse response) override {
    has_ended_ = true;
    Run([response = std::move(response)](HttpConnection& connection) mutable {
      connection.Begin(std::move(response), /*is_whole=*/true);
      connection.Finish();
    });
  }
  void Begin(HttpResponse head) override {
    Run([head = std::move(head)](HttpConnection& connection) mutable {
      connection.Begin(std::move(head), /*is_whole=*/false);
    });
  }
  void Write(std::string piece, std::function<void()> on_written) override {
    Run([piece = Piece{std::move(piece), std::move(on_written)}](
            HttpConnection& connection) mutable { connection.Write(std::move(piece)); });
  }
  void End() override {
    has_ended_ = true;
    Run([](HttpConnection& connection) { connection.Finish(); });
  }
  void WhenGone(std::function<void()> on_gone) override {
    Run([on_gone = std::move(on_gone)](HttpConnection& connection) mutable {
      connection.WhenGone(std::move(on_gone));
    });
  }

 private:
  template <typename Action>
  void Run(Action action) {
    asio::dispatch(
        *connection_->context_,
        [connection = connection_, action = std::move(action)]() mutable { action(*connection); });
  }

  const std::shared_ptr<HttpConnection> connection_;
  std::atomic<bool> has_ended_ = false;
};

HttpConnection::HttpConnection(asio::io_context* context, Protocol::socket socket,
                               const HttpServerOptions& options, Owner* owner)
    : context_(context),
      options_(options),
      owner_(owner),
      socket_(std::move(socket)),
      read_timer_(*context),
      write_timer_(*context),
      buffer_(2 * options.max_header_bytes + kReadBytes) {
  const int on = 1;  // of no effect on a unix socket
  setsockopt(socket_.native_handle(), IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
}

void HttpConnection::Start() {
  if (options_.tls) tls_ = options_.tls();
  if (tls_ == nullptr) return AwaitRequest();
  tls_stream_.emplace(socket_, tls_->context());
  CloseAfter(read_timer_);
  tls_stream_->async_handshake(asio::ssl::stream_base::server,
                               [self = shared_from_this()](const Error& error) {
                                 if (error) return self->Close();
                                 if (!self->is_closed_) self->AwaitRequest();
                               });
}

// ---- Reading ----

void HttpConnection::AwaitRequest() {
  is_finished_ = is_in_pieces_ = false;
  CloseAfter(read_timer_);
  if (buffer_.size() > 0) return ReadHeader();
  if (!is_watching_) Watch();
}

// Waits for the next request, or during an answer for the client to go.
void HttpConnection::Watch() {
  is_watching_ = true;
  WithStream([this](auto& stream) {
    stream.async_read_some(buffer_.prepare(kReadBytes),
                           [self = shared_from_this()](const Error& error, size_t bytes) {
                             self->OnWatched(error, bytes);
                           });
  });
}

void HttpConnection::OnWatched(const Error& error, size_t bytes) {
  is_watching_ = false;
  if (is_closed_) return;
  const bool is_end = error == asio::error::eof || error == asio::ssl::error::stream_truncated;
  if (is_end && is_busy_) {  // it may still read
    has_ended_ = true;
    keep_alive_ = false;
    return TellGone();
  }
  if (error) return Close();
  if (is_lingering_) {
    lingered_bytes_ += bytes;
    const bool is_enough = lingered_bytes_ > kMaxLingeredBytes + options_.max_body_bytes;
    return is_enough ? Close() : Watch();
  }
  buffer_.commit(bytes);
  if (!is_busy_) ReadHeader();  // else a request that was sent early, and nobody watches any more
}

void HttpConnection::ReadHeader() {
  parser_.emplace();
  parser_->header_limit(options_.max_header_bytes);
  parser_->body_limit(options_.max_body_bytes);
  WithStream([this](auto& stream) {
    http::async_read_header(stream, buffer_, *parser_,
                            [self = shared_from_this()](const Error& error, size_t /*bytes*/) {
                              if (error) return self->Refuse(error);
                              self->ReadBody();
                            });
  });
}

void HttpConnection::ReadBody() {
  const bool wants_word =
      boost::beast::iequals(parser_->get()[http::field::expect], "100-continue");
  if (wants_word && !parser_->is_done()) Queue({"HTTP/1.1 100 Continue\r\n\r\n", nullptr});
  WithStream([this](auto& stream) {
    http::async_read(stream, buffer_, *parser_,
                     [self = shared_from_this()](const Error& error, size_t /*bytes*/) {
                       if (error) return self->Refuse(error);
                       self->OnRead();
                     });
  });
}

void HttpConnection::OnRead() {
  if (is_closed_) return;
  read_timer_.expires_at(std::chrono::steady_clock::time_point::max());
  auto message = parser_->release();
  is_http_1_0_ = message.version() < 11;
  is_head_ = message.method() == http::verb::head;
  keep_alive_ = keep_alive_ && message.keep_alive();
  SetBusy(true);
  owner_->Handle(RequestOf(std::move(message)), std::make_shared<Writer>(shared_from_this()));
  if (is_busy_ && !is_watching_ && buffer_.size() == 0) Watch();
}

void HttpConnection::Refuse(const Error& error) {
  const int status = StatusOf(error);
  if (is_closed_ || status == 0) return Close();
  read_timer_.expires_at(std::chrono::steady_clock::time_point::max());
  keep_alive_ = is_head_ = is_http_1_0_ = false;
  SetBusy(true);
  Begin({.status = status,
         .content_type = "text/plain; charset=utf-8",
         .body = absl::StrCat(status, " ", Reason(status), "\n")},
        /*is_whole=*/true);
  Finish();
}

// ---- Answering ----

void HttpConnection::Begin(HttpResponse response, bool is_whole) {
  owner_->OnAnswer(response.status);
  is_in_pieces_ = !is_whole;
  std::string head = absl::StrCat("HTTP/1.1 ", response.status, " ", Reason(response.status),
                                  "\r\nContent-Type: ", response.content_type, "\r\n");
  for (const auto& [name, value] : response.headers) {
    absl::StrAppend(&head, name, ": ", value, "\r\n");
  }
  if (is_whole) {
    absl::StrAppend(&head, "Content-Length: ", response.body.size(), "\r\n");
  } else if (is_http_1_0_) {
    keep_alive_ = false;  // the end of the connection is that of the answer
  } else {
    head += "Transfer-Encoding: chunked\r\n";
  }
  if (!keep_alive_) head += "Connection: close\r\n";
  head += "\r\n";
  Queue({std::move(head), nullptr});
  if (is_whole && !is_head_ && !response.body.empty()) Queue({std::move(response.body), nullptr});
}

void HttpConnection::Write(Piece piece) {
  if (is_head_) {
    piece.bytes.clear();
  } else if (!is_http_1_0_) {
    piece.bytes = absl::StrCat(absl::Hex(piece.bytes.size()), "\r\n", piece.bytes, "\r\n");
  }
  Queue(std::move(piece));
}

void HttpConnection::Finish() {
  if (is_in_pieces_ && !is_http_1_0_ && !is_head_) Queue({"0\r\n\r\n", nullptr});
  is_finished_ = true;
  if (queue_.empty() && writing_.empty()) OnAnswered();
}

void HttpConnection::WhenGone(std::function<void()> on_gone) {
  on_gone_ = std::move(on_gone);
  if (is_closed_ || has_ended_) TellGone();
}

void HttpConnection::TellGone() {
  if (const auto on_gone = std::exchange(on_gone_, nullptr)) on_gone();
}

void HttpConnection::Queue(Piece piece) {
  if (is_closed_) {
    if (piece.on_written) piece.on_written();
    return;
  }
  queue_.push_back(std::move(piece));
  if (writing_.empty()) WriteQueue();
}

void HttpConnection::WriteQueue() {
  writing_.swap(queue_);
  std::vector<asio::const_buffer> buffers;
  buffers.reserve(writing_.size());
  for (const Piece& piece : writing_) buffers.push_back(asio::buffer(piece.bytes));
  CloseAfter(write_timer_);
  WithStream([this, &buffers](auto& stream) {
    asio::async_write(stream, buffers,
                      [self = shared_from_this()](const Error& error, size_t /*bytes*/) {
                        self->OnWritten(error);
                      });
  });
}

void HttpConnection::OnWritten(const Error& error) {
  write_timer_.expires_at(std::chrono::steady_clock::time_point::max());
  const std::deque<Piece> written = std::exchange(writing_, {});
  for (const Piece& piece : written) {
    if (piece.on_written) piece.on_written();
  }
  if (error) return Close();
  if (is_closed_) return;
  if (writing_.empty() && !queue_.empty()) WriteQueue();
  if (writing_.empty() && is_finished_) OnAnswered();
}

void HttpConnection::OnAnswered() {
  if (!is_busy_ || is_closed_) return;
  on_gone_ = nullptr;
  SetBusy(false);
  if (keep_alive_) return AwaitRequest();
  // To close before the client has sent everything would take the answer away from it.
  is_lingering_ = true;
  if (has_ended_) return Close();
  EndSending();
  lingered_bytes_ = buffer_.size();
  buffer_.clear();
  CloseAfter(read_timer_);
  if (!is_watching_) Watch();
}

// ---- Ends ----

void HttpConnection::EndSending() {
  Error ignored;
  if (!tls_stream_) {
    socket_.shutdown(Protocol::socket::shutdown_send, ignored);
    return;
  }
  // Its end would keep us from reading what is still sent. Clients know the length of their
  // answers, but for those of HTTP/1.0.
  if (!is_http_1_0_) return;
  tls_stream_->async_shutdown(
      [self = shared_from_this()](const Error& /*error*/) { self->Close(); });
}

void HttpConnection::CloseAfter(asio::steady_timer& timer) {
  timer.expires_after(options_.stall_timeout);
  timer.async_wait([self = shared_from_this(), &timer](const Error& /*error*/) {
    if (self->is_closed_ || timer.expiry() > std::chrono::steady_clock::now()) return;
    self->owner_->OnTimeOut();
    self->Close();
  });
}

void HttpConnection::SetBusy(bool busy) {
  if (is_busy_ == busy) return;
  is_busy_ = busy;
  owner_->OnBusy(this, busy);
}

// What is under way ends with an error, of which nothing more follows. The pieces of a write that
// is under way must stay until then.
void HttpConnection::Close() {
  if (is_closed_) return;
  const auto self = shared_from_this();
  is_closed_ = true;
  Error ignored;
  socket_.close(ignored);
  read_timer_.cancel();
  write_timer_.cancel();
  SetBusy(false);
  owner_->OnClosed(this);
  TellGone();  // before its pieces make room for more
  const std::deque<Piece> waiting = std::exchange(queue_, {});
  for (const Piece& piece : waiting) {
    if (piece.on_written) piece.on_written();
  }
}

}  // namespace recurve
