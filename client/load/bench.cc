// SPDX-License-Identifier: Apache-2.0
#include "client/load/bench.h"

#include <unistd.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <cstdio>
#include <memory>
#include <optional>
#include <random>
#include <stop_token>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "client/cli/interrupt.h"
#include "client/cli/prompt_text.h"
#include "client/cli/report.h"
#include "client/cli/terminal.h"
#include "client/load/bench_flags.h"
#include "client/load/definitions.h"
#include "client/load/html_report.h"
#include "client/load/make_target.h"
#include "client/load/plan_load.h"
#include "client/load/progress_line.h"
#include "client/load/prompts.h"
#include "client/load/rate_search.h"
#include "client/load/report.h"
#include "client/load/report_csv.h"
#include "client/load/report_json.h"
#include "client/load/report_text.h"
#include "client/load/requests_file.h"
#include "client/load/run_load.h"
#include "client/load/server_watch.h"
#include "client/load/sweep.h"
#include "client/load/trace.h"
#include "client/load/write_file.h"

namespace recurve::client {
namespace {

constexpr int kSloMissed = 3;  // exit code

absl::StatusOr<std::vector<TraceEntry>> ReadTrace(const std::string& file) {
  auto text = ReadText(file);
  if (!text.ok()) return text.status();
  auto entries = ParseTrace(*text);
  if (entries.ok()) return entries;
  return absl::InvalidArgumentError(
      absl::StrCat("--trace: the file '", file, "': ", entries.status().message()));
}

absl::StatusOr<RequestMaker> MakeRequests(const BenchFlags& flags, const TargetInfo& info,
                                          Target& target) {
  RequestMaker maker;
  flags.sampling.Fill(maker.base);
  maker.vocab_size = info.vocab_size;
  maker.prompt_tokens = flags.prompt_tokens;
  maker.max_tokens = flags.max_tokens;
  maker.load_seed = flags.load_seed;
  maker.faults = flags.faults;
  if (flags.prompts.empty() && flags.sharegpt.empty()) {
    // A seed that two runs hardly share, and that one can type.
    maker.prompt_seed = flags.prompt_seed.value_or(std::random_device()());
    return maker;
  }
  auto prompts = flags.sharegpt.empty()
                     ? ReadPrompts(flags.prompts)
                     : ReadConversations(flags.sharegpt, flags.load_seed, info.max_context, target);
  if (!prompts.ok()) return prompts.status();
  maker.prompts = *std::move(prompts);
  return maker;
}

// Runs loads one after the other, each with random prompts of its own.
class Runner {
 public:
  Runner(const BenchFlags& flags, RequestMaker requests, Target& target, std::stop_token stop)
      : flags_(flags), requests_(std::move(requests)), target_(target), stop_(std::move(stop)) {}

  Report Run(PlannedLoad load) {
    if (requests_.prompts.empty()) load.plan.prompt_seed = requests_.prompt_seed;
    ServerWatch watch(target_);
    ProgressLine progress(!flags_.quiet && isatty(STDERR_FILENO) != 0);
    result_ = RunLoad(target_, flags_.connection.call(),
                      {load.shape, [this](uint64_t index) { return requests_.Make(index); },
                       [this](uint64_t index, const v1::GenerateRequest& request) {
                         return requests_.FaultOf(index, request);
                       },
                       flags_.connection.client.attempts,
                       [&](const LoadProgress& so_far) { progress.Show(so_far); }},
                      stop_);
    progress.Clear();
    ++requests_.prompt_seed;
    Report report = MakeReport(load.plan, result_);
    report.server = watch.End();
    return report;
  }

  // Of the last load.
  const LoadResult& result() const { return result_; }

