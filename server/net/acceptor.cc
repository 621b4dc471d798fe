// SPDX-License-Identifier: Apache-2.0
#include "server/net/acceptor.h"

#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"

namespace recurve {
namespace {

using std::chrono::steady_clock;

constexpr Acceptor::Milliseconds kFirstPause(10);
constexpr Acceptor::Milliseconds kLongestPause(1000);
constexpr std::chrono::seconds kBetweenLines(1);
constexpr int kAcceptsInARow = 64;

bool IsSocket(int descriptor, ino_t socket) {
  struct stat now {};
  return fstat(descriptor, &now) == 0 && S_ISSOCK(now.st_mode) && now.st_ino == socket;
}

int OpenSpare() { return open("/dev/null", O_RDONLY | O_CLOEXEC); }

int SystemAccept(int listener, sockaddr* address, socklen_t* size) {
  return accept4(listener, address, size, SOCK_NONBLOCK | SOCK_CLOEXEC);
}

// No descriptor or no memory: of the process (EMFILE) or of the system.
bool IsExhaustion(int error) {
  return error == EMFILE || error == ENFILE || error == ENOBUFS || error == ENOMEM;
}

// The failure of one connection, which is gone: the next may be better.
bool IsOfOneConnection(int error) {
  return error == EINTR || error == ECONNABORTED || error == EPROTO || error == ENOPROTOOPT ||
         error == ENETDOWN || error == ENETUNREACH || error == EHOSTDOWN || error == EHOSTUNREACH ||
         error == ENONET;
}

}  // namespace

std::string AddressKey(const sockaddr_storage& address, socklen_t size) {
  std::string key;
  const auto append = [&key](const void* bytes, size_t count) {
    key.append(static_cast<const char*>(bytes), count);
  };
  if (address.ss_family == AF_INET) {
    const auto& v4 = reinterpret_cast<const sockaddr_in&>(address);
    append(&v4.sin_addr, sizeof(v4.sin_addr));
    append(&v4.sin_port, sizeof(v4.sin_port));
  } else if (address.ss_family == AF_INET6) {
    const auto& v6 = reinterpret_cast<const sockaddr_in6&>(address);
    const size_t prefix = IN6_IS_ADDR_V4MAPPED(&v6.sin6_addr) ? 12 : 0;
    append(&v6.sin6_addr.s6_addr[prefix], sizeof(v6.sin6_addr) - prefix);
    append(&v6.sin6_port, sizeof(v6.sin6_port));
  } else {
    append(&address, size);
  }
  return key;
}

Acceptor::Acceptor(uint32_t max_connections, Log* log, Seams seams)
    : max_connections_(max_connections), log_(log), seams_([&] {
        if (!seams.accept) seams.accept = SystemAccept;
        return std::move(seams);
      }()) {}

Acceptor::~Acceptor() { Stop(); }

absl::Status Acceptor::Start(int listener, HandOver hand_over) {
  listener_ = listener;
  hand_over_ = std::move(hand_over);
  stop_.Reset(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
  spare_.Reset(OpenSpare());
  if (!stop_.valid() || !spare_.valid()) {
    return absl::ResourceExhaustedError(
        absl::StrCat("no descriptor to accept connections with: ", std::strerror(errno)));
  }
  thread_ = std::thread([this] { Run(); });
  return absl::OkStatus();
}

void Acceptor::Stop() {
  if (!thread_.joinable()) return;
  const uint64_t one = 1;
  [[maybe_unused]] const ssize_t written = write(stop_.get(), &one, sizeof(one));
  thread_.join();
}

void Acceptor::HangUp() {
  const MutexLock lock(mutex_);
  for (const auto& [connection, socket] : open_) {
    if (IsSocket(connection, socket)) shutdown(connection, SHUT_WR);
  }
}

void Acceptor::Expect(const std::string& key) {
  const MutexLock lock(mutex_);
  own_[key] = false;
}

bool Acceptor::Forget(const std::string& key) {
  const MutexLock lock(mutex_);
  const auto found = own_.find(key);
  if (found == own_.end()) return false;
  const bool accepted = found->second;
  own_.erase(found);
  return accepted;
}

Acceptor::Counts Acceptor::counts() {
  const MutexLock lock(mutex_);
  DropClosed();
  Counts counts = counts_;
  counts.open = open_.size();
  return counts;
}

void Acceptor::Run() {
  pollfd waiting[] = {{stop_.get(), POLLIN, 0}, {listener_, POLLIN, 0}};
  Milliseconds pause = kFirstPause;
  while (true) {
    if (poll(waiting, 2, -1) < 0 && errno != EINTR) Pause(pause);
    if (waiting[0].revents != 0) return;
    if (waiting[1].revents == 0) continue;
    if (AcceptWaiting()) {
      pause = kFirstPause;
    } else {
      Pause(pause);
      pause = std::min(2 * pause, kLongestPause);
    }
  }
}

// Accepts what waits, up to a bound, since Stop is waited for only in between. False if accepting
// fails for now.
bool Acceptor::AcceptWaiting() {
  for (int i = 0; i < kAcceptsInARow; ++i) {
    const int error = AcceptOne();
    if (error == EAGAIN || error == EWOULDBLOCK) return true;
    if (error == 0 || IsOfOneConnection(error)) continue;
    LogFailure(error);
    return false;
  }
  return true;
}

// Returns 0, or the error number of the accept.
int Acceptor::AcceptOne() {
  if (!spare_.valid()) spare_.Reset(OpenSpare());
  std::string peer;
  ScopedDescriptor connection;
  int error = Accept(&connection, &peer);
  const bool in_place_of_spare = IsExhaustion(error) && spare_.valid();
  if (in_place_of_spare) {
    spare_.Reset();
    error = Accept(&connection, &peer);
  }
  if (error == 0) Settle(std::move(connection), peer, in_place_of_spare);
  if (!spare_.valid()) spare_.Reset(OpenSpare());
  return error;
}

int Acceptor::Accept(ScopedDescriptor* connection, std::string* peer) {
  sockaddr_storage address{};
  socklen_t size = sizeof(address);
  connection->Reset(seams_.accept(listener_, reinterpret_cast<sockaddr*>(&address), &size));
  if (!connection->valid()) return errno;
  *peer = AddressKey(address, size);
  return 0;
}

// Hands the connection over or closes it.
void Acceptor::Settle(ScopedDescriptor connection, const std::string& peer,
                      bool in_place_of_spare) {
  if (!IsOwn(peer)) {
    if (in_place_of_spare) return Refuse(&Counts::refused_descriptors, "descriptors");
    if (!Admit(connection.get())) return Refuse(&Counts::refused_limit, "max_connections");
  }
  hand_over_(connection.Release());
}

bool Acceptor::IsOwn(const std::string& peer) {
  const MutexLock lock(mutex_);
  const auto found = own_.find(peer);
  if (found == own_.end() || found->second) return false;
  found->second = true;
  return true;
}

// Counts a connection as open, unless as many are as may be.
bool Acceptor::Admit(int connection) {
  struct stat socket {};
  if (fstat(connection, &socket) != 0) return false;
  const MutexLock lock(mutex_);
  open_.erase(connection);  // whatever had that descriptor is closed
  if (open_.size() >= max_connections_) {
    // A tenth of the time at most, whatever the number of connections and of those that come.
    const SteadyTime began = steady_clock::now();
    if (began >= next_drop_) {
      DropClosed();
      const SteadyTime ended = steady_clock::now();
      next_drop_ = ended + 10 * (ended - began);
    }
    if (open_.size() >= max_connections_) return false;
  }
  open_.emplace(connection, socket.st_ino);
  return true;
}

void Acceptor::Refuse(uint64_t Counts::*counter, std::string_view reason) {
  {
    const MutexLock lock(mutex_);
    ++(counts_.*counter);
  }
  ++untold_refusals_;
  const SteadyTime now = steady_clock::now();
  if (now < next_refusal_line_) return;
  next_refusal_line_ = now + kBetweenLines;
  log_->Write("connections_refused", {{"count", std::exchange(untold_refusals_, 0)},
                                      {"reason", std::string(reason)},
                                      {"max_connections", uint64_t{max_connections_}}});
}

void Acceptor::LogFailure(int error) {
  const SteadyTime now = steady_clock::now();
  if (now < next_failure_line_) return;
  next_failure_line_ = now + kBetweenLines;
  log_->Write("accept_failed", {{"error", std::string(std::strerror(error))}});
}

void Acceptor::DropClosed() {
  for (auto connection = open_.begin(); connection != open_.end();) {
    const bool open = IsSocket(connection->first, connection->second);
    connection = open ? std::next(connection) : open_.erase(connection);
  }
}

void Acceptor::Pause(Milliseconds time) {
  if (seams_.pause) return seams_.pause(time);
  pollfd stop{stop_.get(), POLLIN, 0};
  poll(&stop, 1, static_cast<int>(time.count()));
}

}  // namespace recurve
