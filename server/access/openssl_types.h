// SPDX-License-Identifier: Apache-2.0
// Owners of OpenSSL's objects, and what it says of failures.
#ifndef RECURVE_SERVER_ACCESS_OPENSSL_TYPES_H_
#define RECURVE_SERVER_ACCESS_OPENSSL_TYPES_H_

#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/ssl.h>
#include <openssl/x509.h>

#include <array>
#include <memory>
#include <string>

namespace recurve {

template <auto kFree>
struct OpenSslDeleter {
  template <typename T>
  void operator()(T* object) const {
    kFree(object);
  }
};

using BioPointer = std::unique_ptr<BIO, OpenSslDeleter<BIO_free_all>>;
using KeyPointer = std::unique_ptr<EVP_PKEY, OpenSslDeleter<EVP_PKEY_free>>;
using CertificatePointer = std::unique_ptr<X509, OpenSslDeleter<X509_free>>;
using ContextPointer = std::unique_ptr<SSL_CTX, OpenSslDeleter<SSL_CTX_free>>;
using SslPointer = std::unique_ptr<SSL, OpenSslDeleter<SSL_free>>;

// The reason of the thread's last failure; none is left after it.
inline std::string OpenSslError() {
  const unsigned long error = ERR_peek_last_error();
  ERR_clear_error();
  if (error == 0) return "no reason is known";
  if (const char* const reason = ERR_reason_error_string(error)) return reason;
  std::array<char, 256> text;
  ERR_error_string_n(error, text.data(), text.size());
  return text.data();
}

// `text` to be read; it must stay.
inline BioPointer ReadFrom(const std::string& text) {
  return BioPointer(BIO_new_mem_buf(text.data(), static_cast<int>(text.size())));
}

}  // namespace recurve

#endif  // RECURVE_SERVER_ACCESS_OPENSSL_TYPES_H_
