// SPDX-License-Identifier: Apache-2.0
// What `recurve-gateway` can be told. Plain data; flags.cc makes flags and their help of it.
#ifndef RECURVE_CLIENT_GATEWAY_OPTIONS_H_
#define RECURVE_CLIENT_GATEWAY_OPTIONS_H_

#include <cstdint>
#include <optional>
#include <string>

#include "client/client.h"
#include "server/address.h"
#include "server/options.h"

namespace recurve::gateway {

struct GatewayOptions {
  Address listen{.host = "127.0.0.1", .port = 8000, .path = ""};
  std::optional<Address> metrics_listen;  // unset: none
  std::string port_file;                  // see server/port_file.h; empty: none
  TlsOptions tls;                         // of what listens
  Milliseconds credentials_reload_interval{10000};
  uint32_t max_connections = 1024;
  uint32_t max_body_bytes = 8 << 20;
  Milliseconds idle_timeout{60000};  // see HttpServerOptions::stall_timeout

  client::ClientOptions client;  // without a token: clients have theirs
  std::string server_token;      // for the gateway's own questions; empty: none
  bool resume = false;
  bool page = true;  // see page.h

  std::string python = "python3";
  Milliseconds template_timeout{2000};

  Milliseconds drain_grace{0};
  Milliseconds drain_budget{30000};
  LogFormat log_format = LogFormat::kText;
};

}  // namespace recurve::gateway

#endif  // RECURVE_CLIENT_GATEWAY_OPTIONS_H_
