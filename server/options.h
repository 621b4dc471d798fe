// SPDX-License-Identifier: Apache-2.0
// What `recurve-server` can be told, one struct a concern; the engine's own are in engine/api.
// Flags, their help and the configuration file are made from these in flags.cc. Plain data.
#ifndef RECURVE_SERVER_OPTIONS_H_
#define RECURVE_SERVER_OPTIONS_H_

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>

#include "engine/api/options.h"
#include "server/address.h"

namespace recurve {

using Milliseconds = std::chrono::milliseconds;

// Where and how the server listens.
struct ListenOptions {
  Address listen{.host = "127.0.0.1", .port = 50051, .path = ""};
  Address metrics_listen{.host = "127.0.0.1", .port = 9090, .path = ""};
  std::string port_file;                  // see port_file.h; empty: none
  uint32_t max_metrics_connections = 16;  // at once; see http_server.h, also of the next
  Milliseconds metrics_stall_timeout{120000};
  uint32_t max_message_bytes = 4 << 20;  // of a request
  uint32_t max_connections = 0;  // of the gRPC port at once; 0: as many as descriptors allow
  std::optional<Address> health_listen;  // in plaintext, grpc.health.v1 alone; unset: none

  bool operator==(const ListenOptions&) const = default;
};

// Of whom quotas are kept: see access/quotas.h.
inline constexpr uint32_t kMostTenantsTracked = 10'000;

// To the port for health alone, at once.
inline constexpr uint32_t kMaxHealthConnections = 64;

// Of a call's metadata. Twice gRPC's own limit: what a front lets through, which has that limit,
// and adds some of its own, must not come near the point from which gRPC 1.51 misreads headers.
inline constexpr uint32_t kMaxMetadataBytes = 16384;

// How long connections to the gRPC port live, and what they may do.
struct ConnectionOptions {
  uint32_t max_streams = 4096;                // calls of one connection at once
  std::optional<Milliseconds> max_age;        // then clients connect anew; unset: any
  std::optional<Milliseconds> max_age_grace;  // for calls that run then; unset: any
  Milliseconds handshake_timeout{20000};      // until TLS and HTTP/2 are agreed on
  Milliseconds keepalive_time{30000};         // silence after which a client is pinged
  Milliseconds keepalive_timeout{20000};      // for its answer
  Milliseconds min_ping_interval{10000};      // of clients' pings; more often, and they go

  bool operator==(const ConnectionOptions&) const = default;
};

// Files, PEM; empty: none.
struct TlsOptions {
  std::string cert;       // of the server, with its chain; without it the port is plaintext
  std::string key;        // of that
  std::string client_ca;  // whose certificates clients must have

  bool operator==(const TlsOptions&) const = default;
};

// Who may call: see access/access_rules.h.
struct AccessOptions {
  std::string file;                     // of tokens and quotas; empty: none
  Milliseconds reload_interval{10000};  // of that file, and of certificates

  bool operator==(const AccessOptions&) const = default;
};

// How the server finds out whether its own gRPC port answers: see self_check.h.
struct SelfCheckOptions {
  Milliseconds interval{5000};
  Milliseconds timeout{30000};

  bool operator==(const SelfCheckOptions&) const = default;
};

// How long a client may keep its stream waiting.
struct StreamOptions {
  Milliseconds stall_timeout{30000};  // a single write may take this long
  uint32_t buffer_tokens = 4096;      // tokens of one stream that may wait to be written

  bool operator==(const StreamOptions&) const = default;
};

// How requests are refused.
struct AdmissionOptions {
  Milliseconds retry_pushback{1000};      // told to clients when a queue is full
  uint64_t max_queued_bytes = 256 << 20;  // of calls of one kind and length (see Intake) that wait
                                          // to be tokenized; more are refused

  bool operator==(const AdmissionOptions&) const = default;
};

// How the server ends.
struct DrainOptions {
  Milliseconds grace{0};       // goes on accepting after a signal, while balancers take note
  Milliseconds budget{30000};  // for what still runs after that
  Milliseconds flush{10000};  // for clients to take their last messages, but no stall is waited for

  bool operator==(const DrainOptions&) const = default;
};

enum class LogFormat { kText, kJson };

struct LogOptions {
  LogFormat format = LogFormat::kText;
  bool prompts = false;  // the line of each call has its prompt

  bool operator==(const LogOptions&) const = default;
};

struct ServerOptions {
  EngineOptions engine;
  ListenOptions listen;
  ConnectionOptions connection;
  TlsOptions tls;
  AccessOptions access;
  SelfCheckOptions self_check;
  StreamOptions stream;
  AdmissionOptions admission;
  DrainOptions drain;
  LogOptions log;

  bool operator==(const ServerOptions&) const = default;
};

}  // namespace recurve

#endif  // RECURVE_SERVER_OPTIONS_H_
