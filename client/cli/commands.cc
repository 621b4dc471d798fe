// SPDX-License-Identifier: Apache-2.0
#include "client/cli/commands.h"

#include <CLI/CLI.hpp>
#include <chrono>
#include <cinttypes>
#include <cstdio>
#include <memory>
#include <thread>

#include "client/cli/arguments.h"
#include "client/cli/prompt_text.h"
#include "client/cli/report.h"
#include "client/cli/request_flags.h"
#include "client/cli/terminal.h"

namespace recurve::client {
namespace {

struct InfoFlags {
  ConnectionFlags connection;
  bool json = false;
};

void PrintInfo(const v1::GetModelInfoResponse& info, const v1::GetLoadResponse& load) {
  std::printf("model         %s (%.1f M parameters, %s, %s)\n", info.model_name().c_str(),
              static_cast<double>(info.parameters()) * 1e-6, info.precision().c_str(),
              info.backend().c_str());
  std::printf("recursions    %u, sharing %s, router %s, KV %s%s%s\n", info.num_recursions(),
              info.sharing().c_str(), info.router().c_str(), info.kv_mode().c_str(),
              info.kv_precision().empty() ? "" : " in ", info.kv_precision().c_str());
  std::printf("fingerprint   %s\n", info.fingerprint().empty() ? "none: outputs depend on the load"
                                                               : info.fingerprint().c_str());
  std::printf("vocabulary    %u%s\n", info.vocab_size(),
              info.has_tokenizer() ? "" : " (no tokenizer: token ids only)");
  std::printf("context       %u tokens\n", info.max_context());
  std::printf("server        %s, up %.0f s%s\n", info.server_version().c_str(),
              load.uptime_seconds(), load.draining() ? ", draining" : "");
  std::printf("requests      %u running of %u slots, %u waiting\n", load.requests_running(),
              load.slots(), load.requests_waiting());
  std::printf("KV pages      %u of %u free\n", load.kv_pages_free(), load.kv_pages());
  std::printf("tokens        %" PRIu64 " prompt, %" PRIu64 " generated", load.prompt_tokens(),
              load.generated_tokens());
  for (int i = 0; i < load.generated_tokens_by_depth_size(); ++i) {
    std::printf("%s %" PRIu64 " of depth %d", i == 0 ? ":" : ",", load.generated_tokens_by_depth(i),
                i + 1);
  }
  std::printf("\n");
}

int Info(const InfoFlags& flags) {
  Client client(flags.connection.options());
  const auto info = client.GetModelInfo(flags.connection.call());
  if (!info.ok()) return ReportError(flags.connection.server, info.status());
  const auto load = client.GetLoad(flags.connection.call());
  if (!load.ok()) return ReportError(flags.connection.server, load.status());
  if (flags.json) {
    std::printf("{\"model\":%s,\"load\":%s}\n", ToJson(*info).c_str(), ToJson(*load).c_str());
  } else {
    PrintInfo(*info, *load);
  }
  return 0;
}

struct HealthFlags {
  ConnectionFlags connection;
  std::string service;
  double wait_seconds = 0.0;
};

int Health(const HealthFlags& flags) {
  Client client(flags.connection.options());
  const CallOptions call = flags.connection.call();
  const auto give_up =
      std::chrono::steady_clock::now() + std::chrono::duration<double>(flags.wait_seconds);
  absl::Status status = client.CheckHealth(flags.service, call);
  while (!status.ok() && std::chrono::steady_clock::now() < give_up) {
    std::this_thread::sleep_for(std::chrono::milliseconds(100));
    status = client.CheckHealth(flags.service, call);
  }
  if (!status.ok()) return ReportError(flags.connection.server, status);
  std::printf("SERVING\n");
  return 0;
}

struct TokenizeFlags {
  ConnectionFlags connection;
  std::string text;
  bool has_text = false;  // it may be empty
  std::string file = "-";
  bool no_special = false;
  bool json = false;
};

int Tokenize(const TokenizeFlags& flags) {
  auto text = flags.has_text ? CheckedUtf8("the text", flags.text) : ReadText(flags.file);
  if (!text.ok()) return ReportError(text.status());
  v1::TokenizeRequest request;
  request.set_text(*std::move(text));
  request.set_with_text(true);
  if (flags.no_special) request.set_add_special_tokens(false);
  Client client(flags.connection.options());
  const auto response = client.Tokenize(request, flags.connection.call());
  if (!response.ok()) return ReportError(flags.connection.server, response.status());
  if (flags.json) {
    std::printf("%s\n", ToJson(*response).c_str());
    return 0;
  }
  for (int i = 0; i < response->ids_size(); ++i) {
    std::string shown = Printable(response->texts(i));
    for (size_t at = 0; (at = shown.find('\n', at)) != std::string::npos; at += 2)
      shown.replace(at, 1, "\\n");
    std::printf("%8u  %s\n", response->ids(i), shown.c_str());
  }
  std::fprintf(stderr, "%d tokens\n", response->ids_size());
  return 0;
}

}  // namespace

void AddInfoCommand(CLI::App& app, int& exit_code) {
  auto flags = std::make_shared<InfoFlags>();
  CLI::App* command = app.add_subcommand("info", "Show what a server serves and how busy it is");
  AddConnectionFlags(*command, Servers::kOne, flags->connection);
  AddRetryFlag(*command, flags->connection);
  command->add_flag("--json", flags->json, "One JSON object: {model, load}, the API's messages");
  command->callback([flags, &exit_code] { exit_code = Info(*flags); });
}

void AddHealthCommand(CLI::App& app, int& exit_code) {
  auto flags = std::make_shared<HealthFlags>();
  CLI::App* command =
      app.add_subcommand("health", "Exit with 0 if the server is ready to serve, with 1 otherwise");
  flags->connection.timeout_seconds = 5;  // a script that asks wants an answer
  AddConnectionFlags(*command, Servers::kOne, flags->connection);
  command->add_option("--service", flags->service, "Service to ask for; unset: the whole server")
      ->check([](const std::string& name) {
        return std::string(CheckUtf8("the service", name).message());
      });
  command->add_option("--wait", flags->wait_seconds, "Seconds to keep asking until it is ready")
      ->check(Number({0, 1e6F}))
      ->capture_default_str();
  command->callback([flags, &exit_code] { exit_code = Health(*flags); });
}

void AddTokenizeCommand(CLI::App& app, int& exit_code) {
  auto flags = std::make_shared<TokenizeFlags>();
  CLI::App* command =
      app.add_subcommand("tokenize", "Show how the server's tokenizer splits a text");
  AddConnectionFlags(*command, Servers::kSeveral, flags->connection);
  AddRetryFlag(*command, flags->connection);
  CLI::Option* text =
      command->add_option("text", flags->text, "The text; without it --file, or standard input");
  command->add_option("--file", flags->file, "File with the text; - is standard input")
      ->excludes(text);
  command->add_flag("--no_special_tokens", flags->no_special,
                    "Leave out the template's special tokens");
  command->add_flag("--json", flags->json, "One JSON object with ids and texts");
  command->callback([flags, text, &exit_code] {
    flags->has_text = text->count() > 0;
    exit_code = Tokenize(*flags);
  });
}

}  // namespace recurve::client
