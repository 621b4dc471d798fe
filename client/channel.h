// SPDX-License-Identifier: Apache-2.0
#ifndef RECURVE_CLIENT_CHANNEL_H_
#define RECURVE_CLIENT_CHANNEL_H_

#include <grpcpp/grpcpp.h>

#include <memory>
#include <string>

#include "client/client.h"

namespace recurve::client {

// A channel with a connection of its own, by the credentials of `options`. `authority`: HOST:PORT
// of the name that `server` was looked up for, which its certificate must name; empty if it is the
// name itself.
std::shared_ptr<grpc::Channel> ChannelTo(const std::string& server, const std::string& authority,
                                         const ClientOptions& options);

}  // namespace recurve::client

#endif  // RECURVE_CLIENT_CHANNEL_H_
