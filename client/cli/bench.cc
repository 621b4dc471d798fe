// SPDX-License-Identifier: Apache-2.0
// `recurve bench`: closed-loop load against a server, and what its clients experienced.
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <cstdio>
#include <limits>
#include <memory>
#include <random>

#include "absl/strings/str_split.h"
#include "client/cli/arguments.h"
#include "client/cli/bench_report.h"
#include "client/cli/closed_loop.h"
#include "client/cli/commands.h"
#include "client/cli/prompt_text.h"
#include "client/cli/report.h"
#include "client/cli/request_flags.h"

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
  if (!make_request.ok()) return ReportError(make_request.status());
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
  const std::string text =
      flags.format == "json" ? ReportJson(*info, report) : ReportText(server, *info, report);
  std::fputs(text.c_str(), stdout);
  return report.all_ok() ? 0 : 1;
}

}  // namespace

void AddBenchCommand(CLI::App& app, int& exit_code) {
  auto flags = std::make_shared<BenchFlags>();
  flags->sampling.max_tokens = 128;
  CLI::App* command =
      app.add_subcommand("bench", "Load a server and report what its clients experienced");
  command->footer(DefinitionsText());
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
      ->transform(WholeNumber(std::numeric_limits<uint64_t>::max()))
      ->capture_default_str()
      ->group(kLoad);
  AddSamplingFlags(*command, flags->sampling);
  command->add_option("--format", flags->format, "text: a table; json: one object")
      ->check(CLI::IsMember({"text", "json"}))
      ->capture_default_str()
      ->group("Output");
  AddConnectionFlags(*command, flags->connection);
  AddRetryFlag(*command, flags->connection);
  AddRequestIdFlag(*command, flags->connection, "Name of all the requests in the server's log");
  command->callback([flags, &exit_code] { exit_code = Bench(*flags); });
}

}  // namespace recurve::client
