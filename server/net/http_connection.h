// SPDX-License-Identifier: Apache-2.0
// One connection of HttpServer, which alone includes this: it brings Asio and Beast.
#ifndef RECURVE_SERVER_NET_HTTP_CONNECTION_H_
#define RECURVE_SERVER_NET_HTTP_CONNECTION_H_

#include <array>
#include <boost/asio/generic/stream_protocol.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/ssl/stream.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/beast/core/flat_buffer.hpp>
#include <boost/beast/http.hpp>
#include <boost/system/error_code.hpp>
#include <deque>
#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "server/net/http_server.h"

namespace recurve {

// Reads a request, hands it on, writes its answer, and so on. Whatever is under way for it owns it.
// Its members are used on the thread of `context` alone.
class HttpConnection : public std::enable_shared_from_this<HttpConnection> {
 public:
  using Protocol = boost::asio::generic::stream_protocol;
  using Error = boost::system::error_code;

  // What the server is told.
  class Owner {
   public:
    virtual ~Owner() = default;
    virtual void Handle(HttpRequest request, std::shared_ptr<HttpResponseWriter> writer) = 0;
    virtual void OnBusy(HttpConnection* connection, bool busy) = 0;
    virtual void OnAnswer(int status) = 0;
    virtual void OnTimeOut() = 0;
    virtual void OnClosed(HttpConnection* connection) = 0;  // once
  };

  HttpConnection(boost::asio::io_context* context, Protocol::socket socket,
                 const HttpServerOptions& options, Owner* owner);

  void Start();
  void Close();
  // The present answer is the last one.
  void EndAfterAnswer() { keep_alive_ = false; }
  bool is_busy() const { return is_busy_; }

 private:
  class Writer;
  struct Piece {
    std::string bytes;
    std::function<void()> on_written;
  };

  // Calls `action` with what is read from and written to.
  template <typename Action>
  void WithStream(const Action& action) {
    if (tls_stream_) {
      action(*tls_stream_);
    } else {
      action(socket_);
    }
  }

  void AwaitRequest();
  void Watch();
  void OnWatched(const Error& error, size_t bytes);
  void ReadHeader();
  void ReadBody();
  void OnRead();
  void Refuse(const Error& error);

  // The answer, of Writer.
  void Begin(HttpResponse response, bool is_whole);
  void Write(Piece piece);
  void Finish();
  void WhenGone(std::function<void()> on_gone);

  void Queue(Piece piece);
  void WriteQueue();
  void OnWritten(const Error& error);
  void OnAnswered();
  void TellGone();
  void EndSending();
  void CloseAfter(boost::asio::steady_timer& timer);
  void SetBusy(bool busy);

  boost::asio::io_context* const context_;
  const HttpServerOptions& options_;
  Owner* const owner_;
  Protocol::socket socket_;
  std::shared_ptr<HttpTls> tls_;  // null: plaintext
  std::optional<boost::asio::ssl::stream<Protocol::socket&>> tls_stream_;
  boost::asio::steady_timer read_timer_, write_timer_;
  boost::beast::flat_buffer buffer_;  // what was read beyond the last request stays in it
  std::optional<boost::beast::http::request_parser<boost::beast::http::string_body>> parser_;
  bool is_watching_ = false;  // beside or before a request, with nothing in buffer_
  bool is_closed_ = false;
  bool has_ended_ = false;     // the client sends nothing more
  bool is_lingering_ = false;  // all is written; the client is to close
  size_t lingered_bytes_ = 0;

  // Of the present request.
  bool is_busy_ = false;  // it is whole, and its answer is not
  bool keep_alive_ = true;
  bool is_head_ = false, is_http_1_0_ = false;
  bool is_in_pieces_ = false;
  bool is_finished_ = false;  // nothing will be added to the answer
  std::function<void()> on_gone_;
  std::deque<Piece> queue_, writing_;
};

}  // namespace recurve

#endif  // RECURVE_SERVER_NET_HTTP_CONNECTION_H_
