// SPDX-License-Identifier: Apache-2.0
// The gRPC server with its services, and the metrics endpoint.
#ifndef RECURVE_SERVER_SERVER_H_
#define RECURVE_SERVER_SERVER_H_

#include <memory>
#include <optional>

#include "absl/status/statusor.h"
#include "engine/engine.h"
#include "server/address.h"
#include "server/net/acceptor.h"
#include "server/observe/log.h"
#include "server/options.h"

namespace recurve {

// Thread-safe but for construction and destruction. Order of life: Create, SetEngine, SetServing;
// then SetServing(false), SetDraining, WaitForCalls, Shutdown, then the engine's destruction, and
// the server's last, since requests that the engine ends on its way out are still recorded here.
class Server {
 public:
  // Listens and answers: health is NOT_SERVING, but for liveness, and everything else UNAVAILABLE.
  // Errors name the flag and its value, and are found before anybody could connect, as far as they
  // can be. `options` are copied; `log` must outlive the server. `seams`: a test's, for accepting
  // connections.
  static absl::StatusOr<std::unique_ptr<Server>> Create(const ServerOptions& options, Log* log,
                                                        Acceptor::Seams seams = {});
  ~Server();

  // As bound: the hosts are numeric, and the ports those that the system chose.
  const Address& grpc_address() const;
  const Address& metrics_address() const;
  std::optional<Address> health_address() const;  // none without --health_listen

  // In force, also where the options leave it to us.
  uint32_t max_connections() const;

  // The engine must live until Shutdown has returned.
  void SetEngine(Engine* engine);

  // Whether calls can be served. The health service and the metric `recurve_ready` say so, but not
  // while the server's own gRPC port does not answer it.
  void SetServing(bool serving);

  // From now on refusals by the engine count as due to draining.
  void SetDraining();

  // A step has failed or has not come back: nothing but a restart helps, and health says so for
  // liveness too, for good.
  void SetEngineFailed();

  // From now on the engine tells nothing more of the samples that it has: their calls end with
  // UNAVAILABLE.
  void SetEngineStuck();

  // Waits until every Generate and Complete call has told its client how it ended. Returns how many
  // have not at `until`.
  size_t WaitForCalls(SteadyTime until);

  // Closes the ports. Texts may still be tokenized until `until`; then clients of all calls that
  // are open see UNAVAILABLE. Returns when all are gone, at `until` or a little later.
  void Shutdown(SteadyTime until);

 private:
  class Impl;
  explicit Server(std::unique_ptr<Impl> impl);
  const std::unique_ptr<Impl> impl_;
};

}  // namespace recurve

#endif  // RECURVE_SERVER_SERVER_H_
