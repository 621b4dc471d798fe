// SPDX-License-Identifier: Apache-2.0
#include "client/cli/request_flags.h"

#include <CLI/CLI.hpp>
#include <chrono>
#include <cstdlib>
#include <functional>
#include <limits>
#include <map>
#include <set>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "client/cli/arguments.h"
#include "client/cli/prompt_text.h"
#include "client/server_name.h"

namespace recurve::client {
namespace {

constexpr char kConnection[] = "Connection";
constexpr uint64_t kMost32 = std::numeric_limits<uint32_t>::max();
constexpr uint64_t kMost64 = std::numeric_limits<uint64_t>::max();

const std::map<std::string, Balance> kBalances = {{"round_robin", Balance::kRoundRobin},
                                                  {"least_outstanding", Balance::kLeastOutstanding},
                                                  {"prefix_affinity", Balance::kPrefixAffinity}};

// What is wrong with a list of servers; empty if nothing is.
std::string CheckServers(Servers servers, const std::string& text) {
  const std::vector<std::string> names = absl::StrSplit(text, ',');
  if (servers == Servers::kOne && names.size() > 1) {
    return absl::StrCat("'", text, "' names ", names.size(),
                        " servers; this command asks one of them");
  }
  std::set<std::string> seen;
  for (const std::string& name : names) {
    if (name.empty()) return absl::StrCat("'", text, "' has an empty name among its servers");
    if (!seen.insert(name).second) return absl::StrCat("'", text, "' names ", name, " twice");
  }
  return "";
}

constexpr char kStop[] = "When to stop";

void AddStopFlags(CLI::App& app, SamplingFlags& flags) {
  app.add_option("--min_tokens", flags.min_tokens,
                 "Neither stop id nor stop text ends the completion before this many tokens")
      ->transform(WholeNumber(0, kMost32))
      ->group(kStop);
  // Each occurrence by itself: CLI11 fills a vector with what follows, a prompt for instance, and
  // takes [a,b] apart.
  app.add_option_function<std::string>(
         "--stop", [&flags](const std::string& text) { flags.stop_strings.push_back(text); },
         "A text that ends the completion; may be given repeatedly")
      ->trigger_on_parse()
      ->check([](const std::string& text) {
        return std::string(CheckUtf8("the stop string", text).message());
      })
      ->group(kStop);
  app.add_option("--stop_id", flags.stop_token_ids,
                 "A token id that ends the completion; may be given repeatedly")
      ->allow_extra_args(false)
      ->transform(WholeNumber(0, kMost32))
      ->group(kStop);
  app.add_flag("--include_stop", flags.include_stop_string, "Show the stop text that matched")
      ->group(kStop);
  app.add_flag("--ignore_eos", flags.ignore_eos, "Go on after the model's end of sequence")
      ->group(kStop);
  app.add_option("--time_limit_ms", flags.time_limit_ms,
                 "End well, with the text so far, after this time")
      ->transform(WholeNumber(0, kMost32))
      ->group(kStop);
}

// A flag that names a file, which is read at once.
void AddFileFlag(CLI::App& app, const std::string& flag, std::string& text, const std::string& help,
                 const std::function<absl::StatusOr<std::string>(const std::string&)>& read) {
  app.add_option_function<std::string>(
         flag,
         [flag, &text, read](const std::string& path) {
           auto file = read(path);
           if (!file.ok()) throw CLI::ValidationError(flag, std::string(file.status().message()));
           text = *std::move(file);
         },
         help)
      ->type_name("FILE")
      ->group(kConnection);
}

// Takes the environment's token where no flag gives one. Throws for what does not go together.
void CompleteCredentials(ConnectionFlags& flags) {
  Credentials& credentials = flags.client.credentials;
  const char* const token = std::getenv("RECURVE_TOKEN");
  if (credentials.token.empty() && token != nullptr) credentials.token = token;
  const absl::Status status = CheckCredentials(credentials, TransportOf(flags.server));
  if (!status.ok()) {
    throw CLI::ParseError(std::string(status.message()), CLI::ExitCodes::ValidationError);
  }
}

void AddCredentialFlags(CLI::App& app, ConnectionFlags& flags) {
  Credentials& credentials = flags.client.credentials;
  AddFileFlag(app, "--tls_ca", credentials.tls_ca,
              "Speak TLS with a server whose certificate is of these authorities (PEM)",
              &ReadPemFile);
  AddFileFlag(app, "--tls_cert", credentials.tls_cert,
              "This client's certificate (PEM), for servers that ask for one", &ReadPemFile);
  AddFileFlag(app, "--tls_key", credentials.tls_key, "The key of --tls_cert (PEM)", &ReadPemFile);
  AddFileFlag(
      app, "--token_file", credentials.token,
      "Token ID.SECRET for servers that ask for one, or the API key of an HTTP server; else that "
      "of RECURVE_TOKEN",
      &ReadTokenFile);
  app.parse_complete_callback([&flags] { CompleteCredentials(flags); });
}

}  // namespace

bool ConnectionFlags::is_one_server() const {
  return server.find(',') == std::string::npos && server.find("dns:") != 0;
}

ClientOptions ConnectionFlags::options() const {
  ClientOptions options = client;
  options.servers = absl::StrSplit(server, ',');
  options.balance = kBalances.at(balance);
  return options;
}

CallOptions ConnectionFlags::call() const {
  CallOptions options;
  if (timeout_seconds > 0) {
    options.timeout = std::chrono::ceil<std::chrono::milliseconds>(
        std::chrono::duration<double>(timeout_seconds));
  }
  options.request_id = request_id;
  options.resume = resume;
  return options;
}

void AddConnectionFlags(CLI::App& app, Servers servers, ConnectionFlags& flags) {
  std::string help =
      "Server as HOST:PORT, or unix:PATH; beyond this machine through the proxy of grpc_proxy, "
      "https_proxy or http_proxy, where one is set";
  if (servers == Servers::kSeveral) {
    help +=
        ". Several replicas separated by commas, or as dns:///HOST:PORT, which stands for every "
        "address of the name";
  }
  app.add_option("--server", flags.server, help)
      ->envname("RECURVE_SERVER")
      ->check([servers](const std::string& text) { return CheckServers(servers, text); })
      ->capture_default_str()
      ->group(kConnection);
  app.add_option("--timeout", flags.timeout_seconds,
                 "Seconds after which a call ends with DEADLINE_EXCEEDED; 0: none")
      ->check(Number({0, 1e6F}))
      ->capture_default_str()
      ->group(kConnection);
  AddCredentialFlags(app, flags);
}

void AddRetryFlag(CLI::App& app, ConnectionFlags& flags) {
  app.add_option("--attempts", flags.client.attempts,
                 "Tries in all when a server is full, not ready or lost: at another one, or after "
                 "the time that it says")
      ->transform(WholeNumber(1, 100))
      ->capture_default_str()
      ->group(kConnection);
}

void AddBalanceFlags(CLI::App& app, ConnectionFlags& flags) {
  app.add_option("--balance", flags.balance,
                 "Which of several servers a request goes to: round_robin, least_outstanding, or "
                 "prefix_affinity, which keeps prompts together that begin alike")
      ->check(CLI::IsMember(kBalances))
      ->capture_default_str()
      ->group(kConnection);
  app.add_option(
         "--prefix_tokens", flags.client.prefix_tokens,
         "Tokens (of a text, four bytes each) that prompts must begin with alike to be kept "
         "together; sent as a hash in x-recurve-prefix")
      ->transform(WholeNumber(1, kMost32))
      ->capture_default_str()
      ->group(kConnection);
  app.add_flag("--resume", flags.resume,
               "Go on at another server, exactly, when one is lost in mid-stream; needs --attempts "
               "above 1")
      ->group(kConnection);
}

void AddRequestIdFlag(CLI::App& app, ConnectionFlags& flags, const std::string& help) {
  app.add_option("--request_id", flags.request_id, help)->group(kConnection);
}

void AddMaxTokensFlag(CLI::App& app, SamplingFlags& flags) {
  app.add_option("--max_tokens", flags.max_tokens, "Most new tokens")
      ->transform(WholeNumber(0, kMost32))
      ->group(kStop);
}

void AddSamplingFlags(CLI::App& app, SamplingFlags& flags) {
  constexpr char kSampling[] = "Sampling (unset: greedy)";
  app.add_option("--temperature", flags.temperature,
                 "0 picks the most likely token, 1 samples as trained")
      ->check(Number({0, 100}))
      ->group(kSampling);
  app.add_option("--top_k", flags.top_k, "Sample among this many most likely tokens")
      ->transform(WholeNumber(0, kMost32))
      ->group(kSampling);
  app.add_option("--top_p", flags.top_p,
                 "Sample among the most likely tokens of this total probability")
      ->check(Number({.least = 0, .most = 1, .without_least = true}))
      ->group(kSampling);
  app.add_option("--min_p", flags.min_p,
                 "Sample among tokens at least this share as likely as the most likely one")
      ->check(Number({.least = 0, .most = 1, .without_most = true}))
      ->group(kSampling);
  app.add_option("--repetition_penalty", flags.repetition_penalty,
                 "Divide the logits of tokens seen in prompt or output; 1 is off")
      ->check(Number({.least = 0, .most = 100, .without_least = true}))
      ->group(kSampling);
  app.add_option("--presence_penalty", flags.presence_penalty,
                 "Subtract from the logits of generated tokens")
      ->check(Number({-100, 100}))
      ->group(kSampling);
  app.add_option("--frequency_penalty", flags.frequency_penalty,
                 "Subtract from the logits of generated tokens, for each time")
      ->check(Number({-100, 100}))
      ->group(kSampling);
  app.add_option("--seed", flags.seed, "The same seed gives the same text")
      ->transform(WholeNumber(0, kMost64))
      ->group(kSampling);

  AddStopFlags(app, flags);

  constexpr char kRecursion[] = "Recursion";
  app.add_option("--max_recursions", flags.max_recursions, "Tokens recur at most this often")
      ->transform(WholeNumber(0, kMost32))
      ->group(kRecursion);
  app.add_option("--router_threshold", flags.router_threshold,
                 "Probability from which a token recurs once more: 0 always, 1 never")
      ->check(Number({0, 1}))
      ->group(kRecursion);
  app.add_option("--adaptive_min", flags.adaptive_min,
                 "Let an overloaded server lower max_recursions as far as this; unset: never")
      ->transform(WholeNumber(0, kMost32))
      ->group(kRecursion);
}

void SamplingFlags::Fill(v1::GenerateRequest& request) const {
  v1::SamplingParams& sampling = *request.mutable_sampling();
  if (temperature) sampling.set_temperature(*temperature);
  if (top_p) sampling.set_top_p(*top_p);
  if (min_p) sampling.set_min_p(*min_p);
  if (top_k) sampling.set_top_k(*top_k);
  if (repetition_penalty) sampling.set_repetition_penalty(*repetition_penalty);
  if (presence_penalty) sampling.set_presence_penalty(*presence_penalty);
  if (frequency_penalty) sampling.set_frequency_penalty(*frequency_penalty);
  if (seed) sampling.set_seed(*seed);

  v1::StopParams& stop = *request.mutable_stop();
  if (max_tokens) stop.set_max_tokens(*max_tokens);
  if (min_tokens) stop.set_min_tokens(*min_tokens);
  for (const std::string& text : stop_strings) stop.add_stop_strings(text);
  for (const uint32_t id : stop_token_ids) stop.add_stop_token_ids(id);
  if (include_stop_string) stop.set_include_stop_string(true);
  if (ignore_eos) stop.set_ignore_eos(true);
  if (time_limit_ms) request.set_time_limit_ms(*time_limit_ms);

  if (max_recursions) request.mutable_recursion()->set_max_recursions(*max_recursions);
  if (router_threshold) request.mutable_recursion()->set_router_threshold(*router_threshold);
  if (adaptive_min) request.mutable_recursion()->set_adaptive_min(*adaptive_min);
}

}  // namespace recurve::client
