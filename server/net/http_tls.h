// SPDX-License-Identifier: Apache-2.0
// What an HttpServer's connections speak TLS with.
#ifndef RECURVE_SERVER_NET_HTTP_TLS_H_
#define RECURVE_SERVER_NET_HTTP_TLS_H_

#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "server/access/tls_identity.h"

namespace boost::asio::ssl {
class context;
}

namespace recurve {

// TLS 1.2 and 1.3, by an identity that CheckTlsIdentity has passed. Where that has a client_ca,
// clients need a certificate of it. Immutable, thread-safe.
class HttpTls {
 public:
  static absl::StatusOr<std::shared_ptr<HttpTls>> Create(const TlsIdentity& identity);
  ~HttpTls();

  boost::asio::ssl::context& context() { return *context_; }

 private:
  HttpTls();

  const std::unique_ptr<boost::asio::ssl::context> context_;
};

}  // namespace recurve

#endif  // RECURVE_SERVER_NET_HTTP_TLS_H_
