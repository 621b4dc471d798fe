// SPDX-License-Identifier: Apache-2.0
// A socket that listens, for whoever accepts from it: gRPC's connections and those for metrics.
#ifndef RECURVE_SERVER_NET_LISTENER_H_
#define RECURVE_SERVER_NET_LISTENER_H_

#include <sys/types.h>

#include <memory>
#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "engine/base/scoped_descriptor.h"
#include "server/address.h"

namespace recurve {

// Owns the socket, and of a unix socket the path. Thread-compatible. In two steps, so that a server
// with several addresses finds each of them possible before it listens on the first:
//   Bind     TCP: resolves a name and reserves the address. Unix: checks the path and makes
//   nothing. Listen   clients can connect from now on.
// A name stands for the first IPv4 address that it has, or the first IPv6 address if it has none.
// `::` takes connections of IPv4 too, and on a machine without IPv6 those alone; 0.0.0.0 takes none
// of IPv6.
// A unix socket's path is refused if anything but a socket is there, or a socket that another
// process listens on; a socket that nobody listens on, such as a crash leaves, is replaced. Who may
// connect to a unix socket is what the process's umask and the directory say.
class Listener {
 public:
  // Errors name the address and what the system says of it; whose address it is (a flag's) is the
  // caller's to say.
  static absl::StatusOr<std::unique_ptr<Listener>> Bind(const Address& address);
  // Closes, having removed the unix socket's path if it is still this listener's.
  ~Listener();

  absl::Status Listen();

  // The socket, once listening: non-blocking, closed on exec, with room for SOMAXCONN connections
  // that wait to be accepted.
  int fd() const { return socket_.get(); }
  // As bound: the host is numeric, and the port the real one.
  const Address& address() const { return address_; }

 private:
  explicit Listener(Address address) : address_(std::move(address)) {}
  absl::Status BindTcp();
  absl::Status CheckPath() const;
  absl::Status ListenOnPath();
  absl::Status Failed(const absl::Status& why) const;

  Address address_;
  ScopedDescriptor socket_;
  dev_t device_ = 0;  // with the inode: the file that this listener made at the path; 0 before
  ino_t inode_ = 0;
};

}  // namespace recurve

#endif  // RECURVE_SERVER_NET_LISTENER_H_
