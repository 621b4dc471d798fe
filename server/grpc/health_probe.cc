// SPDX-License-Identifier: Apache-2.0
#include "server/grpc/health_probe.h"

#include <grpcpp/create_channel_posix.h>
#include <grpcpp/grpcpp.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "engine/base/status_macros.h"
#include "grpc/health/v1/health.grpc.pb.h"
#include "server/access/tls_tunnel.h"

namespace recurve {
namespace {

using std::chrono::steady_clock;

absl::Status SystemError(const std::string& what) { return absl::ErrnoToStatus(errno, what); }

// Of an address that stands for every one of the machine, that of loopback.
void UseLoopback(sockaddr_storage* address) {
  if (address->ss_family == AF_INET) {
    auto& v4 = reinterpret_cast<sockaddr_in&>(*address);
    if (v4.sin_addr.s_addr == htonl(INADDR_ANY)) v4.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  } else if (address->ss_family == AF_INET6) {
    auto& v6 = reinterpret_cast<sockaddr_in6&>(*address);
    if (IN6_IS_ADDR_UNSPECIFIED(&v6.sin6_addr)) v6.sin6_addr = in6addr_loopback;
  }
}

}  // namespace

absl::StatusOr<std::unique_ptr<HealthProbe>> HealthProbe::Create(int listener, Acceptor* acceptor,
                                                                 const CertificateAndKey* client) {
  sockaddr_storage address{};
  socklen_t size = sizeof(address);
  if (getsockname(listener, reinterpret_cast<sockaddr*>(&address), &size) != 0) {
    return SystemError("the listening socket has no address");
  }
  UseLoopback(&address);
  std::unique_ptr<HealthProbe> probe(new HealthProbe(address, size, acceptor, client));
  if (!probe->cancelled_.valid() || !probe->answered_.valid() || !probe->OpenNext()) {
    return SystemError("no descriptor for the self check");
  }
  return probe;
}

HealthProbe::HealthProbe(const sockaddr_storage& target, socklen_t size, Acceptor* acceptor,
                         const CertificateAndKey* client)
    : target_(target),
      target_size_(size),
      cancelled_(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)),
      answered_(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)),
      acceptor_(acceptor),
      client_(client) {}

bool HealthProbe::OpenNext() {
  if (!next_.valid()) {
    next_.Reset(socket(target_.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
  }
  if (client_ != nullptr && !next_plain_.valid()) {
    int pair[2];
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, pair) != 0) return false;
    next_plain_.Reset(pair[0]);
    next_far_.Reset(pair[1]);
  }
  return next_.valid();
}

absl::Status HealthProbe::Ask(SteadyTime until) {
  if (!OpenNext()) return SystemError("cannot open a socket");
  ScopedDescriptor connection = std::move(next_);
  std::string key;
  RETURN_IF_ERROR(Bind(connection.get(), &key));
  acceptor_->Expect(key);
  absl::Status status = Connect(connection.get(), until);
  if (status.ok()) status = Call(std::move(connection), until);
  const bool accepted = acceptor_->Forget(key);
  OpenNext();
  if (status.ok() && !accepted) {
    return absl::UnavailableError("another process answers at this address");
  }
  return status;
}

void HealthProbe::Cancel() {
  const uint64_t one = 1;
  [[maybe_unused]] const ssize_t written = write(cancelled_.get(), &one, sizeof(one));
  const MutexLock lock(mutex_);
  cancelling_ = true;
  if (call_ != nullptr) call_->TryCancel();
}

