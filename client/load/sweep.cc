// SPDX-License-Identifier: Apache-2.0
#include "client/load/sweep.h"

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "client/load/definitions.h"
#include "client/load/report_text.h"

namespace recurve::client {
namespace {

std::string Row(const Report& point) {
  const ArrivalPlan& arrivals = point.plan.arrivals;
  const auto milliseconds = [](const Summary& summary, double seconds) {
    return summary.count == 0 ? "-" : Milliseconds(seconds);
  };
  std::string row = absl::StrFormat(
      "%8s %9s %7s %8s %7s %7s %7s %7s",
      arrivals.rate ? absl::StrFormat("%.4g", *arrivals.rate)
                    : absl::StrCat(point.plan.max_in_flight),
      absl::StrCat(point.completed(), "/", point.sent()),
      Figure(2, point.CompletedRate(point.window_requests)),
      Figure(1, point.CompletedRate(point.window_tokens)), milliseconds(point.ttft, point.ttft.p50),
      milliseconds(point.ttft, point.ttft.p99), milliseconds(point.itl, point.itl.p99),
      milliseconds(point.e2e, point.e2e.p99));
  if (!point.goodput) return row;
  absl::StrAppendFormat(&row, " %6s%s", Figure(1, point.goodput->share(), 100),
                        point.slo_is_met() ? " met" : "");
  return row;
}

}  // namespace

std::optional<size_t> KneeOf(const std::vector<Report>& points) {
  std::optional<size_t> knee;
  double most = 0;
  for (size_t i = 0; i < points.size(); ++i) {
    const auto rate = points[i].CompletedRate(points[i].window_tokens);
    if (!rate || !(points[i].e2e.mean > 0)) continue;
    const double power = *rate / points[i].e2e.mean;
    if (power <= most) continue;
    most = power;
    knee = i;
  }
  return knee;
}

std::string SweepText(const std::string& server, const std::string& model, const Sweep& sweep,
                      const TextStyle& style) {
  std::string text = absl::StrFormat("server     %s, model %s\n", server, model);
  if (sweep.points.empty()) return text;
  const LoadPlan& plan = sweep.points.front().plan;
  const bool is_closed = plan.arrivals.is_closed();
  absl::StrAppend(&text, "sweep      ",
                  is_closed ? "closed loops" : absl::StrCat(plan.arrivals.name, " arrivals"), "\n");
  if (plan.slo) absl::StrAppend(&text, "SLO        ", plan.slo->ToText(), "\n");
  absl::StrAppendFormat(&text, "\n%8s %9s %7s %8s %7s %7s %7s %7s", is_closed ? "streams" : "rate",
                        "done", "req/s", "tok/s", "TTFT50", "TTFT99", "ITL99", "E2E99");
  absl::StrAppend(&text, plan.slo ? " good %\n" : "\n");
  const std::optional<size_t> knee = KneeOf(sweep.points);
  for (size_t i = 0; i < sweep.points.size(); ++i) {
    absl::StrAppend(&text, Row(sweep.points[i]), !sweep.is_search && knee == i ? "  <- knee" : "",
                    "\n");
  }
  if (sweep.is_search && sweep.highest_rate) {
    absl::StrAppendFormat(&text, "\nhighest rate that keeps the SLO: %.4g requests/s\n",
                          *sweep.highest_rate);
  } else if (sweep.is_search) {
    absl::StrAppend(&text, "\nno rate keeps the SLO\n");
  }
  return style.is_brief ? text : absl::StrCat(text, "\n", DefinitionsText());
}

}  // namespace recurve::client
