// SPDX-License-Identifier: Apache-2.0
// What a server's name says of the way to it: as gRPC takes it, or a URL, http:// or https://.
#ifndef RECURVE_CLIENT_SERVER_NAME_H_
#define RECURVE_CLIENT_SERVER_NAME_H_

#include <optional>
#include <string>
#include <string_view>

namespace recurve::client {

enum class Transport { kGrpc, kHttp, kHttps };

// What servers of these names, with commas between them, are spoken to through: HTTP where the
// first is a URL, and HTTPS where any asks for that.
Transport TransportOf(std::string_view servers);

// Whether the name says that the server runs on this machine: a Unix socket, a loopback or
// unspecified address, or localhost. Nothing is looked up.
bool IsOnThisMachine(std::string_view server);

// The environment variable whose proxy gRPC's connections to the server go through; none if they go
// there directly, as those on this machine and those of URLs always do.
std::optional<std::string> ProxyVariable(std::string_view server);

}  // namespace recurve::client

#endif  // RECURVE_CLIENT_SERVER_NAME_H_
