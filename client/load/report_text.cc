// SPDX-License-Identifier: Apache-2.0
#include "client/load/report_text.h"

#include <optional>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "client/cli/terminal.h"
#include "client/load/definitions.h"
#include "client/load/histogram.h"

namespace recurve::client {
namespace {

std::string Row(const char* name, const Summary& summary) {
  std::string row = absl::StrFormat("%-5s %7d", name, summary.count);
  for (const double seconds : {summary.mean, summary.stddev, summary.min, summary.p50, summary.p90,
                               summary.p95, summary.p99, summary.p99_9, summary.max}) {
    absl::StrAppendFormat(&row, " %6s", summary.count == 0 ? "-" : Milliseconds(seconds));
  }
  return row + "\n";
}

std::string Table(const Report& report) {
  std::string text = absl::StrFormat("%-5s %7s", "ms", "count");
  for (const char* column : {"mean", "std", "min", "p50", "p90", "p95", "p99", "p99.9", "max"}) {
    absl::StrAppendFormat(&text, " %6s", column);
  }
  absl::StrAppend(&text, "\n", Row("TTFT", report.ttft), Row("ITL", report.itl),
                  Row("TPOT", report.tpot), Row("E2E", report.e2e));
  if (!report.plan.arrivals.is_closed()) absl::StrAppend(&text, Row("Queue", report.client_queue));
  return text;
}

constexpr char kRed[] = "31", kGreen[] = "32", kYellow[] = "33";

std::string Colored(const TextStyle& style, const char* color, const char* word) {
  return style.has_color ? absl::StrCat("\x1b[", color, "m", word, "\x1b[0m") : word;
}

std::string PeaksText(const Report& report) {
  std::string text = absl::StrCat("peaks      ", report.course.peak_in_flight, " in flight");
  if (report.course.peak_tokens) {
    absl::StrAppend(&text, ", ", *report.course.peak_tokens, " tokens in a second");
  }
  return text + "\n";
}

std::string ClientText(const Report& report) {
  if (!report.client_cpus) return "";
  return absl::StrFormat("client     %.2f processors busy, %s us a token\n", *report.client_cpus,
                         Figure(2, report.client_seconds_per_token, 1e6));
}

// What several servers are needed for: how often a request was tried again, and who ended it.
std::string ServersText(const Report& report) {
  std::string text;
  if (report.retries > 0) {
    absl::StrAppendFormat(&text,
                          "tries      %d beyond the first, %d of them to go on in mid-stream\n",
                          report.retries, report.resumes);
  }
  if (report.pushbacks > 0) {
    absl::StrAppendFormat(&text, "pushback   %d refusals asked for a wait, of %.3f s in the mean\n",
                          report.pushbacks,
                          report.pushback_seconds / static_cast<double>(report.pushbacks));
  }
  if (report.by_server.size() < 2) return text;
  absl::StrAppend(&text, "servers   ");
  for (const auto& [server, requests] : report.by_server) {
    absl::StrAppendFormat(&text, " %s: %d", server, requests);
  }
  return text + "\n";
}

// A line for each way to end but completion.
std::string OthersText(const Report& report) {
  std::string text;
  for (const auto& [name, outcome] : report.outcomes) {
    if (name == kCompleted) continue;
    absl::StrAppendFormat(&text, "           %s %d (%s/s, %d tokens generated)", name,
                          outcome.requests, Figure(2, report.Rate(outcome.requests)),
                          outcome.generated_tokens);
    if (!outcome.first_message.empty()) {
      absl::StrAppend(&text, ", first: ", Printable(outcome.first_message));
    }
    absl::StrAppend(&text, "\n");
  }
  return text;
}

std::string FaultsText(const Report& report) {
  std::string text;
  for (const auto& [fault, by_outcome] : report.faults) {
    absl::StrAppend(&text, text.empty() ? "faults     " : "; ", fault, ":");
    for (const auto& [outcome, requests] : by_outcome) {
      absl::StrAppend(&text, " ", outcome, " ", requests);
    }
  }
  return text.empty() ? text : text + "\n";
}

std::string SloText(const Report& report, const TextStyle& style) {
  const Goodput& goodput = *report.goodput;
  std::string text = absl::StrFormat(
      "SLO        %s: %s %% of %d requests had %s;\n"
      "           %g %% are to\n"
      "goodput    %s requests/s",
      report.slo_is_met() ? Colored(style, kGreen, "MET") : Colored(style, kRed, "MISSED"),
      Figure(2, goodput.share(), 100), goodput.judged, report.plan.slo->ToText(),
      report.plan.slo_share * 100, Figure(2, report.Rate(goodput.window_good)));
  const char* before = "; missed by ";
  for (const auto& [name, requests] : goodput.missed) {
    absl::StrAppend(&text, before, name, " ", requests);
    before = ", ";
  }
  return text + "\n";
}

std::string LoadText(const Report& report) {
  const LoadPlan& plan = report.plan;
  std::string text = absl::StrCat("load       ", ArrivalsText(plan), "\n");
  absl::StrAppend(&text, "window     ");
  if (plan.measured.requests) absl::StrAppend(&text, *plan.measured.requests, " requests in ");
  absl::StrAppendFormat(&text, "%.2f s, after %s of warm-up\n", report.seconds,
                        plan.warmup.requests ? absl::StrCat(*plan.warmup.requests, " requests")
                                             : absl::StrCat(*plan.warmup.seconds, " s"));
  if (plan.prompt_seed) {
    absl::StrAppend(&text, "prompts    random, --prompt_seed=", *plan.prompt_seed, "\n");
  }
  if (!report.interrupted) return text;
  absl::StrAppend(&text, "           INTERRUPTED: ");
  if (plan.measured.requests) {
    absl::StrAppend(&text, *plan.measured.requests - report.sent() - report.faulted(),
                    " of them were not sent, and ");
  }
  absl::StrAppend(&text, "those on their way were cancelled\n");
  return text;
}

}  // namespace

std::string Figure(int digits, const std::optional<double>& value, double scale) {
  return value ? absl::StrFormat("%.*f", digits, *value * scale) : "-";
}

std::string Milliseconds(double seconds) {
  if (seconds < 0.5e-5) return "<0.01";
  const double milliseconds = seconds * 1e3;
  return absl::StrFormat("%.*f",
                         milliseconds < 100     ? 2
                         : milliseconds < 10000 ? 1
                                                : 0,
                         milliseconds);
}

std::string ArrivalsText(const LoadPlan& plan) {
  const ArrivalPlan& arrivals = plan.arrivals;
  if (arrivals.is_closed()) return absl::StrCat("closed loop of ", plan.max_in_flight, " streams");
  std::string text = absl::StrCat(arrivals.name, " arrivals");
  if (arrivals.rate) absl::StrAppend(&text, " of ", *arrivals.rate, " requests/s");
  if (arrivals.burstiness) absl::StrAppend(&text, ", burstiness ", *arrivals.burstiness);
  return absl::StrCat(text, ", at most ", plan.max_in_flight, " in flight");
}

std::string ReportText(const std::string& server, const TargetInfo& info, const Report& report,
                       const TextStyle& style) {
  std::string text = absl::StrFormat("server     %s, model %s\n", server, info.model_name);
  absl::StrAppend(&text, LoadText(report));
  absl::StrAppendFormat(
      &text, "completed  %d of %d\n%s", report.completed(),
      report.plan.measured.requests.value_or(report.sent() + report.faulted()) - report.faulted(),
      OthersText(report));
  absl::StrAppend(&text, FaultsText(report), ServersText(report));
  absl::StrAppendFormat(&text,
                        "throughput %s requests/s, %s generated tokens/s, %s prompt tokens/s\n",
                        Figure(2, report.CompletedRate(report.window_requests)),
                        Figure(1, report.CompletedRate(report.window_tokens)),
                        Figure(1, report.CompletedRate(report.window_prompt_tokens)));
  absl::StrAppend(&text, PeaksText(report));
  if (report.goodput) absl::StrAppend(&text, SloText(report, style));
  absl::StrAppendFormat(&text, "cached     %s %% of the prompt tokens\n",
                        Figure(1, report.cached_prompt_share(), 100));
  if (info.num_recursions > 0) {
    absl::StrAppendFormat(&text, "mean depth %s of %d recursions\n", Figure(3, report.mean_depth),
                          info.num_recursions);
  }
  absl::StrAppend(&text, ClientText(report), "\n");
  absl::StrAppend(&text, Table(report), "\n");
  if (!style.is_brief) {
    for (const auto& [name, summary] : {std::pair("TTFT", &report.ttft), {"ITL", &report.itl}}) {
      const std::string bars = HistogramText(name, summary->histogram);
      if (!bars.empty()) absl::StrAppend(&text, bars, "\n");
    }
  }
  if (report.server) absl::StrAppend(&text, ServerDeltaText(*report.server), "\n");
  for (const std::string& warning : report.Warnings()) {
    absl::StrAppend(&text, Colored(style, kYellow, "WARNING"), ": ", warning, "\n");
  }
  if (!style.is_brief) absl::StrAppend(&text, DefinitionsText());
  return text;
}

}  // namespace recurve::client
