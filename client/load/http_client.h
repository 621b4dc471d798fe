// SPDX-License-Identifier: Apache-2.0
// Calls of an HTTP/1.1 server, with TLS or without, whose answers come piece by piece.
#ifndef RECURVE_CLIENT_LOAD_HTTP_CLIENT_H_
#define RECURVE_CLIENT_LOAD_HTTP_CLIENT_H_

#include <chrono>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "client/load/http_url.h"
#include "client/load/tls_client.h"

namespace recurve::client {

struct HttpRequest {
  bool is_post = false;  // else GET
  std::string path;
  std::vector<std::pair<std::string, std::string>> headers;
  std::string body;  // JSON
  std::optional<std::chrono::milliseconds> timeout;
};

// Hears of one call, on the client's thread, and does not block. OnEnd comes once and last; the
// receiver may then go.
class HttpReceiver {
 public:
  virtual ~HttpReceiver() = default;
  virtual void OnHeader(int code, std::string retry_after) = 0;
  // False: nothing more is read before HttpCall::Resume, after which it first hears of no bytes.
  virtual bool OnBody(std::string_view bytes) = 0;
  // OK when the answer has come as a whole. Unavailable, with kNotReachedPayload if no server was
  // reached, FailedPrecondition if it and this client cannot speak TLS, DeadlineExceeded or
  // Cancelled otherwise.
  virtual void OnEnd(const absl::Status& status) = 0;
};

// Thread-safe. Nothing happens in a call that has ended.
class HttpCall {
 public:
  virtual ~HttpCall() = default;
  virtual void Start() = 0;  // once
  virtual void Resume() = 0;
  virtual void Cancel() = 0;
};

// Connections of calls that have ended well serve later ones. A thread of its own does all that
// there is to do. Thread-safe.
class HttpClient {
 public:
  // Looks the host up, once. `tls`: what https is spoken with; null: http. A connection, the TLS
  // handshake included, takes no longer than `connect_timeout`, nor than its call may.
  explicit HttpClient(const HttpUrl& url, std::shared_ptr<TlsClient> tls = nullptr,
                      std::chrono::milliseconds connect_timeout = std::chrono::seconds(20));
  // All calls have ended.
  ~HttpClient();

  std::shared_ptr<HttpCall> Call(HttpRequest request, HttpReceiver* receiver);

 private:
  class Exchange;
  class Core;
  const std::unique_ptr<Core> core_;
};

}  // namespace recurve::client

#endif  // RECURVE_CLIENT_LOAD_HTTP_CLIENT_H_
