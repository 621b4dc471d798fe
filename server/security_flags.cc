// SPDX-License-Identifier: Apache-2.0
#include "server/security_flags.h"

#include <limits>

#include "server/flag_group.h"

namespace recurve {

void AddSecurityFlags(CLI::App* app, TlsOptions* tls, AccessOptions* access) {
  FlagGroup group(app, "Security (docs/security.md)");
  group
      .Value("--tls_cert", &tls->cert,
             "The server's certificate and those that lead to its authority, PEM. With it the gRPC "
             "port speaks TLS alone. Read again when it changes, as are the files below.")
      ->type_name("FILE");
  group.Value("--tls_key", &tls->key, "The key of tls_cert, PEM, without password.")
      ->type_name("FILE");
  group
      .Value("--tls_client_ca", &tls->client_ca,
             "Certificate authorities, PEM: clients must have a certificate of one of them (mutual "
             "TLS), whose name is their tenant unless tokens say otherwise.")
      ->type_name("FILE");
  group
      .Value("--access_file", &access->file,
             "Tokens, of which each call but health needs one, and quotas of tenants, as JSON. "
             "`recurve token` makes entries.")
      ->type_name("FILE");
  group.Duration(
      "--credentials_reload_interval", &access->reload_interval, Milliseconds(10),
      "How often these files are looked at. What is new and good takes effect for new "
      "connections and calls; what is not is told in the log, and what was there stays.");
}

void AddConnectionFlags(CLI::App* app, ConnectionOptions* options) {
  FlagGroup group(app, "Connections to the gRPC port");
  group.Bounded("--max_streams_per_connection", &options->max_streams, 1,
                std::numeric_limits<int32_t>::max(),
                "Calls of one connection at once; more wait in their client.");
  group.DurationOrNone(
      "--max_connection_age", &options->max_age, Milliseconds(1000),
      "Age, give or take a tenth, at which a connection takes no more calls, so that its client "
      "connects anew, perhaps to another server. none: any.");
  group.DurationOrNone(
      "--max_connection_age_grace", &options->max_age_grace, Milliseconds(0),
      "For calls that run then; later they are cut. Longer than the longest generation. none: they "
      "take as long as they take.");
  group.Duration("--handshake_timeout", &options->handshake_timeout, Milliseconds(10),
                 "A connection on which TLS and HTTP/2 have not been agreed on by then is closed.");
  group.Duration("--keepalive_time", &options->keepalive_time, Milliseconds(1000),
                 "A client that has said nothing for this long is asked whether it is there.");
  group.Duration("--keepalive_timeout", &options->keepalive_timeout, Milliseconds(1000),
                 "If it does not answer within this time its connection is closed.");
  group.Duration("--min_ping_interval", &options->min_ping_interval, Milliseconds(0),
                 "A client that asks more often whether the server is there is sent away "
                 "(too_many_pings).");
}

}  // namespace recurve
