// SPDX-License-Identifier: Apache-2.0
// The addresses behind a server's name.
#ifndef RECURVE_CLIENT_RESOLVE_H_
#define RECURVE_CLIENT_RESOLVE_H_

#include <string>
#include <vector>

namespace recurve::client {

// HOST:PORT of a name `dns:HOST:PORT` or `dns:///HOST:PORT`, each of whose addresses is a server;
// empty for all other names, and for one that asks a name server of its own (`dns://SERVER/...`),
// which gRPC does by itself.
std::string HostAndPort(const std::string& server);

// The addresses of HOST:PORT now, as names that gRPC takes: "ipv4:10.0.0.1:50051". Sorted; empty if
// it has none. Blocks.
std::vector<std::string> AddressesOf(const std::string& host_and_port);

}  // namespace recurve::client

#endif  // RECURVE_CLIENT_RESOLVE_H_
