// SPDX-License-Identifier: Apache-2.0
// The process's limit of open file descriptors, and how many of them connections may have.
#ifndef RECURVE_SERVER_NET_DESCRIPTORS_H_
#define RECURVE_SERVER_NET_DESCRIPTORS_H_

#include <cstdint>

#include "absl/status/statusor.h"

namespace recurve {

// Descriptors that no connection of the gRPC port gets, beside those that are open when the server
// starts (its standard streams, and what it inherited). Together: the event loops of the gRPC
// library (6), listening and accepting (4), the same for health (3), the server's calls of itself
// (9, with TLS), the metrics port without its connections (6), files of the model and credentials
// while they are read, and the port file (4), to spare (4).
inline constexpr uint32_t kKeptDescriptors = 36;

// What `--max_connections=auto` takes at most, however many descriptors there are: each connection
// takes some 50 kB of memory.
inline constexpr uint32_t kMostAutomaticConnections = 16384;

// Soft limits (RLIMIT_NOFILE, `ulimit -n`).
struct DescriptorLimit {
  uint64_t before = 0;
  uint64_t now = 0;
};

// Raises the process's soft limit to its hard one. `now` equals `before` where the system refuses.
DescriptorLimit RaiseDescriptorLimit();

// The process's soft limit.
uint64_t SoftDescriptorLimit();

// How many descriptors the process has open.
uint64_t OpenDescriptors();

// How many connections the gRPC port may hold at once with a soft limit of `limit` descriptors, of
// which `open` are taken, or promised to others: `max_connections`, or if that is 0 as many as
// possible. FAILED_PRECONDITION names `--max_connections` and the limit, and says what to do, where
// there are too few.
absl::StatusOr<uint32_t> ConnectionLimit(uint32_t max_connections, uint64_t limit, uint64_t open);

}  // namespace recurve

#endif  // RECURVE_SERVER_NET_DESCRIPTORS_H_
