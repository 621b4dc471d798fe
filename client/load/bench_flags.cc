// SPDX-License-Identifier: Apache-2.0
#include "client/load/bench_flags.h"

#include <CLI/CLI.hpp>
#include <limits>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "client/cli/arguments.h"
#include "client/load/requests_file.h"

namespace recurve::client {
namespace {

constexpr uint32_t kMost32 = std::numeric_limits<uint32_t>::max();
constexpr uint64_t kMost64 = std::numeric_limits<uint64_t>::max();
constexpr uint64_t kMostInFlight = 10000;
constexpr double kLeastRate = 1e-4, kMostRate = 1e6;  // requests a second

// A flag whose text is parsed at once. The error of `parse` says what is wrong with the value.
template <typename Value>
CLI::Option* AddParsed(CLI::App& app, const std::string& name, Value& value,
                       absl::StatusOr<Value> (*parse)(const std::string&),
                       const std::string& help) {
  const auto take = [name, &value, parse](const CLI::results_t& words) {
    auto parsed = parse(words.front());
    if (!parsed.ok()) throw CLI::ValidationError(name, std::string(parsed.status().message()));
    value = *std::move(parsed);
    return true;
  };
  return app.add_option(name, take, help)->type_name("TEXT");
}

absl::StatusOr<nlohmann::json> ParseExtraBody(const std::string& text) {
  auto json = nlohmann::json::parse(text, nullptr, /*allow_exceptions=*/false);
  if (json.is_object()) return json;
  return absl::InvalidArgumentError(
      absl::StrCat("'", text, "' is not possible: expected a JSON object"));
}

void AddTargetFlags(CLI::App& app, TargetFlags& flags) {
  constexpr char kTarget[] = "Protocol";
  app.add_option("--protocol", flags.protocol,
                 "recurve: recurve.v1; oip: Open Inference Protocol over gRPC, with the tensors of "
                 "Triton's vLLM backend; openai: /v1/completions over HTTP. Unset: openai if "
                 "--server is http://HOST:PORT or https://HOST:PORT, else recurve. With https:// "
                 "the system's authorities are trusted, unless --tls_ca names others")
      ->check(CLI::IsMember({"recurve", "oip", "openai"}))
      ->group(kTarget);
  app.add_option("--model", flags.model,
                 "Name of the model, for oip and openai; openai unset: the first of /v1/models")
      ->group(kTarget);
  app.add_option("--vocab_size", flags.vocab_size,
                 "Random prompts of openai are token ids below this, exactly as long as asked for; "
                 "unset: common words, about a token each")
      ->transform(WholeNumber(1, kMost32))
      ->group(kTarget);
  AddParsed<nlohmann::json>(app, "--extra_body", flags.extra_body, &ParseExtraBody,
                            "JSON object merged into each request's body (openai) or "
                            "sampling_parameters (oip); null takes a member away")
      ->group(kTarget);
}

void AddArrivalFlags(CLI::App& app, BenchFlags& flags) {
  constexpr char kArrivals[] = "Arrivals";
  CLI::Option* streams =
      AddParsed<std::vector<uint32_t>>(
          app, "--streams", flags.streams, &ParseStreams,
          "Closed loop: so many concurrent streams; each starts its next request when one ends. "
          "Several numbers, as 1,2,4, are a sweep")
          ->default_str("8")
          ->group(kArrivals);
  CLI::Option* rate =
      AddParsed<std::vector<double>>(
          app, "--rate", flags.rates, &ParseRates,
          "Open loop: so many requests a second, however fast they are answered. Several numbers "
          "are a sweep")
          ->excludes(streams)
          ->group(kArrivals);
  app.add_flag("--find_rate", flags.find_rate,
               "Search for the highest rate that keeps --slo, beginning with --rate")
      ->needs(rate)
      ->group(kArrivals);
  app.add_option("--arrivals", flags.arrivals,
                 "Times between the starts of --rate: poisson; constant; gamma, see --burstiness")
      ->check(CLI::IsMember({"poisson", "constant", "gamma"}))
      ->needs(rate)
      ->capture_default_str()
      ->group(kArrivals);
  app.add_option("--burstiness", flags.burstiness,
                 "Shape of --arrivals=gamma: 1 is poisson, less comes in bursts, more evenly")
      ->check(Number({.least = 1e-3F, .most = 1e6F}))
      ->needs(rate)
      ->group(kArrivals);
  app.add_option("--trace", flags.trace,
                 "Open loop: starts of a file that has a JSON object a line, with `timestamp` "
                 "in milliseconds and maybe `input_length` and `output_length` in tokens")
      ->type_name("FILE")
      ->excludes(streams)
      ->excludes(rate)
      ->group(kArrivals);
  app.add_option("--max_in_flight", flags.max_in_flight,
                 "Requests of an open loop that are on their way at once; further ones wait in "
                 "the client, which counts as latency")
      ->transform(WholeNumber(1, kMostInFlight))
      ->excludes(streams)
      ->capture_default_str()
      ->group(kArrivals);
  app.add_option("--load_seed", flags.load_seed,
                 "The same seed gives the same arrivals, lengths and faults")
      ->transform(WholeNumber(0, kMost64))
      ->capture_default_str()
      ->group(kArrivals);
}

void AddWindowFlags(CLI::App& app, BenchFlags& flags) {
  constexpr char kWindow[] = "What is measured";
  CLI::Option* requests =
      app.add_option("--requests", flags.requests,
                     absl::StrCat("Measured requests; unset: ", kDefaultRequests,
                                  ", or all of --trace, or those of --duration"))
          ->transform(WholeNumber(1, kMostRequests))
          ->group(kWindow);
  AddParsed<std::optional<double>>(
      app, "--duration", flags.duration,
      [](const std::string& text) -> absl::StatusOr<std::optional<double>> {
        return ParseSeconds(text);
      },
      "Measure the requests that start in such a time, as 30s or 5m, and wait for their ends")
      ->excludes(requests)
      ->group(kWindow);
  AddParsed<Extent>(app, "--warmup", flags.warmup, &ParseExtent,
                    "Load before, not measured: requests, as 8, or a time, as 10s; the measured "
                    "part follows without a pause")
      ->default_str("8")
      ->group(kWindow);
}

void AddFaultFlags(CLI::App& app, BenchFlags& flags) {
  AddParsed<Faults>(app, "--faults", flags.faults, &Faults::Parse,
                    "Requests that misbehave, which the figures leave out: cancel:SHARE are "
                    "cancelled on the way, deadline:SHARE:TIME have a deadline of at most TIME, "
                    "slow:SHARE:TIME read a message TIME after the one before; as "
                    "cancel:0.1,deadline:0.05:2s,slow:0.1:500ms")
      ->group("Faults");
}

void AddSloFlags(CLI::App& app, BenchFlags& flags) {
  constexpr char kSlo[] = "Objective";
  CLI::Option* slo =
      AddParsed<std::optional<Slo>>(
          app, "--slo", flags.slo,
          [](const std::string& text) -> absl::StatusOr<std::optional<Slo>> {
            return Slo::Parse(text);
          },
          "What a good request keeps, in milliseconds: any of ttft, itl, tpot and e2e, as "
          "ttft:200,itl:50. The exit code is 3 if too few are good")
          ->group(kSlo);
  app.add_option("--slo_share", flags.slo_share, "Share of the requests that must be good")
      ->check(Number({.least = 0, .most = 1, .without_least = true}))
      ->needs(slo)
      ->capture_default_str()
      ->group(kSlo);
}

void AddPromptFlags(CLI::App& app, BenchFlags& flags) {
  constexpr char kPrompts[] = "Prompts and lengths";
  CLI::Option* prompts =
      app.add_option("--prompts", flags.prompts,
                     "File with a prompt a line; without it: random token ids. Its prompts come in "
                     "the file's order, again and again, so that the server may find them cached")
          ->type_name("FILE")
          ->group(kPrompts);
  CLI::Option* sharegpt =
      app.add_option("--sharegpt", flags.sharegpt,
                     "File of conversations in ShareGPT's form: first prompts, in an order of "
                     "--load_seed, with answers as long as those of the file")
          ->type_name("FILE")
          ->excludes(prompts)
          ->excludes(app.get_option("--trace"))
          ->group(kPrompts);
  AddParsed<Length>(app, "--prompt_tokens", flags.prompt_tokens, &Length::Parse,
                    "Length of random prompts: a number, uniform:LEAST:MOST, normal:MEAN:STDDEV or "
                    "lognormal:MEAN:STDDEV")
      ->excludes(prompts)
      ->excludes(sharegpt)
      ->default_str(flags.prompt_tokens.text())
      ->group(kPrompts);
  AddParsed<Length>(app, "--max_tokens", flags.max_tokens, &Length::Parse,
                    "Most new tokens of a request, in the same forms; random prompts get exactly "
                    "as many")
      ->excludes(sharegpt)
      ->default_str(flags.max_tokens.text())
      ->group(kPrompts);
  app.add_option("--prompt_seed", flags.prompt_seed,
                 "Random prompts of this seed, the same in every run, so that the server may find "
                 "them cached; unset: others in every run. The report tells the seed")
      ->transform(WholeNumber(0, kMost64))
      ->excludes(prompts)
      ->excludes(sharegpt)
      ->group(kPrompts);
}

}  // namespace

absl::StatusOr<std::vector<uint32_t>> ParseStreams(const std::string& text) {
  std::vector<uint32_t> numbers;
  for (const std::string& word : std::vector<std::string>(absl::StrSplit(text, ','))) {
    uint32_t number = 0;
    if (!absl::SimpleAtoi(word, &number) || number < 1 || number > kMostInFlight) {
      return absl::InvalidArgumentError(
          absl::StrCat("'", word, "' is not possible: expected a whole number from 1 to ",
                       kMostInFlight, ", or several with commas between them"));
    }
    numbers.push_back(number);
  }
  return numbers;
}

absl::StatusOr<std::vector<double>> ParseRates(const std::string& text) {
  std::vector<double> numbers;
  for (const std::string& word : std::vector<std::string>(absl::StrSplit(text, ','))) {
    double number = 0;
    if (!absl::SimpleAtod(word, &number) || !(number >= kLeastRate) || number > kMostRate) {
      return absl::InvalidArgumentError(
          absl::StrCat("'", word, "' is not possible: expected a number from ", kLeastRate, " to ",
                       kMostRate, ", or several with commas between them"));
    }
    numbers.push_back(number);
  }
  return numbers;
}

absl::Status CheckBenchFlags(const BenchFlags& flags) {
  const bool is_gamma = flags.arrivals == "gamma";
  if (is_gamma && !flags.burstiness) {
    return absl::InvalidArgumentError("--arrivals=gamma needs --burstiness");
  }
  if (!is_gamma && flags.burstiness) {
    return absl::InvalidArgumentError(absl::StrCat(
        "--burstiness is of --arrivals=gamma alone, and --arrivals is ", flags.arrivals));
  }
  if (flags.find_rate && !flags.slo) return absl::InvalidArgumentError("--find_rate needs --slo");
  if (flags.find_rate && flags.rates.size() > 1) {
    return absl::InvalidArgumentError("--find_rate begins with one --rate, not with a list");
  }
  const bool has_points = flags.find_rate || flags.rates.size() > 1 || flags.streams.size() > 1;
  if (has_points && !(flags.requests_file + flags.html_file).empty()) {
    return absl::InvalidArgumentError(
        absl::StrCat(flags.requests_file.empty() ? "--html_file" : "--requests_file",
                     " is of one load, not of a sweep or search"));
  }
  return absl::OkStatus();
}

void AddBenchFlags(CLI::App& app, BenchFlags& flags) {
  AddTargetFlags(app, flags.target);
  AddArrivalFlags(app, flags);
  AddWindowFlags(app, flags);
  AddFaultFlags(app, flags);
  AddSloFlags(app, flags);
  AddPromptFlags(app, flags);
  AddSamplingFlags(app, flags.sampling);
  app.add_option("--format", flags.format,
                 "text: a table; json: one object; csv: a row for each load")
      ->check(CLI::IsMember({"text", "json", "csv"}))
      ->capture_default_str()
      ->group("Output");
  app.add_flag("--quiet", flags.quiet,
               "No progress on the terminal, and a text without histograms and definitions")
      ->group("Output");
  app.add_flag("--no_color", flags.no_color,
               "No colours on the terminal; nor are there any where NO_COLOR is set")
      ->group("Output");
  app.add_option("--requests_file", flags.requests_file,
                 "Write every request there: .jsonl, an object a line with the times of all "
                 "messages; .csv, a row a request")
      ->type_name("FILE")
      ->check(
          [](const std::string& path) { return std::string(CheckRequestsFile(path).message()); })
      ->group("Output");
  app.add_option("--html_file", flags.html_file,
                 "Write the report with plots there, one page that needs nothing else")
      ->type_name("FILE")
      ->group("Output");
  AddConnectionFlags(app, Servers::kSeveral, flags.connection);
  AddRetryFlag(app, flags.connection);
  AddBalanceFlags(app, flags.connection);
  AddRequestIdFlag(app, flags.connection, "Name of all the requests in the server's log");
}

}  // namespace recurve::client
