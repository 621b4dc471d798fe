// SPDX-License-Identifier: Apache-2.0
// The flags of docs/security.md: certificates, tokens, and what connections may do.
#ifndef RECURVE_SERVER_SECURITY_FLAGS_H_
#define RECURVE_SERVER_SECURITY_FLAGS_H_

#include "server/options.h"

namespace CLI {
class App;
}

namespace recurve {

// Of these flags; what they name together is checked when the server starts.
void AddSecurityFlags(CLI::App* app, TlsOptions* tls, AccessOptions* access);
void AddConnectionFlags(CLI::App* app, ConnectionOptions* options);

}  // namespace recurve

#endif  // RECURVE_SERVER_SECURITY_FLAGS_H_
