// SPDX-License-Identifier: Apache-2.0
#include "server/address.h"

#include <arpa/inet.h>

#include <algorithm>
#include <limits>
#include <string_view>

#include "absl/status/status.h"
#include "absl/strings/ascii.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "engine/base/status_macros.h"

namespace recurve {
namespace {

constexpr char kForms[] =
    "expected HOST:PORT, as in 127.0.0.1:50051, [::1]:50051 or localhost:50051, or unix:/PATH";
constexpr std::string_view kUnixScheme = "unix:";

absl::Status Malformed(const std::string& what) {
  return absl::InvalidArgumentError(absl::StrCat(what, "; ", kForms));
}

bool AllDigits(std::string_view text) {
  return !text.empty() && std::all_of(text.begin(), text.end(), absl::ascii_isdigit);
}

absl::StatusOr<uint16_t> ParsePort(const std::string& text) {
  uint32_t port = 0;
  if (!AllDigits(text) || !absl::SimpleAtoi(text, &port) ||
      port > std::numeric_limits<uint16_t>::max()) {
    return Malformed(
        absl::StrCat("its port is '", text, "', which is not a number from 0 to 65535"));
  }
  return static_cast<uint16_t>(port);
}

bool IsIpv4(const std::string& host) {
  in_addr address;
  return inet_pton(AF_INET, host.c_str(), &address) == 1;
}

// With or without a zone (`fe80::1%eth0`), whose interface the kernel checks.
bool IsIpv6(const std::string& host) {
  in6_addr address;
  const size_t zone = host.find('%');
  return inet_pton(AF_INET6, host.substr(0, zone).c_str(), &address) == 1 &&
         zone != host.size() - 1;
}

// Whether resolvers would take the host for an IPv4 address in an old form: `127.1`, `0x7f000001`.
bool EndsInANumber(const std::string& host) {
  const std::string last = host.substr(host.rfind('.') + 1);  // the whole if there is no dot
  return AllDigits(last) || last.rfind("0x", 0) == 0 || last.rfind("0X", 0) == 0;
}

bool IsName(const std::string& host) {
  constexpr size_t kMaxName = 253;
  return !host.empty() && host.size() <= kMaxName && host.front() != '-' && host.front() != '.' &&
         std::all_of(
             host.begin(), host.end(),
             [](char c) { return absl::ascii_isalnum(c) || c == '-' || c == '.' || c == '_'; }) &&
         !EndsInANumber(host);
}

absl::StatusOr<Address> ParseUnix(const std::string& text) {
  std::string path = text.substr(kUnixScheme.size());
  if (path.rfind("//", 0) == 0) path.erase(0, 2);
  if (path.size() < 2 || path[0] != '/') {
    return Malformed(absl::StrCat("'", path, "' is not the absolute path of a socket"));
  }
  if (path.find('\0') != std::string::npos) return Malformed("its path holds a zero byte");
  if (path.size() > kMaxUnixPath) {
    return Malformed(absl::StrCat("its path has ", path.size(),
                                  " bytes, and that of a unix socket at most ", kMaxUnixPath));
  }
  return Address{.host = "", .port = 0, .path = path};
}

absl::StatusOr<Address> ParseBracketed(const std::string& text) {
  const size_t end = text.find(']');
  const std::string host = text.substr(1, end == std::string::npos ? end : end - 1);
  if (end == std::string::npos || !IsIpv6(host)) {
    return Malformed(absl::StrCat("'", host, "' is not an IPv6 address"));
  }
  if (text.compare(end, 2, "]:") != 0) return Malformed("it has no port");
  ASSIGN_OR_RETURN(const uint16_t port, ParsePort(text.substr(end + 2)));
  return Address{.host = host, .port = port, .path = ""};
}

}  // namespace

std::string Address::ToString() const {
  if (is_unix()) return absl::StrCat("unix:", path);
  const bool brackets = host.find(':') != std::string::npos;
  return absl::StrCat(brackets ? "[" : "", host, brackets ? "]:" : ":", port);
}

absl::StatusOr<Address> ParseAddress(const std::string& text) {
  if (text.rfind(std::string(kUnixScheme), 0) == 0) return ParseUnix(text);
  if (text.rfind('[', 0) == 0) return ParseBracketed(text);
  const size_t colon = text.find(':');
  if (colon == std::string::npos) return Malformed("it has no port");
  if (colon != text.rfind(':')) {
    return Malformed("it has several colons, and an IPv6 address stands in brackets");
  }
  const std::string host = text.substr(0, colon);
  if (host.empty()) {
    return Malformed("it has no host, and every address of the machine is 0.0.0.0 (IPv4) or [::]");
  }
  if (!IsIpv4(host) && !IsName(host)) {
    return Malformed(absl::StrCat("'", host, "' is neither an IPv4 address nor a host's name"));
  }
  ASSIGN_OR_RETURN(const uint16_t port, ParsePort(text.substr(colon + 1)));
  return Address{.host = host, .port = port, .path = ""};
}

}  // namespace recurve
