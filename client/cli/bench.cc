// SPDX-License-Identifier: Apache-2.0
// `recurve bench`: closed-loop load against a server, and what its clients experienced.
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <cstdio>
#include <map>
#include <memory>
#include <nlohmann/json.hpp>
#include <random>

#include "absl/strings/str_split.h"
#include "client/cli/closed_loop.h"
#include "client/cli/commands.h"
#include "client/cli/report.h"
#include "client/cli/request_flags.h"
#include "client/cli/statistics.h"

namespace recurve::client {
namespace {

struct BenchFlags {
  ConnectionFlags connection;
  SamplingFlags sampling;
  uint32_t streams = 8;
  uint32_t requests = 64;
  uint32_t warmup = 8;
  std::string prompts;
  uint32_t prompt_tokens = 128;
  uint64_t prompt_seed = 1;
  std::string format = "text";
};

constexpr char kDefinitions[] =
    "TTFT: from sending a request to its first message with tokens. ITL: for each token after the\n"
    "first message, the time since the message before over the tokens of its own message. TPOT: a\n"
    "request's time from first to last token over its tokens less one. E2E: from sending to the\n"
    "stream's end. Tokens/s: generated tokens of all requests over the whole time. Percentiles "
    "are\n"
    "of the nearest rank; latencies are of requests that ended with OK; warm-up is not counted.\n";

struct Report {
  uint32_t streams = 0;
  uint64_t requests = 0, prompt_tokens = 0, generated_tokens = 0;
  double seconds = 0, mean_depth = 0;
  std::map<std::string, uint64_t> by_status;
  Summary ttft, itl, tpot, e2e;

  bool all_ok() const { return by_status.size() == 1 && by_status.contains("OK"); }
};

Report MakeReport(uint32_t streams, const LoadResult& load) {
  Report report;
  report.streams = streams;
  report.requests = load.records.size();
  report.seconds = load.seconds;
  std::vector<double> ttft, itl, tpot, e2e;
  double depth_sum = 0;
  for (const RequestRecord& record : load.records) {
    ++report.by_status[absl::StatusCodeToString(record.status.code())];
    report.prompt_tokens += record.prompt_tokens;
    report.generated_tokens += record.generated_tokens;
    depth_sum += record.depth_sum;
    if (!record.status.ok()) continue;
    e2e.push_back(record.end_to_end);
    if (record.time_to_first_token > 0) ttft.push_back(record.time_to_first_token);
    itl.insert(itl.end(), record.inter_token.begin(), record.inter_token.end());
    if (!record.inter_token.empty()) {
      double decode = 0;
      for (const double gap : record.inter_token) decode += gap;
      tpot.push_back(decode / static_cast<double>(record.inter_token.size()));
    }
  }
  if (report.generated_tokens > 0) {
    report.mean_depth = depth_sum / static_cast<double>(report.generated_tokens);
  }
  report.ttft = Summarize(std::move(ttft));
  report.itl = Summarize(std::move(itl));
  report.tpot = Summarize(std::move(tpot));
  report.e2e = Summarize(std::move(e2e));
  return report;
}

void PrintRow(const char* name, const Summary& summary) {
  std::printf("%-9s %9.2f %9.2f %9.2f %9.2f %9.2f %9.2f %9.2f\n", name, summary.mean * 1e3,
              summary.min * 1e3, summary.p50 * 1e3, summary.p90 * 1e3, summary.p95 * 1e3,
              summary.p99 * 1e3, summary.max * 1e3);
}

void PrintText(const BenchFlags& flags, const v1::GetModelInfoResponse& info,
               const Report& report) {
  std::printf("server     %s, model %s\n", flags.connection.client.server.c_str(),
              info.model_name().c_str());
  std::printf("load       %lu requests over %u streams in %.2f s\n",
              static_cast<unsigned long>(report.requests), report.streams, report.seconds);
  std::printf("status    ");
  for (const auto& [code, count] : report.by_status) {
    std::printf(" %s %lu", code.c_str(), static_cast<unsigned long>(count));
  }
  const double seconds = std::max(report.seconds, 1e-9);
  std::printf("\nthroughput %.1f generated tokens/s, %.1f prompt tokens/s, %.2f requests/s\n",
              static_cast<double>(report.generated_tokens) / seconds,
              static_cast<double>(report.prompt_tokens) / seconds,
              static_cast<double>(report.requests) / seconds);
  std::printf("mean depth %.3f of %u recursions\n\n", report.mean_depth, info.num_recursions());
  std::printf("%-9s %9s %9s %9s %9s %9s %9s %9s\n", "ms", "mean", "min", "p50", "p90", "p95", "p99",
              "max");
  PrintRow("TTFT", report.ttft);
  PrintRow("ITL", report.itl);
  PrintRow("TPOT", report.tpot);
  PrintRow("E2E", report.e2e);
  std::printf("\n%s", kDefinitions);
}

nlohmann::json ToJson(const Summary& summary) {
  return {{"count", summary.count}, {"mean", summary.mean}, {"min", summary.min},
          {"p50", summary.p50},     {"p90", summary.p90},   {"p95", summary.p95},
          {"p99", summary.p99},     {"max", summary.max}};
}

void PrintJson(const v1::GetModelInfoResponse& info, const Report& report) {
  const double seconds = std::max(report.seconds, 1e-9);
  const nlohmann::json json = {
      {"model", info.model_name()},
      {"streams", report.streams},
      {"requests", report.requests},
      {"requests_by_status", report.by_status},
      {"seconds", report.seconds},
      {"prompt_tokens", report.prompt_tokens},
      {"generated_tokens", report.generated_tokens},
      {"generated_tokens_per_second", static_cast<double>(report.generated_tokens) / seconds},
      {"requests_per_second", static_cast<double>(report.requests) / seconds},
      {"mean_depth", report.mean_depth},
      {"time_to_first_token_seconds", ToJson(report.ttft)},
      {"inter_token_latency_seconds", ToJson(report.itl)},
      {"time_per_output_token_seconds", ToJson(report.tpot)},
      {"end_to_end_seconds", ToJson(report.e2e)},
  };
  std::printf("%s\n", json.dump().c_str());
}

// Gives the i-th request: a line of the prompts file, or random ids.
class RequestMaker {
 public:
  static absl::StatusOr<RequestMaker> Create(const BenchFlags& flags, uint32_t vocab_size) {
    RequestMaker maker(flags, vocab_size);
    if (flags.prompts.empty()) return maker;
    auto text = ReadText(flags.prompts);
    if (!text.ok()) return text.status();
    maker.prompts_ = absl::StrSplit(*text, '\n', absl::SkipEmpty());
    if (maker.prompts_.empty()) {
      return absl::InvalidArgumentError("--prompts: the file '" + flags.prompts + "' has no lines");
    }
    return maker;
  }

