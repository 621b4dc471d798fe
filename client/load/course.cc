// SPDX-License-Identifier: Apache-2.0
#include "client/load/course.h"

#include <algorithm>
#include <utility>
#include <vector>

#include "client/load/statistics.h"

namespace recurve::client {
namespace {

std::optional<uint64_t> PeakTokens(const LoadResult& load) {
  const auto seconds = static_cast<size_t>(load.window_end - load.window_begin);
  if (seconds == 0) return std::nullopt;
  std::vector<uint64_t> tokens(seconds);
  for (const RequestRecord& record : load.records) {
    for (const RequestRecord::TokenMessage& message : record.messages) {
      const double second = message.at - load.window_begin;
      if (second < 0 || second >= static_cast<double>(seconds)) continue;
      tokens.at(static_cast<size_t>(second)) += message.tokens;
    }
  }
  return *std::max_element(tokens.begin(), tokens.end());
}

uint64_t PeakInFlight(const LoadResult& load) {
  std::vector<std::pair<double, int>> changes;
  for (const RequestRecord& record : load.records) {
    if (record.ended < load.window_begin || record.sent > load.window_end) continue;
    changes.emplace_back(std::max(record.sent, load.window_begin), 1);
    changes.emplace_back(record.ended, -1);  // before a start at the same time
  }
  std::sort(changes.begin(), changes.end());
  int64_t now = 0, peak = 0;
  for (const auto& [at, change] : changes) {
    now += change;
    peak = std::max(peak, now);
  }
  return static_cast<uint64_t>(peak);
}

void FindTtfts(const LoadResult& load, Course& course) {
  std::vector<std::pair<double, double>> ttfts;  // by intended start
  for (const RequestRecord& record : load.records) {
    const auto ttft = record.time_to_first_token();
    if (!record.is_measured || !record.completed() || !ttft) continue;
    if (record.fault == Fault::Kind::kNone) ttfts.emplace_back(record.intended, *ttft);
  }
  std::sort(ttfts.begin(), ttfts.end());
  const size_t third = ttfts.size() / 3;
  if (third < kLeastOfThird) return;
  std::vector<double> first, last;
  for (size_t i = 0; i < third; ++i) {
    first.push_back(ttfts[i].second);
    last.push_back(ttfts[ttfts.size() - 1 - i].second);
  }
  course.first_ttft = Summarize(std::move(first)).p50;
  course.last_ttft = Summarize(std::move(last)).p50;
}

}  // namespace

Course CourseOf(const LoadResult& load) {
  Course course;
  course.peak_tokens = PeakTokens(load);
  course.peak_in_flight = PeakInFlight(load);
  FindTtfts(load, course);
  return course;
}

}  // namespace recurve::client
