// SPDX-License-Identifier: Apache-2.0
// `recurve top`: a server's load, drawn again and again.
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <cstdio>
#include <memory>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "client/cli/commands.h"
#include "client/cli/figures.h"
#include "client/cli/report.h"
#include "client/cli/request_flags.h"
#include "client/cli/screen.h"
#include "client/cli/terminal.h"
#include "client/cli/top_view.h"

namespace recurve::client {
namespace {

struct TopFlags {
  ConnectionFlags connection;
  std::string interval = "1s";  // has been checked
  bool once = false;
};

absl::Duration ParseInterval(const std::string& text) {
  absl::Duration interval;
  return absl::ParseDuration(text, &interval) ? interval : absl::ZeroDuration();
}

// What is known of a server that is asked now and then.
class Watch {
 public:
  explicit Watch(const ConnectionFlags& flags) : flags_(flags) { state_.server = flags.server; }

  absl::Status Ask() {
    absl::Status status = TryToAsk();
    if (status.ok()) {
      answered_ = absl::Now();
      state_.silence.clear();
      state_.reason.clear();
    } else {
      // A new channel next time: one that failed waits before it connects again, ever longer.
      client_.reset();
      state_.silence = absl::StrCat(
          "no figures since ", absl::FormatTime("%H:%M:%S", answered_, absl::LocalTimeZone()),
          ", for ", ShortAge(absl::ToDoubleSeconds(absl::Now() - answered_)));
      state_.reason = status.ToString(absl::StatusToStringMode::kWithNoExtraData);
    }
    return status;
  }

  const TopState& state() const { return state_; }

 private:
  absl::Status TryToAsk() {
    if (client_ == nullptr) {  // at first, and when another server may have come
      client_ = std::make_unique<Client>(flags_.options());
      auto info = client_->GetModelInfo(flags_.call());
      if (!info.ok()) return info.status();
      state_.info = *std::move(info);
    }
    auto load = client_->GetLoad(flags_.call());
    if (!load.ok()) return load.status();
    state_.before = std::exchange(state_.now, *std::move(load));
    return absl::OkStatus();
  }

  const ConnectionFlags& flags_;
  std::unique_ptr<Client> client_;
  TopState state_;
  absl::Time answered_;
};

void Print(const TopState& state) {
  for (const std::string& line : TopView(state, kTopColumns, DepthMarks::kNone)) {
    std::printf("%s\n", line.c_str());
  }
}

int Top(const TopFlags& flags) {
  const bool is_terminal = isatty(STDOUT_FILENO) != 0;
  Watch watch(flags.connection);
  if (absl::Status status = watch.Ask(); !status.ok()) {
    return ReportError(flags.connection.server, status);
  }
  if (flags.once || !TakesEscapes(is_terminal)) {
    if (!flags.once) {
      std::fprintf(stderr,
                   "recurve: standard output is not a terminal to draw on; figures of this moment, "
                   "as with --once\n");
    }
    Print(watch.state());
    return 0;
  }
  const DepthMarks marks = ChooseDepthMarks("auto", is_terminal);
  Screen screen;
  while (screen.Draw(TopView(watch.state(), screen.columns(), marks))) {
    absl::SleepFor(ParseInterval(flags.interval));
    watch.Ask().IgnoreError();  // the view tells it
  }
  return 1;  // without a terminal there is nobody to tell why
}

constexpr char kFooter[] =
    "Examples:\n"
    "  recurve top --interval=500ms\n"
    "  recurve top --once > load.txt\n"
    "Ctrl-C ends it. Figures are of the time between the last two answers; at first, and with\n"
    "--once, of all the time since the server's start.\n"
    "\n"
    "requests    slots in use; requests that wait for one, with their prompt tokens\n"
    "tokens/s    prompt tokens of requests that arrived; tokens generated\n"
    "mean depth  recursions that a row took; a row is one token at its way through the model\n"
    "preempted   sequences put back for memory that one before them needed, or for a request of\n"
    "            higher priority\n"
    "stage       rows that the stages of the server's steps ran\n"
    "group       1, 2, ... are recursions: rows that took them, as a share of those that took the\n"
    "            first. Each recursion, and the entry and exit layers, have cache pages of their\n"
    "            own, a share of all; entries are cached tokens, evicted ones fell to a budget\n"
    "cached      pages of prefixes that no request uses, free as soon as they are needed, and the\n"
    "            share of prompts' tokens that was found among cached prefixes\n"
    "latency     from arrival to the first token; between two tokens of a stream; from arrival to\n"
    "            a slot, of requests that have ended. Percentiles are estimated from histograms\n";

}  // namespace

void AddTopCommand(CLI::App& app, int& exit_code) {
  auto flags = std::make_shared<TopFlags>();
  CLI::App* command = app.add_subcommand("top", "Watch how busy a server is, and with what");
  command->footer(kFooter);
  flags->connection.timeout_seconds = 5;  // a view that hangs tells nothing
  AddConnectionFlags(*command, Servers::kOne, flags->connection);
  command
      ->add_option("--interval", flags->interval,
                   "Time between two questions, such as 500ms, 2s or 1m")
      ->check([](const std::string& text) {
        const absl::Duration interval = ParseInterval(text);
        const bool allowed = interval >= absl::Milliseconds(100) && interval <= absl::Hours(1);
        return allowed ? "" : "'" + text + "': expected a duration from 100ms to 1h";
      })
      ->capture_default_str();
  command->add_flag("--once", flags->once,
                    "Print the figures since the server's start, and end: for scripts and reports");
  command->callback([flags, &exit_code] { exit_code = Top(*flags); });
}

}  // namespace recurve::client
