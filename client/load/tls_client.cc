// SPDX-License-Identifier: Apache-2.0
#include "client/load/tls_client.h"

#include <openssl/err.h>
#include <openssl/x509_vfy.h>

#include <boost/asio/buffer.hpp>
#include <boost/asio/ssl/error.hpp>

#include "absl/strings/str_cat.h"

namespace recurve::client {

namespace asio = boost::asio;
namespace ssl = asio::ssl;
using Error = boost::system::error_code;

TlsClient::TlsClient(const Credentials& credentials)
    : has_ca_(!credentials.tls_ca.empty()),
      has_certificate_(!credentials.tls_cert.empty()),
      context_(ssl::context::tls_client) {}

absl::StatusOr<std::shared_ptr<TlsClient>> TlsClient::Create(const Credentials& credentials) {
  std::shared_ptr<TlsClient> tls(new TlsClient(credentials));
  if (absl::Status status = tls->Use(credentials); !status.ok()) return status;
  return tls;
}

absl::Status TlsClient::Use(const Credentials& credentials) {
  Error error;
  const auto unusable = [&error](const char* flag) {
    return absl::InvalidArgumentError(absl::StrCat(flag, " cannot be used: ", error.message()));
  };
  context_.set_options(ssl::context::no_tlsv1 | ssl::context::no_tlsv1_1, error);
  context_.set_verify_mode(ssl::verify_peer, error);
  if (has_ca_) {
    context_.add_certificate_authority(asio::buffer(credentials.tls_ca), error);
  } else {
    context_.set_default_verify_paths(error);
  }
  if (error) return unusable("--tls_ca");
  if (!has_certificate_) return absl::OkStatus();
  context_.use_certificate_chain(asio::buffer(credentials.tls_cert), error);
  if (error) return unusable("--tls_cert");
  // OpenSSL would ask the terminal for the password of a key that has one.
  context_.set_password_callback([](auto...) { return std::string(); }, error);
  context_.use_private_key(asio::buffer(credentials.tls_key), ssl::context::pem, error);
  return error ? unusable("--tls_key, the key of --tls_cert without a password,")
               : absl::OkStatus();
}

void TlsClient::Expect(const HttpUrl& url, SSL* ssl) {
  // Addresses are not names: certificates have them apart, and servers are not told them.
  if (X509_VERIFY_PARAM_set1_ip_asc(SSL_get0_param(ssl), url.host.c_str()) == 1) return;
  SSL_set1_host(ssl, url.host.c_str());
  // As SSL_set_tlsext_host_name does, but for its cast.
  SSL_ctrl(ssl, SSL_CTRL_SET_TLSEXT_HOSTNAME, TLSEXT_NAMETYPE_host_name,
           const_cast<char*>(url.host.c_str()));
}

bool TlsClient::IsAbout(const Error& error) {
  return error.category() == asio::error::get_ssl_category();
}

absl::Status TlsClient::Explain(const HttpUrl& url, const Error& error, SSL* ssl) const {
  const std::string name = url.host_and_port();
  // Of a certificate that does not count the error may be any that was met on the way.
  if (const long fault = SSL_get_verify_result(ssl); fault != X509_V_OK) {
    return absl::FailedPreconditionError(absl::StrCat(
        "the certificate of ", name, " does not count: ", X509_verify_cert_error_string(fault),
        WhatCertificate(fault)));
  }
  const int reason = ERR_GET_REASON(static_cast<unsigned>(error.value()));
  return absl::FailedPreconditionError(
      absl::StrCat("no TLS with ", name, ": ", error.message(), WhatToDo(reason, name)));
}

std::string TlsClient::WhatCertificate(long fault) const {
  switch (fault) {
    case X509_V_ERR_HOSTNAME_MISMATCH:
    case X509_V_ERR_IP_ADDRESS_MISMATCH:
      return "; name the server by --server as its certificate does";
    case X509_V_ERR_CERT_SIGNATURE_FAILURE:
    case X509_V_ERR_DEPTH_ZERO_SELF_SIGNED_CERT:
    case X509_V_ERR_SELF_SIGNED_CERT_IN_CHAIN:
    case X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT:
    case X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT_LOCALLY:
    case X509_V_ERR_UNABLE_TO_VERIFY_LEAF_SIGNATURE:
      return has_ca_ ? "; it is not of the authorities that --tls_ca names"
                     : "; this system does not know its authority: name that, or the certificate "
                       "that signed itself, by --tls_ca=FILE";
    default:
      return "";
  }
}

std::string TlsClient::WhatToDo(int reason, const std::string& name) const {
  switch (reason) {
    case SSL_R_WRONG_VERSION_NUMBER:
      return absl::StrCat("; the server speaks plaintext at this port: name it http://", name,
                          ", or name its TLS port");
    case SSL_R_TLSV13_ALERT_CERTIFICATE_REQUIRED:
      return "; give this client's certificate by --tls_cert and --tls_key";
    case SSL_R_SSLV3_ALERT_HANDSHAKE_FAILURE:
      return has_certificate_ ? ""
                              : "; does the server want a certificate of this client (--tls_cert "
                                "and --tls_key)?";
    case SSL_R_SSLV3_ALERT_BAD_CERTIFICATE:
    case SSL_R_SSLV3_ALERT_CERTIFICATE_EXPIRED:
    case SSL_R_SSLV3_ALERT_CERTIFICATE_REVOKED:
    case SSL_R_SSLV3_ALERT_CERTIFICATE_UNKNOWN:
    case SSL_R_TLSV1_ALERT_DECRYPT_ERROR:
    case SSL_R_TLSV1_ALERT_UNKNOWN_CA:
      return "; the server does not take the certificate of --tls_cert";
    default:
      return "";
  }
}

}  // namespace recurve::client
