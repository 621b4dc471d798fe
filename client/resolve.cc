// SPDX-License-Identifier: Apache-2.0
#include "client/resolve.h"

#include <arpa/inet.h>
#include <netdb.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include <array>
#include <set>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"

namespace recurve::client {
namespace {

// "ipv4:10.0.0.1" or "ipv6:[fd00::1]"; empty for other kinds.
std::string NumericName(const addrinfo& address) {
  std::array<char, INET6_ADDRSTRLEN> text{};
  const void* bytes = nullptr;
  if (address.ai_family == AF_INET) {
    bytes = &reinterpret_cast<const sockaddr_in*>(address.ai_addr)->sin_addr;
  } else if (address.ai_family == AF_INET6) {
    bytes = &reinterpret_cast<const sockaddr_in6*>(address.ai_addr)->sin6_addr;
  } else {
    return "";
  }
  inet_ntop(address.ai_family, bytes, text.data(), text.size());
  return address.ai_family == AF_INET ? absl::StrCat("ipv4:", text.data())
                                      : absl::StrCat("ipv6:[", text.data(), "]");
}

}  // namespace

std::string HostAndPort(const std::string& server) {
  absl::string_view name = server;
  if (!absl::ConsumePrefix(&name, "dns:")) return "";
  if (!absl::ConsumePrefix(&name, "///") && absl::StartsWith(name, "//")) return "";
  return std::string(name);
}

std::vector<std::string> AddressesOf(const std::string& host_and_port) {
  const size_t colon = host_and_port.rfind(':');
  if (colon == std::string::npos) return {};
  std::string host = host_and_port.substr(0, colon);
  if (host.size() > 2 && host.front() == '[') host = host.substr(1, host.size() - 2);
  addrinfo hints{};
  hints.ai_socktype = SOCK_STREAM;
  addrinfo* found = nullptr;
  if (getaddrinfo(host.c_str(), nullptr, &hints, &found) != 0) return {};
  std::set<std::string> names;
  for (const addrinfo* address = found; address != nullptr; address = address->ai_next) {
    const std::string name = NumericName(*address);
    if (!name.empty()) names.insert(absl::StrCat(name, host_and_port.substr(colon)));
  }
  freeaddrinfo(found);
  return {names.begin(), names.end()};
}

}  // namespace recurve::client
