// SPDX-License-Identifier: Apache-2.0
// `recurve bench`: closed-loop load against a server, and what its clients experienced.
#include "client/load/bench.h"

#include <unistd.h>

#include <CLI/CLI.hpp>
#include <cstdio>
#include <limits>
#include <memory>
#include <optional>
#include <random>

#include "absl/strings/str_split.h"
#include "client/cli/arguments.h"
#include "client/cli/interrupt.h"
#include "client/cli/prompt_text.h"
#include "client/cli/report.h"
#include "client/cli/request_flags.h"
#include "client/load/closed_loop.h"
#include "client/load/report.h"

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
  std::optional<uint64_t> prompt_seed;
  std::string format = "text";
};

// A seed that two runs hardly share, and that one can type.
uint64_t DrawSeed() { return std::random_device()(); }

// Gives the i-th request: a line of the prompts file, or random ids.
class RequestMaker {
 public:
  static absl::StatusOr<RequestMaker> Create(const BenchFlags& flags, uint32_t vocab_size) {
    RequestMaker maker(flags, vocab_size);
    if (flags.prompts.empty()) {
      if (vocab_size == 0) return absl::InternalError("the server tells a vocabulary of no tokens");
      maker.seed_ = flags.prompt_seed.value_or(DrawSeed());
      return maker;
    }
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
    std::seed_seq seeds = {*seed_ & kLow32, *seed_ >> 32, uint64_t{index}};
    std::mt19937_64 random(seeds);
    for (uint32_t i = 0; i < flags_->prompt_tokens; ++i) {
      request.mutable_tokens()->add_ids(static_cast<uint32_t>(random() % vocab_size_));
    }
    request.mutable_stop()->set_ignore_eos(true);  // the lengths are the flags'
    return request;
  }

  // Of random prompts.
  std::optional<uint64_t> seed() const { return seed_; }

 private:
  static constexpr uint64_t kLow32 = std::numeric_limits<uint32_t>::max();

  RequestMaker(const BenchFlags& flags, uint32_t vocab_size)
      : flags_(&flags), vocab_size_(vocab_size) {}

  const BenchFlags* flags_;
  uint32_t vocab_size_;
  std::optional<uint64_t> seed_;
  std::vector<std::string> prompts_;
};

int Bench(const BenchFlags& flags) {
  const std::string& server = flags.connection.server;
  Client client(flags.connection.options());
  const auto info = client.GetModelInfo(flags.connection.call());
  if (!info.ok()) return ReportError(server, info.status());
  const auto make_request = RequestMaker::Create(flags, info->vocab_size());
  if (!make_request.ok()) return ReportError(make_request.status());
  const bool show_progress = isatty(STDERR_FILENO) != 0;
  const Interrupt interrupt;
  const auto run = [&](const char* what, uint32_t requests, uint32_t offset) {
    Load load;
    load.streams = flags.streams;
    load.requests = requests;
    load.make_request = [&](uint32_t i) { return (*make_request)(i + offset); };
    load.progress = [&](uint32_t ended) {
      if (show_progress) std::fprintf(stderr, "\r%s %u/%u requests", what, ended, requests);
    };
    LoadResult result = RunClosedLoop(client, flags.connection.call(), load, interrupt.stop());
    if (show_progress) std::fprintf(stderr, "\r\x1b[K");
    return result;
  };
  if (flags.warmup > 0) run("warm-up", flags.warmup, 0);
  const Report report = MakeReport({flags.streams, flags.requests, make_request->seed()},
                                   run("measured", flags.requests, flags.warmup));
  const std::string text =
      flags.format == "json" ? ReportJson(*info, report) : ReportText(server, *info, report);
  std::fputs(text.c_str(), stdout);
  if (!FlushOutput()) return 1;
  if (report.interrupted) return 128 + interrupt.signal();
  return report.completed() == flags.requests ? 0 : 1;
}

constexpr char kFooter[] =
    "Ctrl-C and SIGTERM end the measurement: what runs is cancelled, and the report tells what\n"
    "was measured so far. A further one, more than a second later, ends at once.\n"
    "Exit code: 0 if all requests were completed; 1 if one was not, or on an error; 2 on wrong\n"
    "usage; 130 after Ctrl-C, 143 after SIGTERM.\n"
    "\n";

}  // namespace

void AddBenchCommand(CLI::App& app, int& exit_code) {
  auto flags = std::make_shared<BenchFlags>();
  flags->sampling.max_tokens = 128;
  CLI::App* command =
      app.add_subcommand("bench", "Load a server and report what its clients experienced");
  command->footer(kFooter + DefinitionsText());
  constexpr char kLoad[] = "Load";
  command
      ->add_option("--streams", flags->streams,
                   "Concurrent streams; each starts its next request when one ends")
      ->transform(WholeNumber(1, 10000))
      ->capture_default_str()
      ->group(kLoad);
  command->add_option("--requests", flags->requests, "Measured requests")
      ->transform(WholeNumber(1, 100000000))
      ->capture_default_str()
      ->group(kLoad);
  command->add_option("--warmup", flags->warmup, "Requests before, not measured")
      ->transform(WholeNumber(0, 100000000))
      ->capture_default_str()
      ->group(kLoad);
  CLI::Option* prompts =
      command
          ->add_option(
              "--prompts", flags->prompts,
              "File with a prompt a line; without it: random token ids. Its prompts come in "
              "the file's order, again and again, so that the server may find them cached")
          ->group(kLoad);
  command->add_option("--prompt_tokens", flags->prompt_tokens, "Length of random prompts")
      ->transform(WholeNumber(1, 10000000))
      ->excludes(prompts)
      ->capture_default_str()
      ->group(kLoad);
  command
      ->add_option(
          "--prompt_seed", flags->prompt_seed,
          "Random prompts of this seed, the same in every run, so that the server may find "
          "them cached; unset: others in every run. The report tells the seed")
      ->transform(WholeNumber(0, std::numeric_limits<uint64_t>::max()))
      ->excludes(prompts)
      ->group(kLoad);
  AddSamplingFlags(*command, flags->sampling);
  command->add_option("--format", flags->format, "text: a table; json: one object")
      ->check(CLI::IsMember({"text", "json"}))
      ->capture_default_str()
      ->group("Output");
  AddConnectionFlags(*command, Servers::kSeveral, flags->connection);
  AddRetryFlag(*command, flags->connection);
  AddBalanceFlags(*command, flags->connection);
  AddRequestIdFlag(*command, flags->connection, "Name of all the requests in the server's log");
  command->callback([flags, &exit_code] { exit_code = Bench(*flags); });
}

}  // namespace recurve::client
