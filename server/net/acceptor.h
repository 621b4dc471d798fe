// SPDX-License-Identifier: Apache-2.0
// Accepts the gRPC port's connections, in place of the gRPC library: that knows no limit of
// connections, and stops accepting for good once an accept has failed for want of a descriptor.
#ifndef RECURVE_SERVER_NET_ACCEPTOR_H_
#define RECURVE_SERVER_NET_ACCEPTOR_H_

#include <sys/socket.h>
#include <sys/types.h>

#include <chrono>
#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <thread>
#include <unordered_map>

#include "absl/status/status.h"
#include "engine/base/mutex.h"
#include "engine/base/scoped_descriptor.h"
#include "engine/base/steady_time.h"
#include "server/observe/log.h"

namespace recurve {

// An address as a key, the same at both ends of a connection, also where one of them writes an IPv4
// address as an IPv6 one.
std::string AddressKey(const sockaddr_storage& address, socklen_t size);

// Thread-safe but for Start, Stop and destruction. Owns a thread that accepts.
//
// At most `max_connections` are open at once; those beyond are closed as soon as they are accepted,
// so that their clients learn it at once and can try again, or elsewhere. Whoever takes connections
// over tells nobody when it closes one: a connection counts as open while its descriptor is still
// the same socket.
//
// No failure ends accepting. Where the process or the system has no descriptor left, a spare one is
// given up for a moment, to accept the next connection and close it. Where that does not help,
// and at any other failure, accepting pauses, for 10 ms at first and for a second at most.
class Acceptor {
 public:
  using Milliseconds = std::chrono::milliseconds;

  // Takes over a connection, non-blocking, and closes it in the end. On the acceptor's thread.
  using HandOver = std::function<void(int connection)>;

  // What a test puts in the place of the system's; empty: the system's own.
  struct Seams {
    std::function<int(int listener, sockaddr* address, socklen_t* size)> accept;  // as accept4
    std::function<void(Milliseconds)> pause;
  };

  // `log` must outlive the acceptor.
  Acceptor(uint32_t max_connections, Log* log, Seams seams = {});
  ~Acceptor();  // stops

  // Accepts from `listener`, a non-blocking listening socket that must stay open until Stop. Once.
  // RESOURCE_EXHAUSTED where the process has no descriptors for it.
  absl::Status Start(int listener, HandOver hand_over);

  // Returns when no connection will be handed over any more. The second time without effect.
  void Stop();

  // Ends our side of all connections that are open: their clients read what was sent, then the end.
  void HangUp();

  // The next connection from `key` (an AddressKey) comes from this process itself: it is handed
  // over whatever the limits, and counted nowhere.
  void Expect(const std::string& key);
  // No longer so; true if that connection was accepted.
  bool Forget(const std::string& key);

  struct Counts {
    uint64_t open = 0;  // now
    // Since start: closed because max_connections were open, or because no descriptor was left.
    uint64_t refused_limit = 0;
    uint64_t refused_descriptors = 0;
  };
  Counts counts();

 private:
  void Run();
  bool AcceptWaiting();
  int AcceptOne();
  int Accept(ScopedDescriptor* connection, std::string* peer);
  void Settle(ScopedDescriptor connection, const std::string& peer, bool in_place_of_spare);
  bool IsOwn(const std::string& peer) ABSL_LOCKS_EXCLUDED(mutex_);
  bool Admit(int connection) ABSL_LOCKS_EXCLUDED(mutex_);
  void Refuse(uint64_t Counts::*counter, std::string_view reason) ABSL_LOCKS_EXCLUDED(mutex_);
  void LogFailure(int error);
  void DropClosed() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void Pause(Milliseconds time);

  const uint32_t max_connections_;
  Log* const log_;
  const Seams seams_;

  // Set by Start, then of the thread alone.
  int listener_ = -1;
  HandOver hand_over_;
  ScopedDescriptor stop_;  // an eventfd
  ScopedDescriptor spare_;
  SteadyTime next_refusal_line_, next_failure_line_;  // of the log, not before then
  uint64_t untold_refusals_ = 0;                      // since the last such line

  Mutex mutex_;
  // Descriptors handed over, and which socket each was then.
  std::unordered_map<int, ino_t> open_ ABSL_GUARDED_BY(mutex_);
  SteadyTime next_drop_ ABSL_GUARDED_BY(mutex_);  // DropClosed for a newcomer, not before then
  // Expected addresses; true: accepted.
  std::unordered_map<std::string, bool> own_ ABSL_GUARDED_BY(mutex_);
  Counts counts_ ABSL_GUARDED_BY(mutex_);  // but for `open`

  std::thread thread_;
};

}  // namespace recurve

#endif  // RECURVE_SERVER_NET_ACCEPTOR_H_
