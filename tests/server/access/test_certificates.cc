// SPDX-License-Identifier: Apache-2.0
#include "tests/server/access/test_certificates.h"

#include <openssl/pem.h>
#include <openssl/rand.h>
#include <openssl/x509v3.h>

#include <cstdint>

#include "engine/base/check.h"

namespace recurve {
namespace {

std::string TextOf(BIO* bio) {
  char* data = nullptr;
  const auto size = BIO_get_mem_data(bio, &data);
  return {data, static_cast<size_t>(size)};
}

void Extend(X509* certificate, int kind, const std::string& value) {
  X509_EXTENSION* const extension = X509V3_EXT_conf_nid(nullptr, nullptr, kind, value.c_str());
  RECURVE_CHECK(extension != nullptr && X509_add_ext(certificate, extension, -1) == 1);
  X509_EXTENSION_free(extension);
}

CertificatePointer Make(const CertificateTerms& terms, EVP_PKEY* key, const X509* issuer,
                        EVP_PKEY* issuer_key) {
  CertificatePointer made(X509_new());
  uint64_t serial = 0;
  RAND_bytes(reinterpret_cast<unsigned char*>(&serial), sizeof(serial));
  X509_set_version(made.get(), X509_VERSION_3);
  ASN1_INTEGER_set_uint64(X509_get_serialNumber(made.get()), serial >> 1);
  constexpr long kDay = 24L * 3600;
  X509_gmtime_adj(X509_getm_notBefore(made.get()), terms.from_days * kDay);
  X509_gmtime_adj(X509_getm_notAfter(made.get()), terms.to_days * kDay);
  X509_NAME* const name = X509_get_subject_name(made.get());
  if (!terms.common_name.empty()) {
    X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_UTF8,
                               reinterpret_cast<const unsigned char*>(terms.common_name.c_str()),
                               -1, -1, 0);
  }
  X509_set_issuer_name(made.get(), issuer == nullptr ? name : X509_get_subject_name(issuer));
  X509_set_pubkey(made.get(), key);
  Extend(made.get(), NID_basic_constraints, issuer == nullptr ? "critical,CA:TRUE" : "CA:FALSE");
  if (issuer != nullptr && !terms.alternative_names.empty()) {
    Extend(made.get(), NID_subject_alt_name, terms.alternative_names);
  }
  RECURVE_CHECK(X509_sign(made.get(), issuer_key, EVP_sha256()) != 0);
  return made;
}

CertificateAndKey ToPem(X509* certificate, EVP_PKEY* key) {
  const BioPointer certificate_text(BIO_new(BIO_s_mem())), key_text(BIO_new(BIO_s_mem()));
  RECURVE_CHECK(PEM_write_bio_X509(certificate_text.get(), certificate) == 1);
  RECURVE_CHECK(
      PEM_write_bio_PrivateKey(key_text.get(), key, nullptr, nullptr, 0, nullptr, nullptr) == 1);
  return {TextOf(certificate_text.get()), TextOf(key_text.get())};
}

}  // namespace

TestAuthority::TestAuthority(const std::string& name) : key_(EVP_EC_gen("P-256")) {
  authority_ = Make({.common_name = name}, key_.get(), nullptr, key_.get());
  own_ = ToPem(authority_.get(), key_.get());
}

CertificateAndKey TestAuthority::Sign(const CertificateTerms& terms) const {
  const KeyPointer key(EVP_EC_gen("P-256"));
  const CertificatePointer made = Make(terms, key.get(), authority_.get(), key_.get());
  return ToPem(made.get(), key.get());
}

}  // namespace recurve
