// SPDX-License-Identifier: Apache-2.0
#include "client/channel.h"

#include "client/channel_credentials.h"
#include "client/server_name.h"

namespace recurve::client {

std::shared_ptr<grpc::Channel> ChannelTo(const std::string& server, const std::string& authority,
                                         const ClientOptions& options) {
  grpc::ChannelArguments arguments;
  arguments.SetMaxReceiveMessageSize(-1);  // a Complete message holds a whole completion
  // Channels with equal arguments would share one connection.
  arguments.SetInt(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1);
  if (IsOnThisMachine(server)) arguments.SetInt(GRPC_ARG_ENABLE_HTTP_PROXY, 0);
  if (!authority.empty()) arguments.SetString(GRPC_ARG_DEFAULT_AUTHORITY, authority);
  // A server that comes back is to be found by the next question (ReplicaSet), which fails while
  // gRPC waits with its next connection.
  arguments.SetInt(GRPC_ARG_INITIAL_RECONNECT_BACKOFF_MS, 200);
  arguments.SetInt(GRPC_ARG_MAX_RECONNECT_BACKOFF_MS, 2000);
  // No service configuration, so gRPC sends again only what no server has seen.
  return MakeChannel(server, options.credentials, arguments);
}

}  // namespace recurve::client
