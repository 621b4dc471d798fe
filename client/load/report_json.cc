// SPDX-License-Identifier: Apache-2.0
#include "client/load/report_json.h"

#include <nlohmann/json.hpp>
#include <optional>
#include <utility>

#include "client/load/definitions.h"

namespace recurve::client {
namespace {

using Json = nlohmann::json;

template <typename Value>
Json OrNull(const std::optional<Value>& value) {
  return value ? Json(*value) : Json();
}

Json ToJson(const Summary& summary) {
  Json json = {{"count", summary.count}};
  const std::pair<const char*, double> figures[] = {
      {"mean", summary.mean}, {"stddev", summary.stddev}, {"min", summary.min},
      {"p50", summary.p50},   {"p90", summary.p90},       {"p95", summary.p95},
      {"p99", summary.p99},   {"p99_9", summary.p99_9},   {"max", summary.max}};
  for (const auto& [key, seconds] : figures) {
    json[key] = summary.count == 0 ? Json() : Json(seconds);
  }
  return json;
}

Json ToJson(const Extent& extent) {
  return {{"requests", OrNull(extent.requests)}, {"seconds", OrNull(extent.seconds)}};
}

Json ToJson(const Latency& latency) {
  Json json = {{"count", latency.count()}, {"mean", OrNull(latency.Mean())}};
  for (const auto& [key, share] : {std::pair("p50", 0.5), std::pair("p90", 0.9),
                                   std::pair("p95", 0.95), std::pair("p99", 0.99)}) {
    json[key] = OrNull(latency.Quantile(share));  // infinity is written as null
  }
  return json;
}

Json ToJson(const std::optional<ServerDelta>& server) {
  if (!server) return {};
  const bool is_seen = server->peaks.moments > 0;
  return {{"prompt_tokens", server->prompt_tokens},
          {"generated_tokens", server->generated_tokens},
          {"cached_prompt_share", OrNull(server->cached_prompt_share)},
          {"steps", server->steps},
          {"rows_per_step", OrNull(server->rows_per_step())},
          {"preemptions", server->preemptions},
          {"peak_kv_share", is_seen ? Json(server->peaks.kv_share) : Json()},
          {"peak_requests_running", is_seen ? Json(server->peaks.running) : Json()},
          {"peak_requests_waiting", is_seen ? Json(server->peaks.waiting) : Json()},
          {"time_to_first_token_seconds", ToJson(server->ttft)},
          {"inter_token_latency_seconds", ToJson(server->itl)},
          {"queue_seconds", ToJson(server->queue)}};
}

void AddPlan(const LoadPlan& plan, Json& json) {
  const bool is_closed = plan.arrivals.is_closed();
  json["arrivals"] = plan.arrivals.name;
  json["rate"] = OrNull(plan.arrivals.rate);
  json["burstiness"] = OrNull(plan.arrivals.burstiness);
  json["streams"] = is_closed ? Json(plan.max_in_flight) : Json();
  json["max_in_flight"] = is_closed ? Json() : Json(plan.max_in_flight);
  json["warmup"] = ToJson(plan.warmup);
  json["requests"] = OrNull(plan.measured.requests);
  json["duration_seconds"] = OrNull(plan.measured.seconds);
  json["load_seed"] = plan.load_seed;
  json["prompt_seed"] = OrNull(plan.prompt_seed);
}

void AddOutcomes(const Report& report, Json& json) {
  Json by_status = Json::object(), rates = by_status, tokens = by_status, messages = by_status;
  for (const auto& [name, outcome] : report.outcomes) {
    by_status[name] = outcome.requests;
    rates[name] = OrNull(report.Rate(outcome.requests));
    tokens[name] = outcome.generated_tokens;
    if (!outcome.first_message.empty()) messages[name] = outcome.first_message;
  }
  json["requests_sent"] = report.sent();
  json["requests_completed"] = report.completed();
  json["requests_by_status"] = by_status;
  json["requests_per_second_by_status"] = rates;
  json["generated_tokens_by_status"] = tokens;
  json["first_message_by_status"] = messages;
  json["faults"] = report.faults;
  json["retries"] = report.retries;
  json["resumes"] = report.resumes;
  json["pushbacks"] = report.pushbacks;
  json["pushback_seconds"] = report.pushback_seconds;
  json["requests_with_spread_tokens"] = report.with_spread_tokens;
  json["requests_with_unknown_tokens"] = report.with_unknown_tokens;
  json["requests_by_server"] = report.by_server;
}

Json SloJson(const Report& report) {
  if (!report.goodput) return {};
  Json limits = Json::object();
  for (size_t i = 0; i < Slo::kFigures.size(); ++i) {
    if (const auto& limit = report.plan.slo->limits().at(i)) limits[Slo::kFigures.at(i)] = *limit;
  }
  return {{"limits_seconds", limits},
          {"share", report.plan.slo_share},
          {"requests_judged", report.goodput->judged},
          {"requests_good", report.goodput->good},
          {"attained_share", OrNull(report.goodput->share())},
          {"missed_by", report.goodput->missed},
          {"met", report.slo_is_met()}};
}

void AddFigures(const Report& report, Json& json) {
  const auto rate = [&](uint64_t count) { return OrNull(report.CompletedRate(count)); };
  json["seconds"] = report.seconds;
  json["prompt_tokens"] = report.prompt_tokens;
  json["cached_prompt_tokens"] = report.cached_prompt_tokens;
  json["cached_prompt_share"] = OrNull(report.cached_prompt_share());
  json["generated_tokens"] = report.generated_tokens;
  json["generated_tokens_per_second"] = rate(report.window_tokens);
  json["prompt_tokens_per_second"] = rate(report.window_prompt_tokens);
  json["requests_per_second"] = rate(report.window_requests);
  json["goodput_requests_per_second"] =
      report.goodput ? OrNull(report.Rate(report.goodput->window_good)) : Json();
  json["slo"] = SloJson(report);
  json["mean_depth"] = OrNull(report.mean_depth);
  json["peak_tokens_per_second"] = OrNull(report.course.peak_tokens);
  json["peak_requests_in_flight"] = report.course.peak_in_flight;
  json["client_processors"] = OrNull(report.client_cpus);
  json["client_seconds_per_token"] = OrNull(report.client_seconds_per_token);
  json["time_to_first_token_seconds"] = ToJson(report.ttft);
  json["inter_token_latency_seconds"] = ToJson(report.itl);
  json["time_per_output_token_seconds"] = ToJson(report.tpot);
  json["end_to_end_seconds"] = ToJson(report.e2e);
  json["client_queue_seconds"] = ToJson(report.client_queue);
  json["server"] = ToJson(report.server);
}

Json ToJson(const TargetInfo& info, const Report& report) {
  Json json = {{"model", info.model_name},
               {"interrupted", report.interrupted},
               {"warnings", report.Warnings()}};
  AddPlan(report.plan, json);
  AddOutcomes(report, json);
  AddFigures(report, json);
  for (const Definition& definition : kDefinitions) {
    json["definitions"][definition.key] = definition.text;
  }
  return json;
}

// A server's messages need not be UTF-8.
std::string Line(const Json& json) {
  return json.dump(-1, ' ', false, Json::error_handler_t::replace) + "\n";
}

}  // namespace

std::string ReportJson(const TargetInfo& info, const Report& report) {
  return Line(ToJson(info, report));
}

std::string SweepJson(const TargetInfo& info, const Sweep& sweep) {
  Json points = Json::array();
  for (const Report& point : sweep.points) points.push_back(ToJson(info, point));
  return Line({{"points", points},
               {"knee", sweep.is_search ? Json() : OrNull(KneeOf(sweep.points))},
               {"highest_rate", OrNull(sweep.highest_rate)}});
}

}  // namespace recurve::client
