// SPDX-License-Identifier: Apache-2.0
// The client's side of a TLS connection for somebody who speaks plaintext.
#ifndef RECURVE_SERVER_ACCESS_TLS_TUNNEL_H_
#define RECURVE_SERVER_ACCESS_TLS_TUNNEL_H_

#include "absl/status/status.h"
#include "engine/base/steady_time.h"
#include "server/access/tls_identity.h"

namespace recurve {

// Makes a TLS handshake over `network`, a connected non-blocking socket, as a client that speaks
// HTTP/2 and shows `own`, and then carries what comes: what is written to the other end of `plain`,
// a non-blocking socket, goes out encrypted, what arrives is written there. The server's
// certificate is not judged: who uses this knows by other means whom it has reached.
//
// Returns OK when `stop` becomes readable; Unavailable says what went wrong before,
// DeadlineExceeded when `until` came first. Owns none of the descriptors.
absl::Status CarryTls(int network, int plain, int stop, const CertificateAndKey& own,
                      SteadyTime until);

}  // namespace recurve

#endif  // RECURVE_SERVER_ACCESS_TLS_TUNNEL_H_