 private:
  const BenchFlags& flags_;
  RequestMaker requests_;
  Target& target_;
  const std::stop_token stop_;
  LoadResult result_;
};

Sweep RunSweep(const std::vector<PlannedLoad>& loads, Runner& runner) {
  Sweep sweep;
  for (const PlannedLoad& load : loads) {
    sweep.points.push_back(runner.Run(load));
    if (sweep.points.back().interrupted) break;
  }
  return sweep;
}

Sweep FindRate(const BenchFlags& flags, Runner& runner) {
  Sweep sweep;
  sweep.is_search = true;
  RateSearch search(flags.rates.front());
  while (const std::optional<double> rate = search.next()) {
    sweep.points.push_back(runner.Run(PlanOpenLoop(flags, *rate)));
    if (sweep.points.back().interrupted) break;
    search.Tell(sweep.points.back().slo_is_met());
  }
  sweep.highest_rate = search.best();
  return sweep;
}

// Prints what was measured; false if it could not.
bool Print(const BenchFlags& flags, const TargetInfo& info, const Sweep& sweep) {
  const std::string& server = flags.connection.server;
  const bool is_json = flags.format == "json";
  const TextStyle style = {
      .is_brief = flags.quiet,
      .has_color = !flags.no_color &&
                   ChooseDepthMarks("auto", isatty(STDOUT_FILENO) != 0) == DepthMarks::kColors};
  std::string text;
  if (flags.format == "csv") {
    text = ReportsCsv(info, sweep.points);
  } else if (sweep.is_search || flags.rates.size() > 1 || flags.streams.size() > 1) {
    text = is_json ? SweepJson(info, sweep) : SweepText(server, info.model_name, sweep, style);
  } else {
    const Report& report = sweep.points.front();
    text = is_json ? ReportJson(info, report) : ReportText(server, info, report, style);
  }
  std::fputs(text.c_str(), stdout);
  return FlushOutput();
}

// Of measurements that were not interrupted.
int ExitCode(const Sweep& sweep) {
  if (sweep.is_search) return sweep.highest_rate ? 0 : kSloMissed;
  const auto is_complete = [](const Report& report) {
    return report.completed() > 0 && report.completed() == report.sent();
  };
  if (sweep.points.size() == 1 && sweep.points.front().goodput) {
    return sweep.points.front().slo_is_met() ? 0 : kSloMissed;
  }
  return std::all_of(sweep.points.begin(), sweep.points.end(), is_complete) ? 0 : 1;
}

// Of the one load that was run.
absl::Status WriteFiles(const BenchFlags& flags, const TargetInfo& info, const Report& report,
                        const LoadResult& result) {
  absl::Status status;
  if (!flags.requests_file.empty()) {
    status.Update(WriteRequestsFile(flags.requests_file, result.records));
  }
  if (!flags.html_file.empty()) {
    const std::string text = ReportText(flags.connection.server, info, report);
    status.Update(WriteFile(flags.html_file, HtmlReport(text, result)));
  }
  return status;
}

int Bench(const BenchFlags& flags) {
  std::vector<TraceEntry> trace;
  if (!flags.trace.empty()) {
    auto entries = ReadTrace(flags.trace);
    if (!entries.ok()) return ReportError(entries.status());
    trace = *std::move(entries);
  }
  const auto loads = PlanLoads(flags, trace);
  if (!loads.ok()) return ReportError(loads.status());
  const auto target = MakeTarget(flags.target, flags.connection);
  if (!target.ok()) return ReportError(target.status());
  const auto info = (*target)->Describe();
  if (!info.ok()) return ReportError(flags.connection.server, info.status());
  auto requests = MakeRequests(flags, *info, **target);
  if (!requests.ok()) return ReportError(requests.status());
  if (const absl::Status status = (*target)->Check(requests->base); !status.ok()) {
    return ReportError(status);
  }
  requests->trace = std::move(trace);

  const Interrupt interrupt;
  Runner runner(flags, *std::move(requests), **target, interrupt.stop());
  const Sweep sweep = flags.find_rate ? FindRate(flags, runner) : RunSweep(*loads, runner);
  if (!Print(flags, *info, sweep)) return 1;
  const absl::Status written = WriteFiles(flags, *info, sweep.points.back(), runner.result());
  if (!written.ok()) return ReportError(written);
  return sweep.points.back().interrupted ? 128 + interrupt.signal() : ExitCode(sweep);
}

constexpr char kFooter[] =
    "Ctrl-C and SIGTERM end the measurement: what runs is cancelled, and the report tells what\n"
    "was measured so far. A further one, more than a second later, ends at once.\n"
    "Exit code: 0 if all measured requests without --faults were completed; 1 if one was not, or "
    "on an error; with\n"
    "--slo 0 if it is met, 3 if it is missed (of a sweep it does not decide); 2 on wrong usage; "
    "130 after Ctrl-C, 143 after "
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