  v1::GenerateRequest operator()(uint32_t index) const {
    v1::GenerateRequest request;
    flags_->sampling.Fill(request);
    if (!prompts_.empty()) {
      request.set_text(prompts_[index % prompts_.size()]);
      return request;
    }
    std::mt19937_64 random(flags_->prompt_seed * 1000003 + index);
    for (uint32_t i = 0; i < flags_->prompt_tokens; ++i) {
      request.mutable_tokens()->add_ids(static_cast<uint32_t>(random() % vocab_size_));
    }
    request.mutable_stop()->set_ignore_eos(true);  // the lengths are the flags'
    return request;
  }

 private:
  RequestMaker(const BenchFlags& flags, uint32_t vocab_size)
      : flags_(&flags), vocab_size_(vocab_size) {}

  const BenchFlags* flags_;
  uint32_t vocab_size_;
  std::vector<std::string> prompts_;
};

int Bench(const BenchFlags& flags) {
  const std::string& server = flags.connection.client.server;
  Client client(flags.connection.client);
  const auto info = client.GetModelInfo(flags.connection.call());
  if (!info.ok()) return ReportError(server, info.status());
  const auto make_request = RequestMaker::Create(flags, info->vocab_size());
  if (!make_request.ok()) {
    std::fprintf(stderr, "recurve: %s\n", make_request.status().ToString().c_str());
    return 1;
  }
  const bool show_progress = isatty(STDERR_FILENO) != 0;
  const auto run = [&](const char* what, uint32_t requests, uint32_t offset) {
    const auto progress = [&](uint32_t ended) {
      if (show_progress) std::fprintf(stderr, "\r%s %u/%u requests", what, ended, requests);
    };
    LoadResult load = RunClosedLoop(
        client, flags.connection.call(), flags.streams, requests,
        [&](uint32_t i) { return (*make_request)(i + offset); }, progress);
    if (show_progress) std::fprintf(stderr, "\r\x1b[K");
    return load;
  };
  if (flags.warmup > 0) run("warm-up", flags.warmup, 0);
  const Report report = MakeReport(flags.streams, run("measured", flags.requests, flags.warmup));
  if (flags.format == "json") {
    PrintJson(*info, report);
  } else {
    PrintText(flags, *info, report);
  }
  return report.all_ok() ? 0 : 1;
}

}  // namespace

void AddBenchCommand(CLI::App& app, int& exit_code) {
  auto flags = std::make_shared<BenchFlags>();
  flags->sampling.max_tokens = 128;
  CLI::App* command =
      app.add_subcommand("bench", "Load a server and report what its clients experienced");
  command->footer(kDefinitions);
  constexpr char kLoad[] = "Load";
  command
      ->add_option("--streams", flags->streams,
                   "Concurrent streams; each starts its next request when one ends")
      ->check(CLI::Range(1, 10000))
      ->capture_default_str()
      ->group(kLoad);
  command->add_option("--requests", flags->requests, "Measured requests")
      ->check(CLI::Range(1, 100000000))
      ->capture_default_str()
      ->group(kLoad);
  command->add_option("--warmup", flags->warmup, "Requests before, not measured")
      ->check(CLI::Range(0, 100000000))
      ->capture_default_str()
      ->group(kLoad);
  command
      ->add_option("--prompts", flags->prompts,
                   "File with a prompt a line; without it: random token ids")
      ->group(kLoad);
  command->add_option("--prompt_tokens", flags->prompt_tokens, "Length of random prompts")
      ->check(CLI::Range(1, 10000000))
      ->capture_default_str()
      ->group(kLoad);
  command->add_option("--prompt_seed", flags->prompt_seed, "Seed of random prompts")
      ->capture_default_str()
      ->group(kLoad);
  AddSamplingFlags(*command, flags->sampling);
  command->add_option("--format", flags->format, "text: a table; json: one object")
      ->check(CLI::IsMember({"text", "json"}))
      ->capture_default_str()
      ->group("Output");
  AddConnectionFlags(*command, flags->connection);
  command->callback([flags, &exit_code] { exit_code = Bench(*flags); });
}

}  // namespace recurve::client
