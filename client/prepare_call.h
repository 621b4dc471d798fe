// SPDX-License-Identifier: Apache-2.0
#ifndef RECURVE_CLIENT_PREPARE_CALL_H_
#define RECURVE_CLIENT_PREPARE_CALL_H_

#include <grpcpp/grpcpp.h>

#include <chrono>
#include <optional>

#include "absl/status/status.h"
#include "client/client.h"

namespace recurve::client {

// InvalidArgument for options with which no call can be sent: gRPC aborts the process for metadata
// that it cannot send.
absl::Status CheckCall(const CallOptions& options);

// When a call must be over.
struct Deadline {
  explicit Deadline(const CallOptions& options)
      : system(options.timeout
                   ? std::make_optional(std::chrono::system_clock::now() + *options.timeout)
                   : std::nullopt),
        steady(options.timeout ? std::chrono::steady_clock::now() + *options.timeout
                               : std::chrono::steady_clock::time_point::max()) {}

  std::optional<std::chrono::system_clock::time_point> system;  // as gRPC takes it; none: never
  std::chrono::steady_clock::time_point steady;
};

// The deadline and the metadata of one try of a call that CheckCall lets through. `prefix_key` as
// PrefixKey has it; 0 without a prompt.
void PrepareTry(const Deadline& deadline, const CallOptions& options, uint64_t prefix_key,
                grpc::ClientContext& context);

// What a call ends with when all servers have asked not to be called before `ready`, which is too
// late for it.
absl::Status AllFull(ReplicaSet::Time ready);

}  // namespace recurve::client

#endif  // RECURVE_CLIENT_PREPARE_CALL_H_
