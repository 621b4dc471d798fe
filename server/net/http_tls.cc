// SPDX-License-Identifier: Apache-2.0
#include "server/net/http_tls.h"

#include <boost/asio/buffer.hpp>
#include <boost/asio/ssl/context.hpp>
#include <boost/system/error_code.hpp>

#include "absl/strings/str_cat.h"

namespace recurve {

namespace ssl = boost::asio::ssl;
using boost::system::error_code;

HttpTls::HttpTls() : context_(std::make_unique<ssl::context>(ssl::context::tls_server)) {}
HttpTls::~HttpTls() = default;

absl::StatusOr<std::shared_ptr<HttpTls>> HttpTls::Create(const TlsIdentity& identity) {
  std::shared_ptr<HttpTls> tls(new HttpTls);
  ssl::context& context = *tls->context_;
  error_code error;
  context.set_options(ssl::context::no_sslv2 | ssl::context::no_sslv3 | ssl::context::no_tlsv1 |
                          ssl::context::no_tlsv1_1 | ssl::context::no_compression,
                      error);
  if (!error) context.use_certificate_chain(boost::asio::buffer(identity.cert_chain), error);
  if (!error) context.use_private_key(boost::asio::buffer(identity.key), ssl::context::pem, error);
  if (!error && !identity.client_ca.empty()) {
    context.add_certificate_authority(boost::asio::buffer(identity.client_ca), error);
    if (!error) {
      context.set_verify_mode(ssl::verify_peer | ssl::verify_fail_if_no_peer_cert, error);
    }
  }
  if (!error) return tls;
  return absl::InvalidArgumentError(absl::StrCat("cannot speak TLS: ", error.message()));
}

}  // namespace recurve