// Gives the socket an address of its own before it connects, by which the acceptor will know it.
absl::Status HealthProbe::Bind(int connection, std::string* key) const {
  sockaddr_storage own = target_;
  socklen_t size = target_size_;
  if (own.ss_family == AF_UNIX) {
    size = sizeof(sa_family_t);  // the system chooses a name that is no path
  } else if (own.ss_family == AF_INET) {
    reinterpret_cast<sockaddr_in&>(own).sin_port = 0;
  } else {
    reinterpret_cast<sockaddr_in6&>(own).sin6_port = 0;
  }
  if (bind(connection, reinterpret_cast<const sockaddr*>(&own), size) != 0) {
    return SystemError("cannot bind a socket");
  }
  size = sizeof(own);
  if (getsockname(connection, reinterpret_cast<sockaddr*>(&own), &size) != 0) {
    return SystemError("a socket has no address");
  }
  *key = AddressKey(own, size);
  return absl::OkStatus();
}

absl::Status HealthProbe::Connect(int connection, SteadyTime until) const {
  const auto* target = reinterpret_cast<const sockaddr*>(&target_);
  if (connect(connection, target, target_size_) == 0) return absl::OkStatus();
  if (errno != EINPROGRESS) return SystemError("cannot connect");
  const auto left =
      std::chrono::ceil<std::chrono::milliseconds>(until - steady_clock::now()).count();
  pollfd waiting[] = {{connection, POLLOUT, 0}, {cancelled_.get(), POLLIN, 0}};
  const int ready = poll(waiting, 2, static_cast<int>(std::max<int64_t>(left, 0)));
  if (ready < 0) return SystemError("cannot connect");
  if (waiting[0].revents == 0) return absl::DeadlineExceededError("no connection in time");
  int error = 0;
  socklen_t size = sizeof(error);
  getsockopt(connection, SOL_SOCKET, SO_ERROR, &error, &size);
  return error == 0 ? absl::OkStatus() : absl::ErrnoToStatus(error, "cannot connect");
}

absl::Status HealthProbe::Call(ScopedDescriptor connection, SteadyTime until) {
  if (client_ != nullptr) return CallOverTls(connection, until);
  return Ask(connection.Release(), until, [] { return absl::OkStatus(); });
}

absl::Status HealthProbe::CallOverTls(const ScopedDescriptor& connection, SteadyTime until) {
  const ScopedDescriptor far = std::move(next_far_);
  return Ask(next_plain_.Release(), until, [&] {
    return CarryTls(connection.get(), far.get(), answered_.get(), *client_, until);
  });
}

// A call over `connection`, which is the call's to close. `meanwhile` runs until there is an
// answer; an error of it ends the call.
absl::Status HealthProbe::Ask(int connection, SteadyTime until,
                              const std::function<absl::Status()>& meanwhile) {
  const auto stub = ::grpc::health::v1::Health::NewStub(
      grpc::CreateInsecureChannelFromFd("self-check", connection));
  grpc::ClientContext context;
  context.set_deadline(std::chrono::system_clock::now() + (until - steady_clock::now()));
  {
    const MutexLock lock(mutex_);
    if (cancelling_) return absl::CancelledError("the server shuts down");
    call_ = &context;
  }
  const ::grpc::health::v1::HealthCheckRequest request;
  ::grpc::health::v1::HealthCheckResponse response;
  grpc::Status status;
  stub->async()->Check(&context, &request, &response, [&](const grpc::Status& answer) {
    status = answer;
    const uint64_t one = 1;
    [[maybe_unused]] const ssize_t written = write(answered_.get(), &one, sizeof(one));
  });
  absl::Status carried = meanwhile();
  if (!carried.ok()) context.TryCancel();
  pollfd answered{answered_.get(), POLLIN, 0};
  while (poll(&answered, 1, -1) < 0) {
  }
  uint64_t answers = 0;
  [[maybe_unused]] const ssize_t size = read(answered_.get(), &answers, sizeof(answers));
  {
    const MutexLock lock(mutex_);
    call_ = nullptr;
  }
  if (status.ok()) return absl::OkStatus();
  if (!carried.ok()) return carried;
  return {static_cast<absl::StatusCode>(status.error_code()),
          absl::StrCat("a health call over a new connection failed: ", status.error_message())};
}

}  // namespace recurve
