// SPDX-License-Identifier: Apache-2.0
// TLS with https servers: whom this client trusts, what it shows, and what is wrong when it fails.
#ifndef RECURVE_CLIENT_LOAD_TLS_CLIENT_H_
#define RECURVE_CLIENT_LOAD_TLS_CLIENT_H_

#include <openssl/ssl.h>

#include <boost/asio/ssl/context.hpp>
#include <boost/system/error_code.hpp>
#include <memory>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "client/channel_credentials.h"
#include "client/load/http_url.h"

namespace recurve::client {

// TLS 1.2 and 1.3. Immutable, thread-safe.
class TlsClient {
 public:
  // Trusts the authorities of `tls_ca`, or the system's where that is empty. InvalidArgument names
  // the flag of what cannot be used.
  static absl::StatusOr<std::shared_ptr<TlsClient>> Create(const Credentials& credentials);

  boost::asio::ssl::context& context() { return context_; }

  // Before a handshake: asks for the server of `url`, and takes no certificate of another host.
  static void Expect(const HttpUrl& url, SSL* ssl);

  // Whether an error of a connection is about TLS, and not about what carries it.
  static bool IsAbout(const boost::system::error_code& error);
  // FailedPrecondition: what such an error, of a handshake with `url` or after it, says, and what
  // to do.
  absl::Status Explain(const HttpUrl& url, const boost::system::error_code& error, SSL* ssl) const;

 private:
  explicit TlsClient(const Credentials& credentials);
  absl::Status Use(const Credentials& credentials);
  std::string WhatCertificate(long fault) const;
  std::string WhatToDo(int reason, const std::string& name) const;

  const bool has_ca_, has_certificate_;
  boost::asio::ssl::context context_;
};

}  // namespace recurve::client

#endif  // RECURVE_CLIENT_LOAD_TLS_CLIENT_H_
