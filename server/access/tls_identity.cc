// SPDX-License-Identifier: Apache-2.0
#include "server/access/tls_identity.h"

#include <openssl/pem.h>
#include <openssl/rand.h>
#include <openssl/x509v3.h>

#include <algorithm>
#include <ctime>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/time/time.h"
#include "engine/base/status_macros.h"
#include "server/access/openssl_types.h"

namespace recurve {
namespace {

using std::chrono::system_clock;

absl::Status Bad(const std::string& what) { return absl::InvalidArgumentError(what); }

// Instead of a prompt on the terminal.
int NoPassword(char* /*buffer*/, int /*size*/, int /*writing*/, void* /*data*/) { return -1; }

absl::StatusOr<WallTime> ToWallTime(const ASN1_TIME* time) {
  std::tm utc{};
  if (ASN1_TIME_to_tm(time, &utc) != 1) return Bad("has a date that cannot be read");
  return system_clock::from_time_t(timegm(&utc));
}

std::string ToText(WallTime time) {
  return absl::FormatTime("%Y-%m-%d %H:%M:%S UTC", absl::FromChrono(time), absl::UTCTimeZone());
}

// Every certificate of a text, in its order.
absl::StatusOr<std::vector<CertificatePointer>> ReadCertificates(const std::string& text) {
  ERR_clear_error();
  const BioPointer bio = ReadFrom(text);
  std::vector<CertificatePointer> certificates;
  while (true) {
    CertificatePointer certificate(PEM_read_bio_X509(bio.get(), nullptr, &NoPassword, nullptr));
    if (!certificate) break;
    certificates.push_back(std::move(certificate));
  }
  const bool at_end = ERR_GET_REASON(ERR_peek_last_error()) == PEM_R_NO_START_LINE;
  if (!at_end || certificates.empty()) {
    return Bad(certificates.empty() && at_end
                   ? "has no certificate in PEM"
                   : absl::StrCat("has a certificate that cannot be read, after ",
                                  certificates.size(), " good ones: ", OpenSslError()));
  }
  ERR_clear_error();
  return certificates;
}

absl::Status CheckDates(const X509& certificate, WallTime now, WallTime* not_after) {
  ASSIGN_OR_RETURN(const WallTime from, ToWallTime(X509_get0_notBefore(&certificate)));
  ASSIGN_OR_RETURN(*not_after, ToWallTime(X509_get0_notAfter(&certificate)));
  if (now < from) return Bad(absl::StrCat("is not valid before ", ToText(from)));
  if (now > *not_after) return Bad(absl::StrCat("has expired at ", ToText(*not_after)));
  return absl::OkStatus();
}

absl::StatusOr<KeyPointer> ReadKey(const std::string& text) {
  ERR_clear_error();
  const BioPointer bio = ReadFrom(text);
  KeyPointer key(PEM_read_bio_PrivateKey(bio.get(), nullptr, &NoPassword, nullptr));
  if (key) return key;
  if (text.find("ENCRYPTED") != text.npos)
    return Bad("is encrypted; give the key without password");
  return Bad(absl::StrCat("has no private key in PEM: ", OpenSslError()));
}

// Whether OpenSSL, with the policy of this machine, serves the pair.
absl::Status CheckPair(X509* leaf, EVP_PKEY* key, TlsPart* part) {
  ERR_clear_error();
  const ContextPointer context(SSL_CTX_new(TLS_server_method()));
  *part = TlsPart::kCert;
  if (!context || SSL_CTX_use_certificate(context.get(), leaf) != 1) {
    return Bad(absl::StrCat("has a first certificate that OpenSSL refuses: ", OpenSslError()));
  }
  *part = TlsPart::kKey;
  if (X509_check_private_key(leaf, key) != 1) {
    ERR_clear_error();
    return Bad("is not the key of the first certificate");
  }
  if (SSL_CTX_use_PrivateKey(context.get(), key) != 1) {
    return Bad(absl::StrCat("has a key that OpenSSL refuses: ", OpenSslError()));
  }
  return absl::OkStatus();
}

absl::StatusOr<WallTime> CheckAuthorities(const std::string& text, WallTime now) {
  ASSIGN_OR_RETURN(const std::vector<CertificatePointer> certificates, ReadCertificates(text));
  std::optional<WallTime> first;
  absl::Status last;
  for (const CertificatePointer& certificate : certificates) {
    WallTime not_after;
    last = CheckDates(*certificate, now, &not_after);
    if (last.ok()) first = std::min(first.value_or(not_after), not_after);
  }
  if (!first) return last;  // not one that counts
  return *first;
}

absl::Status AddExtension(X509* certificate, int kind, const char* value) {
  X509_EXTENSION* const extension = X509V3_EXT_conf_nid(nullptr, nullptr, kind, value);
  const bool added = extension != nullptr && X509_add_ext(certificate, extension, -1) == 1;
  X509_EXTENSION_free(extension);
  return added ? absl::OkStatus() : absl::InternalError(OpenSslError());
}

std::string TextOf(BIO* bio) {
  char* data = nullptr;
  const auto size = BIO_get_mem_data(bio, &data);
  return {data, static_cast<size_t>(size)};
}

}  // namespace

absl::StatusOr<TlsIdentity> CheckTlsIdentity(const std::string& cert_chain, const std::string& key,
                                             const std::string& client_ca, WallTime now,
                                             TlsPart* part) {
  TlsIdentity identity{cert_chain, key, client_ca, {}, std::nullopt};
  *part = TlsPart::kCert;
  ASSIGN_OR_RETURN(const std::vector<CertificatePointer> chain, ReadCertificates(cert_chain));
  RETURN_IF_ERROR(CheckDates(*chain.front(), now, &identity.cert_not_after));
  *part = TlsPart::kKey;
  ASSIGN_OR_RETURN(const KeyPointer parsed, ReadKey(key));
  RETURN_IF_ERROR(CheckPair(chain.front().get(), parsed.get(), part));
  if (client_ca.empty()) return identity;
  *part = TlsPart::kClientCa;
  ASSIGN_OR_RETURN(identity.client_ca_not_after, CheckAuthorities(client_ca, now));
  return identity;
}

absl::StatusOr<CertificateAndKey> MakeOwnClient() {
  constexpr long kYears = 20L * 366 * 24 * 3600;  // the process lives shorter
  constexpr long kSkew = 24L * 3600;
  const KeyPointer key(EVP_EC_gen("P-256"));
  const CertificatePointer certificate(X509_new());
  uint64_t serial = 0;
  if (!key || !certificate ||
      RAND_bytes(reinterpret_cast<unsigned char*>(&serial), sizeof(serial)) != 1) {
    return absl::InternalError(absl::StrCat("cannot make a key: ", OpenSslError()));
  }
  X509* const made = certificate.get();
  X509_set_version(made, X509_VERSION_3);
  ASN1_INTEGER_set_uint64(X509_get_serialNumber(made), serial);
  X509_gmtime_adj(X509_getm_notBefore(made), -kSkew);
  X509_gmtime_adj(X509_getm_notAfter(made), kYears);
  X509_NAME* const name = X509_get_subject_name(made);
  X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_ASC,
                             reinterpret_cast<const unsigned char*>("recurve self check"), -1, -1,
                             0);
  X509_set_issuer_name(made, name);
  X509_set_pubkey(made, key.get());
  RETURN_IF_ERROR(AddExtension(made, NID_basic_constraints, "critical,CA:FALSE"));
  RETURN_IF_ERROR(AddExtension(made, NID_key_usage, "critical,digitalSignature"));
  RETURN_IF_ERROR(AddExtension(made, NID_ext_key_usage, "clientAuth"));
  const BioPointer certificate_text(BIO_new(BIO_s_mem())), key_text(BIO_new(BIO_s_mem()));
  if (X509_sign(made, key.get(), EVP_sha256()) == 0 ||
      PEM_write_bio_X509(certificate_text.get(), made) != 1 ||
      PEM_write_bio_PrivateKey(key_text.get(), key.get(), nullptr, nullptr, 0, nullptr, nullptr) !=
          1) {
    return absl::InternalError(absl::StrCat("cannot make a certificate: ", OpenSslError()));
  }
  return CertificateAndKey{TextOf(certificate_text.get()), TextOf(key_text.get())};
}

}  // namespace recurve
