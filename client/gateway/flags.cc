// SPDX-License-Identifier: Apache-2.0
#include "client/gateway/flags.h"

#include <CLI/CLI.hpp>
#include <iterator>
#include <memory>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "client/channel_credentials.h"
#include "engine/base/flag_values.h"
#include "engine/base/status_macros.h"
#include "server/flag_group.h"

namespace recurve::gateway {
namespace {

// What flags say that is not an option as it is.
struct Words {
  std::string servers = "127.0.0.1:50051";
  std::string balance = "least_outstanding";
  std::string tls_ca, tls_cert, tls_key, token_file;
  std::string log_format = "text";
  uint32_t attempts = 1;
};

void AddListenFlags(CLI::App* app, GatewayOptions* options) {
  FlagGroup group(app, "Listening");
  group.ListenAddress("--listen", &options->listen,
                      "Where clients speak HTTP: IPV4:PORT, [IPV6]:PORT, NAME:PORT or unix:/PATH. "
                      "Port 0 lets the system choose.");
  group.ListenAddressOrNone("--metrics_listen", &options->metrics_listen,
                            "Where Prometheus finds /metrics, and probes /healthz and /readyz.");
  group
      .Value("--port_file", &options->port_file,
             "Once listening, write http_address=ADDRESS and, but for unix sockets, http_port=N "
             "here; of metrics_listen likewise. Removed at the end.")
      ->type_name("FILE");
  group.Bounded("--max_connections", &options->max_connections, 1, 1 << 20,
                "Open at once. One more, and the one that was silent longest is closed; where all "
                "have a request under way, the new one.");
  group.Bounded("--max_body_bytes", &options->max_body_bytes, 1024, 1 << 30,
                "Largest body of a request; larger ones are refused with 413.");
  group.Switch("--page", &options->page,
               "Serve the page: a playground and a view of the engine at /, its files below /page, "
               "and its figures at /engine.");
  group.Duration("--idle_timeout", &options->idle_timeout, Milliseconds(10),
                 "A connection that brings no whole request, or does not take what it is sent, for "
                 "this long is closed.");
}

void AddTlsFlags(CLI::App* app, GatewayOptions* options) {
  FlagGroup group(app, "TLS of clients");
  group
      .Value("--tls_cert", &options->tls.cert,
             "The gateway's certificate and those that lead to its authority, PEM. With it "
             "--listen speaks TLS alone. Read again when it changes, as are the files below.")
      ->type_name("FILE");
  group.Value("--tls_key", &options->tls.key, "The key of tls_cert, PEM, without password.")
      ->type_name("FILE");
  group
      .Value("--tls_client_ca", &options->tls.client_ca,
             "Certificate authorities, PEM: clients must have a certificate of one of them. Who "
             "they are is not passed on to servers.")
      ->type_name("FILE");
  group.Duration("--credentials_reload_interval", &options->credentials_reload_interval,
                 Milliseconds(10), "How often these files are looked at.");
}

void AddServerFlags(CLI::App* app, GatewayOptions* options, Words* words) {
  FlagGroup group(app, "Servers");
  group
      .Value("--server", &words->servers,
             "HOST:PORT of recurve-server, or several with commas between them; dns:///HOST:PORT "
             "stands for all addresses of a name. All serve the same model.")
      ->type_name("SERVER,...");
  group.Choice("--balance", &words->balance,
               {"least_outstanding", "round_robin", "prefix_affinity"},
               "Which of several servers a call goes to; prefix_affinity keeps prompts together "
               "that begin alike.");
  group.Bounded("--attempts", &words->attempts, 1, 100,
                "Tries in all of a call that a server refuses since it is full or not ready: at "
                "another one, or after the time that it says. With 1 clients hear of it at once.");
  group.Switch("--resume", &options->resume,
               "A stream that breaks goes on at another server, exactly; needs attempts above 1.");
  group
      .Value("--server_tls_ca", &words->tls_ca,
             "Speak TLS with servers whose certificates are of these authorities (PEM).")
      ->type_name("FILE");
  group
      .Value("--server_tls_cert", &words->tls_cert,
             "The gateway's certificate (PEM), for servers that ask for one. With it all calls "
             "are of its tenant, unless tokens say otherwise.")
      ->type_name("FILE");
  group.Value("--server_tls_key", &words->tls_key, "The key of server_tls_cert (PEM).")
      ->type_name("FILE");
  group
      .Value("--server_token_file", &words->token_file,
             "Token ID.SECRET for the gateway's own questions to servers that ask for one. Clients "
             "send theirs as Authorization, which is passed on.")
      ->type_name("FILE");
}

void AddOtherFlags(CLI::App* app, GatewayOptions* options, Words* words) {
  FlagGroup chat(app, "Chat templates");
  chat.Value("--python", &options->python,
             "Python with the package jinja2, which renders them in a process of its own.")
      ->type_name("PROGRAM");
  chat.Duration("--template_timeout", &options->template_timeout, Milliseconds(10),
                "A template that takes longer is ended, and its call with it.");
  FlagGroup draining(app, "Shutdown (SIGTERM, SIGINT, SIGHUP)");
  draining.Duration("--drain_grace", &options->drain_grace, Milliseconds(0),
                    "Go on accepting for this long after the signal, with /readyz at 503, while "
                    "balancers take the gateway out.");
  draining.Duration("--drain_budget", &options->drain_budget, Milliseconds(0),
                    "Then take no new connection and let calls that run go on for this long; what "
                    "still runs is cut.");
  FlagGroup logging(app, "Log (stderr)");
  logging.Choice("--log_format", &words->log_format, {"text", "json"},
                 "Lines of key=value, or of one JSON object; one for each call that is answered, "
                 "without what is asked and told.");
}

absl::Status ReadFile(const std::string& flag, const std::string& path,
                      absl::StatusOr<std::string> (*read)(const std::string&), std::string* text) {
  if (path.empty()) return absl::OkStatus();
  auto file = read(path);
  if (!file.ok())
    return absl::InvalidArgumentError(absl::StrCat(flag, ": ", file.status().message()));
  *text = *std::move(file);
  return absl::OkStatus();
}

absl::Status Take(const Words& words, GatewayOptions* options) {
  client::ClientOptions& client = options->client;
  client.servers = absl::StrSplit(words.servers, ',');
  for (const std::string& server : client.servers) {
    if (server.empty()) return absl::InvalidArgumentError("--server: one of the names is empty");
  }
  client.balance = words.balance == "round_robin"       ? client::Balance::kRoundRobin
                   : words.balance == "prefix_affinity" ? client::Balance::kPrefixAffinity
                                                        : client::Balance::kLeastOutstanding;
  client.attempts = static_cast<int>(words.attempts);
  if (options->resume && words.attempts < 2) {
    return absl::InvalidArgumentError("--resume needs --attempts above 1");
  }
  client::Credentials& credentials = client.credentials;
  RETURN_IF_ERROR(
      ReadFile("--server_tls_ca", words.tls_ca, &client::ReadPemFile, &credentials.tls_ca));
  RETURN_IF_ERROR(
      ReadFile("--server_tls_cert", words.tls_cert, &client::ReadPemFile, &credentials.tls_cert));
  RETURN_IF_ERROR(
      ReadFile("--server_tls_key", words.tls_key, &client::ReadPemFile, &credentials.tls_key));
  RETURN_IF_ERROR(ReadFile("--server_token_file", words.token_file, &client::ReadTokenFile,
                           &options->server_token));
  options->log_format = words.log_format == "json" ? LogFormat::kJson : LogFormat::kText;
  return client::CheckCredentials(credentials);
}

}  // namespace

absl::StatusOr<std::variant<GatewayOptions, std::string>> ParseFlags(int argc,
                                                                     const char* const* argv) {
  GatewayOptions options;
  Words words;
  CLI::App app("OpenAI's HTTP API, and a page, in front of recurve-server.", "recurve-gateway");
  app.option_defaults()->multi_option_policy(CLI::MultiOptionPolicy::TakeLast);
  const GeneralFlags general(&app);
  AddListenFlags(&app, &options);
  AddTlsFlags(&app, &options);
  AddServerFlags(&app, &options, &words);
  AddOtherFlags(&app, &options, &words);
  RETURN_IF_ERROR(CheckFlagsHaveValues(argc, argv));
  RETURN_IF_ERROR(ParseArguments(
      {std::make_reverse_iterator(argv + argc), std::make_reverse_iterator(argv + 1)}, &app));
  if (auto text = general.TextAskedFor()) return *std::move(text);
  RETURN_IF_ERROR(Take(words, &options));
  return options;
}

}  // namespace recurve::gateway
