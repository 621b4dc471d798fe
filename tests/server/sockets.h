// SPDX-License-Identifier: Apache-2.0
// Bare sockets for tests: listening ones, and clients of theirs.
#ifndef RECURVE_TESTS_SERVER_SOCKETS_H_
#define RECURVE_TESTS_SERVER_SOCKETS_H_

#include <sys/resource.h>
#include <sys/socket.h>

#include <string>
#include <vector>

#include "engine/base/scoped_descriptor.h"

namespace recurve {

// A socket's address.
struct SocketAddress {
  sockaddr_storage storage{};
  socklen_t size = sizeof(sockaddr_storage);
  const sockaddr* get() const { return reinterpret_cast<const sockaddr*>(&storage); }
};
SocketAddress AddressOf(int socket);

// Non-blocking, listening at a port of the system's choice; of AF_INET or AF_INET6, on loopback.
// Invalid where the machine does not have the family.
ScopedDescriptor ListenOn(int family);
// The same at a path of a unix socket.
ScopedDescriptor ListenAt(const std::string& path);

// Connects a new blocking socket, or one that is there; invalid or false if nobody listens.
ScopedDescriptor ConnectToListener(int listener);
bool Connect(int socket, const SocketAddress& address);

// Leaves the process no descriptor to open, by its limit and by opening the rest, until destroyed.
class NoDescriptors {
 public:
  NoDescriptors();
  ~NoDescriptors();

 private:
  rlimit before_{};
  std::vector<ScopedDescriptor> hoard_;
};

// Waits until the other end has closed: no byte has come before.
bool IsClosedByPeer(int socket);

}  // namespace recurve

#endif  // RECURVE_TESTS_SERVER_SOCKETS_H_
