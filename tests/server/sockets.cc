// SPDX-License-Identifier: Apache-2.0
#include "tests/server/sockets.h"

#include <netinet/in.h>
#include <sys/un.h>
#include <unistd.h>

#include <cstring>

namespace recurve {
namespace {

ScopedDescriptor Listen(const SocketAddress& address) {
  ScopedDescriptor listener(
      socket(address.storage.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
  if (bind(listener.get(), address.get(), address.size) != 0 ||
      listen(listener.get(), SOMAXCONN) != 0) {
    listener.Reset();
  }
  return listener;
}

}  // namespace

SocketAddress AddressOf(int socket) {
  SocketAddress address;
  if (getsockname(socket, reinterpret_cast<sockaddr*>(&address.storage), &address.size) != 0) {
    address.size = 0;
  }
  return address;
}

ScopedDescriptor ListenOn(int family) {
  SocketAddress address;
  address.storage.ss_family = static_cast<sa_family_t>(family);
  if (family == AF_INET) {
    reinterpret_cast<sockaddr_in&>(address.storage).sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    address.size = sizeof(sockaddr_in);
  } else {
    reinterpret_cast<sockaddr_in6&>(address.storage).sin6_addr = in6addr_loopback;
    address.size = sizeof(sockaddr_in6);
  }
  return Listen(address);
}

ScopedDescriptor ListenAt(const std::string& path) {
  SocketAddress address;
  auto& name = reinterpret_cast<sockaddr_un&>(address.storage);
  name.sun_family = AF_UNIX;
  if (path.size() >= sizeof(name.sun_path)) return ScopedDescriptor();
  std::memcpy(name.sun_path, path.c_str(), path.size() + 1);
  address.size = sizeof(name);
  return Listen(address);
}

ScopedDescriptor ConnectToListener(int listener) {
  const SocketAddress address = AddressOf(listener);
  ScopedDescriptor connection(socket(address.storage.ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0));
  if (!Connect(connection.get(), address)) connection.Reset();
  return connection;
}

bool Connect(int socket, const SocketAddress& address) {
  return connect(socket, address.get(), address.size) == 0;
}

NoDescriptors::NoDescriptors() {
  getrlimit(RLIMIT_NOFILE, &before_);
  rlimit lower = before_;
  lower.rlim_cur = 256;
  setrlimit(RLIMIT_NOFILE, &lower);
  for (int taken = 0; (taken = dup(STDIN_FILENO)) >= 0;) hoard_.emplace_back(taken);
}

NoDescriptors::~NoDescriptors() { setrlimit(RLIMIT_NOFILE, &before_); }

bool IsClosedByPeer(int socket) {
  char byte = 0;
  return read(socket, &byte, 1) <= 0;
}

}  // namespace recurve
