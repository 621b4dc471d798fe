// SPDX-License-Identifier: Apache-2.0
// A small HTTP/1.1 server behind one listening socket: requests go to a handler, whose answers come
// whole or in pieces, at once or later.
#ifndef RECURVE_SERVER_NET_HTTP_SERVER_H_
#define RECURVE_SERVER_NET_HTTP_SERVER_H_

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "server/net/http_tls.h"
#include "server/net/listener.h"

namespace recurve {

struct HttpRequest {
  std::string method;  // as sent: GET
  std::string path;    // of the target, without query, as sent
  std::string query;   // what follows the `?`, as sent
  std::string body;
  // Names in lower case, values as sent; of several with one name the first.
  std::map<std::string, std::string, std::less<>> headers{};
};

struct HttpResponse {
  int status = 200;
  std::string content_type{};
  std::string body{};  // left out of the answer to HEAD, but for its length
  std::vector<std::pair<std::string, std::string>> headers{};  // others
};

// The way back of one request's answer. Thread-safe. The answer is Send, or Begin, any number of
// Write, and End. A connection whose writer goes before that is closed.
class HttpResponseWriter {
 public:
  virtual ~HttpResponseWriter() = default;

  // The whole answer.
  virtual void Send(HttpResponse response) = 0;

  // Status and headers of an answer in pieces; `head.body` is empty.
  virtual void Begin(HttpResponse head) = 0;
  // The next piece, not empty. `on_written`, which may be null, is called once, on the server's
  // thread, when the system has taken the piece for the client, or nobody is there to take it:
  // whoever waits for it with the next piece goes no faster than the client reads.
  virtual void Write(std::string piece, std::function<void()> on_written) = 0;
  virtual void End() = 0;

  // `on_gone` is called, at most once, on the server's thread, when the client has gone, or says
  // that it will send nothing more, before it has all of the answer. Once a request.
  virtual void WhenGone(std::function<void()> on_gone) = 0;
};

struct HttpServerOptions {
  // Open at once. One more, and the connection is closed whose last request or answer was whole the
  // longest ago, so that connections that stay silent keep nobody out. So too where the process has
  // no descriptor left for the next one.
  uint32_t max_connections = 16;
  // A connection whose request is being answered is not closed for another one; the new one is, if
  // all are such.
  bool spare_busy = false;
  // A connection that does not bring a whole request, or does not take its answer, within this time
  // is closed.
  std::chrono::milliseconds stall_timeout{120000};
  uint32_t max_header_bytes = 8192;  // of the request line and the headers; else 431
  uint64_t max_body_bytes = 0;       // else 413
  // What new connections speak TLS with, asked for each on the server's thread. Null: plaintext.
  std::function<std::shared_ptr<HttpTls>()> tls;
};

// Owns the listening socket, the connections, and the one thread that serves them all and calls the
// handler; it never waits for a client. Requests of a connection are answered one after the other,
// and those of different connections come to the handler in the order in which they are whole.
class HttpServer {
 public:
  using Handler = std::function<HttpResponse(const HttpRequest&)>;
  using WritingHandler =
      std::function<void(HttpRequest request, std::shared_ptr<HttpResponseWriter> writer)>;

  struct Counts {
    uint64_t open = 0;       // connections now
    uint64_t busy = 0;       // those of them whose request is being answered
    uint64_t refused = 0;    // closed at once, since all others were busy
    uint64_t evicted = 0;    // closed to make room for another
    uint64_t timed_out = 0;  // closed because of stall_timeout
    // Answers by status, begun to be written. Every status of the server itself is there: 400, 413,
    // 431.
    std::map<int, uint64_t> answers;
  };

  // `listener` listens.
  HttpServer(std::unique_ptr<Listener> listener, const HttpServerOptions& options);
  // Closes all connections, answered or not, and returns when the handler will not be called again.
  // No writer is left by then.
  ~HttpServer();

  // Accepts and answers from now on, until the server is destroyed; once. Unavailable where the
  // system has no means for it.
  absl::Status Serve(Handler handler);
  absl::Status Serve(WritingHandler handler);

  // Takes no connection and no request any more; those that are being answered go on. Thread-safe.
  void StopAccepting();

  const Address& address() const;
  Counts counts() const;  // thread-safe

 private:
  class Impl;
  const std::unique_ptr<Impl> impl_;
};

}  // namespace recurve

#endif  // RECURVE_SERVER_NET_HTTP_SERVER_H_
