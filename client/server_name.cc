// SPDX-License-Identifier: Apache-2.0
#include "client/server_name.h"

#include <arpa/inet.h>
#include <netinet/in.h>

#include <algorithm>
#include <array>
#include <cstdlib>
#include <vector>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"

namespace recurve::client {
namespace {

// `server` without a resolver's scheme and authority: "dns://8.8.8.8/host:1" is "host:1".
absl::string_view Addresses(absl::string_view server) {
  for (const absl::string_view scheme : {"dns:", "ipv4:", "ipv6:"}) {
    if (!absl::ConsumePrefix(&server, scheme)) continue;
    if (absl::ConsumePrefix(&server, "//")) {
      const size_t path = server.find('/');
      server.remove_prefix(path == absl::string_view::npos ? server.size() : path);
    }
    absl::ConsumePrefix(&server, "/");
    break;
  }
  return server;
}

// Of HOST:PORT, [HOST]:PORT or HOST, where more than one colon makes it an IPv6 address.
std::string HostOf(absl::string_view address) {
  if (absl::ConsumePrefix(&address, "[")) return std::string(address.substr(0, address.find(']')));
  const size_t colon = address.find(':');
  const bool has_port = colon != absl::string_view::npos && colon == address.rfind(':');
  return std::string(has_port ? address.substr(0, colon) : address);
}

bool IsLocalHost(std::string host) {
  absl::AsciiStrToLower(&host);
  const absl::string_view name = absl::StripSuffix(host, ".");
  if (name == "localhost" || absl::EndsWith(name, ".localhost")) return true;
  in_addr v4{};
  if (inet_aton(host.c_str(), &v4) != 0) {
    const uint32_t address = ntohl(v4.s_addr);
    return address == INADDR_ANY || address >> 24 == 127;
  }
  in6_addr v6{};
  if (inet_pton(AF_INET6, host.substr(0, host.find('%')).c_str(), &v6) != 1) return false;
  return IN6_IS_ADDR_LOOPBACK(&v6) || IN6_IS_ADDR_UNSPECIFIED(&v6) ||
         (IN6_IS_ADDR_V4MAPPED(&v6) && v6.s6_addr[12] == 127);
}

// The first of the variables that has a value.
template <size_t kCount>
const char* FirstSet(const std::array<const char*, kCount>& variables) {
  for (const char* variable : variables) {
    const char* value = std::getenv(variable);
    if (value != nullptr && *value != '\0') return variable;
  }
  return nullptr;
}

// As gRPC decides it: by the ends of names.
bool GoesWithoutProxy(const std::string& host) {
  const char* variable = FirstSet(std::array{"no_grpc_proxy", "no_proxy"});
  if (variable == nullptr) return false;
  const std::vector<std::string> ends =
      absl::StrSplit(std::getenv(variable), ',', absl::SkipWhitespace());
  return std::any_of(ends.begin(), ends.end(), [&host](const std::string& end) {
    return absl::EndsWithIgnoreCase(host, absl::StripAsciiWhitespace(end));
  });
}

}  // namespace

Transport TransportOf(std::string_view servers) {
  const absl::string_view names(servers.data(), servers.size());
  const bool is_https = absl::StartsWith(names, "https://");
  if (!is_https && !absl::StartsWith(names, "http://")) return Transport::kGrpc;
  return is_https || absl::StrContains(names, ",https://") ? Transport::kHttps : Transport::kHttp;
}

bool IsOnThisMachine(std::string_view server) {
  const absl::string_view name(server.data(), server.size());
  if (absl::StartsWith(name, "unix:") || absl::StartsWith(name, "unix-abstract:")) return true;
  const std::vector<absl::string_view> addresses = absl::StrSplit(Addresses(name), ',');
  return std::all_of(addresses.begin(), addresses.end(),
                     [](absl::string_view address) { return IsLocalHost(HostOf(address)); });
}

std::optional<std::string> ProxyVariable(std::string_view server) {
  const char* variable = FirstSet(std::array{"grpc_proxy", "https_proxy", "http_proxy"});
  if (variable == nullptr || TransportOf(server) != Transport::kGrpc || IsOnThisMachine(server)) {
    return std::nullopt;
  }
  const absl::string_view name(server.data(), server.size());
  if (GoesWithoutProxy(HostOf(Addresses(name)))) return std::nullopt;
  return variable;
}

}  // namespace recurve::client
