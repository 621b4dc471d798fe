// SPDX-License-Identifier: Apache-2.0
#include "client/load/bench.h"

#include <unistd.h>

#include <CLI/CLI.hpp>
#include <cstdio>
#include <memory>
#include <optional>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "client/cli/interrupt.h"
#include "client/cli/prompt_text.h"
#include "client/cli/report.h"
#include "client/load/bench_flags.h"
#include "client/load/definitions.h"
#include "client/load/progress_line.h"
#include "client/load/prompts.h"
#include "client/load/report.h"
#include "client/load/report_json.h"
#include "client/load/report_text.h"
#include "client/load/requests_file.h"
#include "client/load/run_load.h"
#include "client/load/trace.h"

namespace recurve::client {
namespace {

constexpr int kSloMissed = 3;  // exit code

// A load as the flags ask for it, ready to be run.
struct PlannedLoad {
  LoadPlan plan;
  LoadShape shape;
  std::vector<TraceEntry> trace;
};

absl::StatusOr<std::vector<TraceEntry>> ReadTrace(const std::string& file) {
  auto text = ReadText(file);
  if (!text.ok()) return text.status();
  auto entries = ParseTrace(*text);
  if (entries.ok()) return entries;
  return absl::InvalidArgumentError(
      absl::StrCat("--trace: the file '", file, "': ", entries.status().message()));
}

Schedule ScheduleOf(const BenchFlags& flags) {
  if (flags.arrivals == "constant") return Schedule::Constant(*flags.rate);
  return Schedule::Gamma(*flags.rate, flags.burstiness.value_or(1), flags.load_seed);
}

absl::StatusOr<PlannedLoad> PlanLoad(const BenchFlags& flags) {
  LoadPlan plan;
  plan.load_seed = flags.load_seed;
  plan.warmup = flags.warmup;
  plan.measured.seconds = flags.duration;
  if (!flags.duration) plan.measured.requests = flags.requests.value_or(kDefaultRequests);
  plan.slo = flags.slo;
  plan.slo_share = flags.slo_share;
  std::optional<Schedule> schedule;
  std::vector<TraceEntry> trace;
  if (!flags.trace.empty()) {
    auto entries = ReadTrace(flags.trace);
    if (!entries.ok()) return entries.status();
    trace = *std::move(entries);
    plan.arrivals.name = "trace";
    if (!flags.requests && !flags.duration) plan.measured.requests = trace.size();
    std::vector<double> starts;
    for (const TraceEntry& entry : trace) starts.push_back(entry.start);
    schedule = Schedule::Trace(std::move(starts));
  } else if (flags.rate) {
    plan.arrivals = {flags.arrivals, flags.rate, flags.burstiness};
    schedule = ScheduleOf(flags);
  }
  plan.max_in_flight = schedule ? flags.max_in_flight : flags.streams;
  LoadShape shape = {std::move(schedule), plan.max_in_flight, plan.warmup, plan.measured};
  return PlannedLoad{std::move(plan), std::move(shape), std::move(trace)};
}

absl::StatusOr<RequestMaker> MakeRequests(const BenchFlags& flags,
                                          const v1::GetModelInfoResponse& info, Client& client) {
  RequestMaker maker;
  flags.sampling.Fill(maker.base);
  maker.vocab_size = info.vocab_size();
  maker.prompt_tokens = flags.prompt_tokens;
  maker.max_tokens = flags.max_tokens;
  maker.load_seed = flags.load_seed;
  if (flags.prompts.empty() && flags.sharegpt.empty()) {
    if (maker.vocab_size == 0) {
      return absl::InternalError("the server tells a vocabulary of no tokens");
    }
    // A seed that two runs hardly share, and that one can type.
    maker.prompt_seed = flags.prompt_seed.value_or(std::random_device()());
    return maker;
  }
  auto prompts = flags.sharegpt.empty()
                     ? ReadPrompts(flags.prompts)
                     : ReadConversations(flags.sharegpt, flags.load_seed, info.max_context(),
                                         client, flags.connection.call());
  if (!prompts.ok()) return prompts.status();
  maker.prompts = *std::move(prompts);
  return maker;
}

int Bench(const BenchFlags& flags) {
  const std::string& server = flags.connection.server;
  auto planned = PlanLoad(flags);
  if (!planned.ok()) return ReportError(planned.status());
  Client client(flags.connection.options());
  const auto info = client.GetModelInfo(flags.connection.call());
  if (!info.ok()) return ReportError(server, info.status());
  auto requests = MakeRequests(flags, *info, client);
  if (!requests.ok()) return ReportError(requests.status());
  requests->trace = planned->trace;
  if (requests->prompts.empty()) planned->plan.prompt_seed = requests->prompt_seed;

  const Interrupt interrupt;
  ProgressLine progress(isatty(STDERR_FILENO) != 0);
  const Load load = {planned->shape, [&](uint64_t index) { return requests->Make(index); },
                     [&](const LoadProgress& so_far) { progress.Show(so_far); }};
  const LoadResult result = RunLoad(client, flags.connection.call(), load, interrupt.stop());
  progress.Clear();

  const Report report = MakeReport(planned->plan, result);
  const std::string text =
      flags.format == "json" ? ReportJson(*info, report) : ReportText(server, *info, report);
  std::fputs(text.c_str(), stdout);
  if (!FlushOutput()) return 1;
  if (!flags.requests_file.empty()) {
    const absl::Status written = WriteRequestsFile(flags.requests_file, result.records);
    if (!written.ok()) return ReportError(written);
  }
  if (report.interrupted) return 128 + interrupt.signal();
  if (report.goodput) return report.slo_is_met() ? 0 : kSloMissed;
  return report.completed() > 0 && report.completed() == report.sent() ? 0 : 1;
}

constexpr char kFooter[] =
    "Ctrl-C and SIGTERM end the measurement: what runs is cancelled, and the report tells what\n"
    "was measured so far. A further one, more than a second later, ends at once.\n"
    "Exit code: 0 if all measured requests were completed; 1 if one was not, or on an error; with\n"
    "--slo 0 if it is met, 3 if it is missed; 2 on wrong usage; 130 after Ctrl-C, 143 after "
    "SIGTERM.\n"
    "\n";

}  // namespace

void AddBenchCommand(CLI::App& app, int& exit_code) {
  auto flags = std::make_shared<BenchFlags>();
  CLI::App* command =
      app.add_subcommand("bench", "Load a server and report what its clients experienced");
  command->footer(kFooter + DefinitionsText());
  AddBenchFlags(*command, *flags);
  command->callback([flags, &exit_code] {
    if (const absl::Status status = CheckBenchFlags(*flags); !status.ok()) {
      throw CLI::ParseError(std::string(status.message()), CLI::ExitCodes::ValidationError);
    }
    exit_code = Bench(*flags);
  });
}

}  // namespace recurve::client
