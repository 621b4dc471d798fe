// SPDX-License-Identifier: Apache-2.0
// What the server shows its clients, and whose certificates it takes, checked by OpenSSL before
// anybody uses it.
#ifndef RECURVE_SERVER_ACCESS_TLS_IDENTITY_H_
#define RECURVE_SERVER_ACCESS_TLS_IDENTITY_H_

#include <chrono>
#include <optional>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace recurve {

using WallTime = std::chrono::system_clock::time_point;

// All texts are PEM.
struct TlsIdentity {
  std::string cert_chain, key;
  std::string client_ca;  // whose certificates clients must have; empty: they need none
  WallTime cert_not_after;
  std::optional<WallTime> client_ca_not_after;  // of those that still count, the first to go
};

// Which of the three texts an error is about.
enum class TlsPart { kCert, kKey, kClientCa };

// InvalidArgument, and `*part`, unless the texts are whole and OpenSSL would serve them: they
// parse, the key is the first certificate's, and that, and one authority at least, are valid at
// `now`. `client_ca` may be empty.
absl::StatusOr<TlsIdentity> CheckTlsIdentity(const std::string& cert_chain, const std::string& key,
                                             const std::string& client_ca, WallTime now,
                                             TlsPart* part);

struct CertificateAndKey {
  std::string certificate, key;  // PEM
};

// A new key, and a certificate that it signed itself, good for a client and for nothing else.
// Whoever is told to trust that certificate trusts whoever has this key, which is in memory alone.
absl::StatusOr<CertificateAndKey> MakeOwnClient();

}  // namespace recurve

#endif  // RECURVE_SERVER_ACCESS_TLS_IDENTITY_H_
