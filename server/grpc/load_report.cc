// SPDX-License-Identifier: Apache-2.0
#include "server/grpc/load_report.h"

#include <grpcpp/grpcpp.h>

#include <algorithm>
#include <chrono>
#include <map>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "engine/base/machine.h"

namespace recurve {
namespace {

using std::chrono::steady_clock;
using xds::data::orca::v3::OrcaLoadReport;

// A call that a balancer holds against this server.
bool IsError(absl::StatusCode code) {
  return code != absl::StatusCode::kOk && code != absl::StatusCode::kCancelled &&
         code != absl::StatusCode::kInvalidArgument;
}

// By name, so that texts do not depend on the order in a protobuf map.
std::map<std::string, double> FieldsOf(const OrcaLoadReport& report) {
  return {{"application_utilization", report.application_utilization()},
          {"cpu_utilization", report.cpu_utilization()},
          {"eps", report.eps()},
          {"rps_fractional", report.rps_fractional()}};
}

std::map<std::string, double> NamedOf(const OrcaLoadReport& report) {
  return {report.named_metrics().begin(), report.named_metrics().end()};
}

std::string JsonMembers(const std::map<std::string, double>& values) {
  return absl::StrJoin(values, ",", [](std::string* out, const auto& entry) {
    absl::StrAppend(out, "\"", entry.first, "\":", entry.second);
  });
}

}  // namespace

OrcaLoadReport MakeLoadReport(const EngineInfo& info, const EngineSnapshot& snapshot,
                              const LoadMeter::Rates& rates) {
  const ScheduleCounters& schedule = snapshot.schedule;
  const double cache = schedule.PageUse(info.kv_pages);
  const double slots = std::max(info.options.schedule.slots, 1U);
  OrcaLoadReport report;
  report.set_cpu_utilization(rates.cpu);
  report.set_rps_fractional(rates.calls);
  report.set_eps(rates.errors);
  report.set_application_utilization(
      std::max(cache, (double{1} * schedule.running + schedule.waiting) / slots));
  const std::map<std::string, double> named = {
      {"kv_cache_usage_ratio", cache},
      {"requests_running", schedule.running},
      {"requests_waiting", schedule.waiting},
      {"waiting_tokens", static_cast<double>(schedule.waiting_tokens)}};
  for (const auto& [name, value] : named) (*report.mutable_named_metrics())[name] = value;
  return report;
}

std::string LoadReportText(const OrcaLoadReport& report) {
  std::map<std::string, double> values = FieldsOf(report);
  for (const auto& [name, value] : NamedOf(report))
    values[absl::StrCat("named_metrics.", name)] = value;
  return absl::StrCat("TEXT ", absl::StrJoin(values, ", ", absl::PairFormatter("=")));
}

std::string LoadReportJson(const OrcaLoadReport& report) {
  return absl::StrCat("JSON {", JsonMembers(FieldsOf(report)), ",\"named_metrics\":{",
                      JsonMembers(NamedOf(report)), "}}");
}

LoadReporter::LoadReporter() : meter_(UsableThreads(), steady_clock::now()) {}

void LoadReporter::AddTo(grpc::CallbackServerContext* context, const Engine* engine,
                         absl::StatusCode code) {
  const LoadMeter::Rates rates = meter_.Count(IsError(code), steady_clock::now());
  if (engine == nullptr) return;  // the model loads, and there is no load
  // Whoever may not call is told nothing of what others do.
  if (code == absl::StatusCode::kUnauthenticated || code == absl::StatusCode::kPermissionDenied) {
    return;
  }
  const OrcaLoadReport report = MakeLoadReport(engine->Info(), engine->Snapshot(), rates);
  const auto& asked = context->client_metadata();
  const auto format = asked.find(kLoadFormatKey);
  if (format != asked.end() && format->second == "TEXT") {
    context->AddTrailingMetadata(kLoadTextKey, LoadReportText(report));
  } else if (format != asked.end() && format->second == "JSON") {
    context->AddTrailingMetadata(kLoadTextKey, LoadReportJson(report));
  } else {
    context->AddTrailingMetadata(kLoadKey, report.SerializeAsString());
  }
}

}  // namespace recurve
