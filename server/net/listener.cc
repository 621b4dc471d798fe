// SPDX-License-Identifier: Apache-2.0
#include "server/net/listener.h"

#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <chrono>
#include <cstring>
#include <filesystem>
#include <string>
#include <system_error>
#include <thread>
#include <utility>

#include "absl/strings/str_cat.h"
#include "engine/base/scoped_descriptor.h"
#include "engine/base/status_macros.h"

namespace recurve {
namespace {

struct SocketAddress {
  sockaddr_storage storage{};
  socklen_t size = sizeof(storage);

  const sockaddr* get() const { return reinterpret_cast<const sockaddr*>(&storage); }
  sockaddr* get() { return reinterpret_cast<sockaddr*>(&storage); }
};

std::string SystemError() { return std::system_category().message(errno); }

absl::Status LastError() { return absl::UnavailableError(SystemError()); }

absl::StatusOr<SocketAddress> Resolve(const Address& address) {
  addrinfo hints{};
  hints.ai_flags = AI_NUMERICSERV;
  hints.ai_socktype = SOCK_STREAM;
  addrinfo* found = nullptr;
  const int error =
      getaddrinfo(address.host.c_str(), std::to_string(address.port).c_str(), &hints, &found);
  if (error != 0) {
    return absl::UnavailableError(
        absl::StrCat("its host cannot be resolved: ",
                     error == EAI_SYSTEM ? SystemError() : gai_strerror(error)));
  }
  const addrinfo* chosen = found;
  while (chosen != nullptr && chosen->ai_family != AF_INET) chosen = chosen->ai_next;
  if (chosen == nullptr) chosen = found;
  SocketAddress resolved;
  resolved.size = chosen->ai_addrlen;
  std::memcpy(&resolved.storage, chosen->ai_addr, chosen->ai_addrlen);
  freeaddrinfo(found);
  return resolved;
}

SocketAddress UnixAddress(const std::string& path) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  std::memcpy(address.sun_path, path.data(), path.size());  // of at most kMaxUnixPath bytes
  SocketAddress result;
  result.size = sizeof(address);
  std::memcpy(&result.storage, &address, sizeof(address));
  return result;
}

ScopedDescriptor MakeSocket(int family) {
  return ScopedDescriptor(socket(family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
}

// Host and port of a bound socket, numeric.
absl::StatusOr<Address> NameOf(const ScopedDescriptor& socket) {
  SocketAddress bound;
  std::array<char, NI_MAXHOST> host;
  if (getsockname(socket.get(), bound.get(), &bound.size) != 0 ||
      getnameinfo(bound.get(), bound.size, host.data(), host.size(), nullptr, 0, NI_NUMERICHOST) !=
          0) {
    return absl::UnavailableError("the address that it got cannot be found out");
  }
  const in_port_t port = bound.storage.ss_family == AF_INET6
                             ? reinterpret_cast<const sockaddr_in6*>(&bound.storage)->sin6_port
                             : reinterpret_cast<const sockaddr_in*>(&bound.storage)->sin_port;
  return Address{.host = host.data(), .port = ntohs(port), .path = ""};
}

// Whether `path` may become a socket's: OK with true if a socket is there that nobody listens on.
absl::StatusOr<bool> FindStaleSocket(const std::string& path) {
  struct stat file {};
  if (lstat(path.c_str(), &file) != 0) {
    if (errno == ENOENT) return false;
    return LastError();
  }
  if (!S_ISSOCK(file.st_mode)) {
    return absl::UnavailableError(
        "what is there is not a socket, and is left alone; remove it, or name another path");
  }
  const ScopedDescriptor probe = MakeSocket(AF_UNIX);
  const SocketAddress address = UnixAddress(path);
  // A full queue of connections (EAGAIN) has a listener too.
  if (connect(probe.get(), address.get(), address.size) == 0 || errno == EAGAIN) {
    return absl::UnavailableError("another process listens there");
  }
  if (errno == ECONNREFUSED) return true;
  return absl::UnavailableError(
      absl::StrCat("whether somebody listens there cannot be found out: ", SystemError()));
}

// The directory of `path`, opened, in which a file can be made.
absl::StatusOr<ScopedDescriptor> OpenDirectory(const std::string& path) {
  const std::string directory = std::filesystem::path(path).parent_path();
  ScopedDescriptor descriptor(open(directory.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (descriptor.get() < 0 ||
      faccessat(AT_FDCWD, directory.c_str(), W_OK | X_OK, AT_EACCESS) != 0) {
    return absl::UnavailableError(
        absl::StrCat("the directory ", directory, " cannot be written to: ", SystemError()));
  }
  return descriptor;
}

// Takes a lock that ends with the descriptor. Of two servers that find one stale socket, the second
// must see what the first has made of it.
absl::Status LockDirectory(const ScopedDescriptor& directory) {
  constexpr int kTries = 200;
  constexpr std::chrono::milliseconds kPause(10);
  for (int i = 0; flock(directory.get(), LOCK_EX | LOCK_NB) != 0; ++i) {
    if (i == kTries || (errno != EWOULDBLOCK && errno != EINTR)) {
      return absl::UnavailableError(
          absl::StrCat("its directory cannot be locked: ", SystemError()));
    }
    std::this_thread::sleep_for(kPause);
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<std::unique_ptr<Listener>> Listener::Bind(const Address& address) {
  std::unique_ptr<Listener> listener(new Listener(address));
  const absl::Status bound = address.is_unix() ? listener->CheckPath() : listener->BindTcp();
  if (!bound.ok()) return listener->Failed(bound);
  return listener;
}

absl::Status Listener::Listen() {
  const absl::Status listening =
      address_.is_unix() ? ListenOnPath()
                         : (listen(socket_.get(), SOMAXCONN) == 0 ? absl::OkStatus() : LastError());
  return listening.ok() ? listening : Failed(listening);
}

absl::Status Listener::BindTcp() {
  ASSIGN_OR_RETURN(const SocketAddress resolved, Resolve(address_));
  ScopedDescriptor made = MakeSocket(resolved.storage.ss_family);
  if (!made.valid() && errno == EAFNOSUPPORT && address_.host == "::") {
    address_.host = "0.0.0.0";  // every address of a machine without IPv6
    return BindTcp();
  }
  if (!made.valid()) return LastError();
  socket_ = std::move(made);
  const int on = 1, off = 0;
  if (resolved.storage.ss_family == AF_INET6) {
    setsockopt(socket_.get(), IPPROTO_IPV6, IPV6_V6ONLY, &off, sizeof(off));
  }
  // A server that starts again need not wait until the system has forgotten old connections. A port
  // of the system's choice, on the other hand, must be nobody else's.
  if (address_.port != 0) setsockopt(socket_.get(), SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
  if (bind(socket_.get(), resolved.get(), resolved.size) != 0) return LastError();
  ASSIGN_OR_RETURN(address_, NameOf(socket_));
  return absl::OkStatus();
}

absl::Status Listener::CheckPath() const {
  RETURN_IF_ERROR(OpenDirectory(address_.path).status());
  return FindStaleSocket(address_.path).status();
}

absl::Status Listener::ListenOnPath() {
  ASSIGN_OR_RETURN(const ScopedDescriptor directory, OpenDirectory(address_.path));
  RETURN_IF_ERROR(LockDirectory(directory));
  ASSIGN_OR_RETURN(const bool stale, FindStaleSocket(address_.path));
  if (stale && unlink(address_.path.c_str()) != 0) return LastError();
  socket_ = MakeSocket(AF_UNIX);
  const SocketAddress name = UnixAddress(address_.path);
  struct stat made {};
  if (socket_.get() < 0 || bind(socket_.get(), name.get(), name.size) != 0 ||
      lstat(address_.path.c_str(), &made) != 0) {
    return LastError();
  }
  device_ = made.st_dev;
  inode_ = made.st_ino;
  // Under the lock: a bound socket that does not listen yet looks like a stale one.
  return listen(socket_.get(), SOMAXCONN) == 0 ? absl::OkStatus() : LastError();
}

Listener::~Listener() {
  // While the socket is open, its inode's number is nobody else's, and servers that look find it
  // alive and leave the path alone.
  struct stat file {};
  if (inode_ != 0 && lstat(address_.path.c_str(), &file) == 0 && file.st_dev == device_ &&
      file.st_ino == inode_) {
    unlink(address_.path.c_str());
  }
}

absl::Status Listener::Failed(const absl::Status& why) const {
  return absl::UnavailableError(
      absl::StrCat("cannot listen on ", address_.ToString(), ": ", why.message()));
}

}  // namespace recurve
