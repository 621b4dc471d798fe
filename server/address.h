// SPDX-License-Identifier: Apache-2.0
// Where the server listens, in the one form that flags, the port file and the log share.
#ifndef RECURVE_SERVER_ADDRESS_H_
#define RECURVE_SERVER_ADDRESS_H_

#include <cstdint>
#include <string>

#include "absl/status/statusor.h"

namespace recurve {

// An address to listen on: of TCP, or a unix socket's path. Plain data.
struct Address {
  std::string
      host;  // an IPv4 or (without brackets) IPv6 address, or a name; empty for a unix socket
  uint16_t port = 0;  // 0: the system chooses
  std::string path;   // of a unix socket, absolute; empty for TCP

  bool is_unix() const { return !path.empty(); }
  // As ParseAddress takes it, and gRPC as a target: `127.0.0.1:1`, `[::1]:1`, `unix:/path`.
  std::string ToString() const;

  friend bool operator==(const Address&, const Address&) = default;
};

// Reads one of the forms
//   IPV4:PORT      four decimal numbers; 0.0.0.0 is every IPv4 address of the machine
//   [IPV6]:PORT    with a zone where it needs one; [::] is every address of the machine, IPv4 too
//   NAME:PORT      a name, such as localhost, that the system resolves when the server starts
//   unix:/PATH     an absolute path of at most kMaxUnixPath bytes; unix:///PATH is the same
// PORT is a decimal number from 0 to 65535. InvalidArgument says what is wrong with `text` and what
// the forms are; whose value it is (a flag's) is the caller's to say. Asks the system nothing.
absl::StatusOr<Address> ParseAddress(const std::string& text);

inline constexpr size_t kMaxUnixPath = 107;  // Linux keeps 108 bytes, with the zero at the end

}  // namespace recurve

#endif  // RECURVE_SERVER_ADDRESS_H_
