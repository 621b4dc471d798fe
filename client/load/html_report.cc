// SPDX-License-Identifier: Apache-2.0
#include "client/load/html_report.h"

#include <algorithm>
#include <optional>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "client/load/plot.h"

namespace recurve::client {
namespace {

constexpr size_t kBins = 120;

double EndOf(const LoadResult& load) {
  double end = load.window_end;
  for (const RequestRecord& record : load.records) end = std::max(end, record.ended);
  return end;
}

// Tokens a second, of all requests.
Plot TokensOverTime(const LoadResult& load) {
  const double bin = EndOf(load) / kBins;
  std::vector<double> tokens(kBins + 1);
  for (const RequestRecord& record : load.records) {
    for (const RequestRecord::TokenMessage& message : record.messages) {
      if (bin > 0) tokens.at(static_cast<size_t>(message.at / bin)) += message.tokens;
    }
  }
  Series series = {.name = "tokens/s", .points = {}};
  for (size_t i = 0; i < kBins; ++i) {
    const double rate = bin > 0 ? tokens[i] / bin : 0;
    series.points.emplace_back(static_cast<double>(i) * bin, rate);
    series.points.emplace_back(static_cast<double>(i + 1) * bin, rate);
  }
  return {"Throughput", "seconds", "tokens/s", {std::move(series)}};
}

// Requests that are due and have not ended: on their way, and those that wait in the client.
Plot InFlightOverTime(const LoadResult& load) {
  const auto count = [&load](const char* name, auto begin_of) {
    std::vector<std::pair<double, int>> changes;
    for (const RequestRecord& record : load.records) {
      changes.emplace_back(begin_of(record), 1);
      changes.emplace_back(record.ended, -1);
    }
    std::sort(changes.begin(), changes.end());
    Series series = {.name = name, .points = {}};
    int now = 0;
    for (const auto& [at, change] : changes) {
      now += change;
      series.points.emplace_back(at, std::max(now, 0));
    }
    return series;
  };
  return {"Requests",
          "seconds",
          "at once",
          {count("in flight", [](const RequestRecord& record) { return record.sent; }),
           count("due", [](const RequestRecord& record) { return record.intended; })}};
}

// A dot for each request at its intended start.
Plot LatencyOverTime(const LoadResult& load) {
  Series ttft = {.name = "TTFT", .points = {}, .is_line = false};
  Series failed = {.name = "not completed", .points = {}, .is_line = false};
  for (const RequestRecord& record : load.records) {
    const std::optional<double> first = record.time_to_first_token();
    if (!record.completed()) {
      failed.points.emplace_back(record.intended, record.end_to_end() * 1e3);
    } else if (first) {
      ttft.points.emplace_back(record.intended, *first * 1e3);
    }
  }
  return {"TTFT by intended start (end, of what was not completed)",
          "seconds",
          "ms",
          {std::move(ttft), std::move(failed)}};
}

Series Percentiles(const char* name, std::vector<double> values) {
  std::sort(values.begin(), values.end());
  Series series = {.name = name, .points = {}};
  const auto count = static_cast<double>(values.size());
  for (size_t i = 0; i < values.size(); ++i) {
    series.points.emplace_back(100 * static_cast<double>(i + 1) / count, values[i] * 1e3);
  }
  return series;
}

// Of measured, completed requests without a fault.
std::vector<Plot> PercentilePlots(const LoadResult& load) {
  std::vector<double> ttft, itl, e2e;
  for (const RequestRecord& record : load.records) {
    if (!record.completed() || !record.is_measured || record.fault != Fault::Kind::kNone) continue;
    if (const auto first = record.time_to_first_token()) ttft.push_back(*first);
    e2e.push_back(record.end_to_end());
    const std::vector<double> gaps = record.inter_token_latencies();
    itl.insert(itl.end(), gaps.begin(), gaps.end());
  }
  return {{"Percentiles",
           "percent of requests",
           "ms",
           {Percentiles("TTFT", std::move(ttft)), Percentiles("E2E", std::move(e2e))}},
          {"Percentiles", "percent of tokens", "ms", {Percentiles("ITL", std::move(itl))}}};
}

}  // namespace

std::string HtmlReport(const std::string& text, const LoadResult& load) {
  std::string page =
      "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n"
      "<title>recurve bench</title>\n<style>\n"
      "body { font-family: sans-serif; max-width: 1340px; margin: auto; }\n"
      "svg { width: 49%; font-size: 12px; }\n"
      "pre { white-space: pre-wrap; }\n"
      "</style>\n</head>\n<body>\n<h1>recurve bench</h1>\n";
  std::vector<Plot> plots = {TokensOverTime(load), InFlightOverTime(load), LatencyOverTime(load)};
  for (Plot& plot : PercentilePlots(load)) plots.push_back(std::move(plot));
  for (const Plot& plot : plots) page += Svg(plot);
  return absl::StrCat(page, "<pre>\n", EscapeHtml(text), "</pre>\n</body>\n</html>\n");
}

}  // namespace recurve::client
