// SPDX-License-Identifier: Apache-2.0
// The certificates of a gRPC port, as they are when a client connects.
#ifndef RECURVE_SERVER_GRPC_SERVER_CREDENTIALS_H_
#define RECURVE_SERVER_GRPC_SERVER_CREDENTIALS_H_

#include <memory>

#include "server/access/credentials.h"

namespace grpc {
class ServerCredentials;
}

namespace recurve {

// TLS with what `credentials`, which must outlive the gRPC server, has at the time of each
// handshake; connections that are there keep what they began with. Plaintext without certificates.
std::shared_ptr<grpc::ServerCredentials> MakeServerCredentials(const Credentials* credentials);

}  // namespace recurve

#endif  // RECURVE_SERVER_GRPC_SERVER_CREDENTIALS_H_
