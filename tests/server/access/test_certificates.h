// SPDX-License-Identifier: Apache-2.0
// Certificates made for a test, by OpenSSL, in milliseconds.
#ifndef RECURVE_TESTS_SERVER_ACCESS_TEST_CERTIFICATES_H_
#define RECURVE_TESTS_SERVER_ACCESS_TEST_CERTIFICATES_H_

#include <memory>
#include <string>

#include "server/access/openssl_types.h"
#include "server/access/tls_identity.h"

namespace recurve {

struct CertificateTerms {
  std::string common_name{"localhost"};
  std::string alternative_names{
      "DNS:localhost,IP:127.0.0.1"};  // as OpenSSL writes them; may be empty
  int from_days = -1;                 // before now if negative
  int to_days = 30;
};

// An authority that signs certificates. Thread-compatible.
class TestAuthority {
 public:
  explicit TestAuthority(const std::string& name = "test authority");
  const std::string& certificate() const { return own_.certificate; }  // PEM
  CertificateAndKey Sign(const CertificateTerms& terms = {}) const;

 private:
  CertificatePointer authority_;
  KeyPointer key_;
  CertificateAndKey own_;
};

}  // namespace recurve

#endif  // RECURVE_TESTS_SERVER_ACCESS_TEST_CERTIFICATES_H_
