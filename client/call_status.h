// SPDX-License-Identifier: Apache-2.0
// What a call's end says: gRPC's status as one of ours, and what it says of the server.
#ifndef RECURVE_CLIENT_CALL_STATUS_H_
#define RECURVE_CLIENT_CALL_STATUS_H_

#include "absl/status/status.h"
#include "client/replica_set.h"

namespace grpc {
class ClientContext;
class Status;
}  // namespace grpc

namespace recurve::client {

// Of a call that has ended, with the payloads of client.h. A stream that was reset under way, as
// proxies do when what is behind them goes, is Unavailable.
absl::Status FromGrpc(const grpc::Status& status, const grpc::ClientContext& context);

ReplicaSet::Outcome OutcomeOf(const absl::Status& status);

}  // namespace recurve::client

#endif  // RECURVE_CLIENT_CALL_STATUS_H_
