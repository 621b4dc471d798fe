// SPDX-License-Identifier: Apache-2.0
// The engine as the page draws it: what is served, and how busy each server is.
#ifndef RECURVE_CLIENT_GATEWAY_ENGINE_VIEW_H_
#define RECURVE_CLIENT_GATEWAY_ENGINE_VIEW_H_

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "client/client.h"
#include "client/gateway/model_watch.h"

namespace recurve::gateway {

// {"model": GetModelInfoResponse, "servers": [{"name": ..., "load": GetLoadResponse or
// "error": ...}, ...]} with messages in protobuf's JSON form; of chat templates the names. The
// error of a server if all have one.
absl::StatusOr<std::string> EngineView(const ModelInfo& model,
                                       const std::vector<client::ServerLoad>& loads);

}  // namespace recurve::gateway

#endif  // RECURVE_CLIENT_GATEWAY_ENGINE_VIEW_H_
