// SPDX-License-Identifier: Apache-2.0
// The standard grpc.health.v1.Health service. gRPC brings one, but that answers SERVING from the
// moment the server listens until it is told otherwise, and its watchers hold up a shutdown until
// the deadline.
#ifndef RECURVE_SERVER_GRPC_HEALTH_SERVICE_H_
#define RECURVE_SERVER_GRPC_HEALTH_SERVICE_H_

#include <memory>
#include <string>
#include <vector>

#include "engine/base/steady_time.h"

namespace grpc {
class Service;
}

namespace recurve {

inline constexpr char kHealthServiceName[] = "grpc.health.v1.Health";

// The name by which health tells whether a restart would help; all others tell whether to send
// calls.
inline constexpr char kLivenessName[] = "liveness";

// Thread-safe. Knows kLivenessName, SERVING at first, and a fixed list of other names, all with one
// status, NOT_SERVING at first. Check of another name is NOT_FOUND, Watch of one SERVICE_UNKNOWN.
// Must outlive the gRPC server.
class HealthService {
 public:
  explicit HealthService(std::vector<std::string> names);
  ~HealthService();

  grpc::Service* service();

  // `ready`: of the names; `live`: of kLivenessName. Watchers hear of a change.
  void Set(bool ready, bool live);

  // NOT_SERVING for good: watchers hear of it, and then their calls end with UNAVAILABLE. Returns
  // when all have, at `until` at the latest.
  void Close(SteadyTime until);

 private:
  class Impl;
  const std::unique_ptr<Impl> impl_;
};

}  // namespace recurve

#endif  // RECURVE_SERVER_GRPC_HEALTH_SERVICE_H_
