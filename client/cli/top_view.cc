// SPDX-License-Identifier: Apache-2.0
#include "client/cli/top_view.h"

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <optional>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "client/cli/figures.h"
#include "client/cli/latency.h"

namespace recurve::client {
namespace {

constexpr size_t kBarWidth = 16;
// Of a recursion's rows: the rate, a space, the bar in its brackets.
constexpr size_t kRowsWidth = 6 + 1 + kBarWidth + 2;

// A counter that fell has begun anew.
uint64_t Growth(uint64_t before, uint64_t now) { return now >= before ? now - before : now; }

// The time between two answers.
struct Interval {
  explicit Interval(const TopState& state) : now(state.now) {
    const v1::GetLoadResponse& earlier = state.before;
    const bool same_life = earlier.uptime_seconds() <= now.uptime_seconds() &&
                           earlier.steps() <= now.steps() &&
                           earlier.prompt_tokens() <= now.prompt_tokens() &&
                           earlier.generated_tokens() <= now.generated_tokens();
    before = same_life ? &earlier : &v1::GetLoadResponse::default_instance();
    seconds = now.uptime_seconds() - before->uptime_seconds();
  }

  bool since_start() const { return before->uptime_seconds() == 0; }

  std::string Rate(uint64_t earlier, uint64_t later) const {
    return Rate(static_cast<double>(Growth(earlier, later)));
  }
  std::string Rate(double growth) const {
    return ShortNumber(seconds > 0 ? growth / seconds : 0);  // two answers at once have no rates
  }

  const v1::GetLoadResponse& now;
  const v1::GetLoadResponse* before;
  double seconds;
};

// Rows of an interval by the recursions that they ran.
class Depths {
 public:
  using Rows = google::protobuf::RepeatedField<uint64_t>;

  Depths(const Rows& before, const Rows& now) {
    for (int i = 0; i < now.size(); ++i) {
      rows_.push_back(static_cast<double>(Growth(i < before.size() ? before[i] : 0, now[i])));
    }
  }

  size_t recursions() const { return rows_.size(); }
  // Rows that took `recursion`, which counts from 1.
  double Taking(size_t recursion) const {
    double taking = 0;
    for (size_t i = recursion - 1; i < rows_.size(); ++i) taking += rows_[i];
    return taking;
  }
  std::string Mean() const {
    double block_rows = 0;
    for (size_t recursion = 1; recursion <= recursions(); ++recursion) {
      block_rows += Taking(recursion);
    }
    return block_rows > 0 ? ShortNumber(block_rows / Taking(1)) : "-";
  }

 private:
  std::vector<double> rows_;  // element i: ran i + 1 recursions
};

// A line of the view, with the part that wears the colour of a depth.
struct Line {
  std::string text;
  size_t begin = 0, end = 0;
  uint32_t depth = 0;  // 0: none
};

std::string Title(const TopState& state) {
  const v1::GetModelInfoResponse& info = state.info;
  return absl::StrCat(FitLine(info.model_name(), 32), " (", FitLine(info.precision(), 8), ", ",
                      FitLine(info.backend(), 8), ") at ", state.server, ", version ",
                      info.server_version());
}

std::string Subtitle(const TopState& state, const Interval& interval) {
  if (!state.silence.empty()) return state.silence;
  return absl::StrCat("up ", ShortAge(interval.now.uptime_seconds()),
                      interval.now.draining() ? ", draining" : "", "; figures ",
                      interval.since_start()
                          ? "since the start"
                          : absl::StrCat("of the last ", ShortNumber(interval.seconds), " s"));
}

double Share(double part, double whole) { return whole > 0 ? part / whole : 0; }

void AddRequests(const Interval& interval, std::vector<Line>& lines) {
  const v1::GetLoadResponse& before = *interval.before;
  const v1::GetLoadResponse& now = interval.now;
  const std::string bar = Bar(Share(now.requests_running(), now.slots()), 10);
  lines.push_back(
      {absl::StrFormat("requests    %6s of %s slots %s  %s waiting (%s tokens)",
                       ShortCount(now.requests_running()), ShortCount(now.slots()), bar,
                       ShortCount(now.requests_waiting()), ShortCount(now.waiting_tokens()))});
  lines.push_back(
      {absl::StrFormat("tokens/s    %6s prompt  %6s generated",
                       interval.Rate(before.prompt_tokens(), now.prompt_tokens()),
                       interval.Rate(before.generated_tokens(), now.generated_tokens()))});
  const Depths prompt(before.prompt_rows_by_depth(), now.prompt_rows_by_depth());
  const Depths generated(before.generated_rows_by_depth(), now.generated_rows_by_depth());
  lines.push_back({absl::StrFormat("mean depth  %6s prompt  %6s generated  of %d", prompt.Mean(),
                                   generated.Mean(), now.generated_rows_by_depth_size())});
  lines.push_back({absl::StrFormat(
      "preempted   %6s for memory  %s for priority",
      ShortCount(Growth(before.preemptions_for_memory(), now.preemptions_for_memory())),
      ShortCount(Growth(before.preemptions_for_priority(), now.preemptions_for_priority())))});
}

void AddStages(const Interval& interval, std::vector<Line>& lines) {
  constexpr int kMostStages = 5;  // as many as a step has
  const int stages = std::min(interval.now.stages_size(), kMostStages);
  std::string names = "stage   ";
  std::string rates = "rows/s  ";
  for (int i = 0; i < stages; ++i) {
    const v1::StageLoad& stage = interval.now.stages(i);
    const uint64_t before =
        i < interval.before->stages_size() ? interval.before->stages(i).rows() : 0;
    absl::StrAppendFormat(&names, "%10s", FitLine(stage.name(), 9));
    absl::StrAppendFormat(&rates, "%10s", interval.Rate(before, stage.rows()));
  }
  absl::StrAppendFormat(&names, "%12s", "steps/s");
  absl::StrAppendFormat(&rates, "%12s",
                        interval.Rate(interval.before->steps(), interval.now.steps()));
  lines.push_back({std::move(names)});
  lines.push_back({std::move(rates)});
}

// A line of the table of groups: a cache group, a recursion, or both.
struct Place {
  std::string name;
  size_t recursion;            // 0: none
  const v1::GroupLoad* group;  // null: none
  uint64_t evicted_before;
};

// The server's groups, in its order. With a cache that recursions share it has none for those from
// the second on: they come behind the first.
std::vector<Place> Places(const Interval& interval, size_t recursions) {
  std::vector<Place> places;
  size_t placed = 0;  // recursions
  const auto place_the_rest = [&] {
    for (; placed < recursions; ++placed) {
      places.push_back({absl::StrCat(placed + 1), placed + 1, nullptr, 0});
    }
  };
  for (int i = 0; i < interval.now.groups_size(); ++i) {
    const v1::GroupLoad& group = interval.now.groups(i);
    Place place{group.name(), 0, &group, 0};
    if (i < interval.before->groups_size()) {
      place.evicted_before = interval.before->groups(i).evicted_entries();
    }
    if (placed < recursions && group.name() == absl::StrCat(placed + 1)) {
      place.recursion = ++placed;
    } else if (placed > 0) {
      place_the_rest();
    }
    places.push_back(std::move(place));
  }
  place_the_rest();
  return places;
}

// "  120 [##..............]": pages in use, and their share of all.
std::string Pages(uint32_t used, uint32_t all) {
  return absl::StrFormat("  %6s %s", ShortCount(used), Bar(Share(used, all), kBarWidth));
}

void AddGroups(const Interval& interval, std::vector<Line>& lines) {
  const v1::GetLoadResponse& before = *interval.before;
  const v1::GetLoadResponse& now = interval.now;
  const Depths prompt(before.prompt_rows_by_depth(), now.prompt_rows_by_depth());
  const Depths generated(before.generated_rows_by_depth(), now.generated_rows_by_depth());
  const size_t recursions = std::max(prompt.recursions(), generated.recursions());
  const auto rows = [&](size_t recursion) {
    return prompt.Taking(recursion) + generated.Taking(recursion);
  };
  lines.push_back(
      {absl::StrFormat("%-6s %6s%27s %-18s %9s %9s", "group", "rows/s", "pages",
                       absl::StrCat("of ", ShortCount(now.kv_pages())), "entries", "evicted/s")});
  double entries = 0, evicted = 0;
  for (const Place& place : Places(interval, recursions)) {
    Line line{absl::StrFormat("%-6s ", FitLine(place.name, 6))};
    if (place.recursion > 0) {
      absl::StrAppendFormat(&line.text, "%6s ", interval.Rate(rows(place.recursion)));
      line.begin = line.text.size();
      absl::StrAppend(&line.text, Bar(Share(rows(place.recursion), rows(1)), kBarWidth));
      line.end = line.text.size();
      line.depth = static_cast<uint32_t>(place.recursion);
    } else {
      line.text.append(kRowsWidth, ' ');
    }
    if (place.group != nullptr) {
      const auto gone =
          static_cast<double>(Growth(place.evicted_before, place.group->evicted_entries()));
      absl::StrAppendFormat(&line.text, "%s %9s %9s", Pages(place.group->pages(), now.kv_pages()),
                            ShortCount(place.group->entries()), interval.Rate(gone));
      entries += static_cast<double>(place.group->entries());
      evicted += gone;
    }
    lines.push_back(std::move(line));
  }
  const uint64_t unused = uint64_t{now.kv_pages_free()} + now.kv_pages_cached();
  const auto used =
      static_cast<uint32_t>(now.kv_pages() - std::min<uint64_t>(now.kv_pages(), unused));
  const std::string no_rows(kRowsWidth, ' ');
  lines.push_back({absl::StrFormat("%-6s %s%s %9s %9s", "all", no_rows, Pages(used, now.kv_pages()),
                                   ShortCount(entries), interval.Rate(evicted))});
  const uint64_t wanted = Growth(before.prefix_tokens_wanted(), now.prefix_tokens_wanted());
  const uint64_t found = Growth(before.prefix_tokens_found(), now.prefix_tokens_found());
  const double share = Share(static_cast<double>(found), static_cast<double>(wanted));
  lines.push_back({absl::StrFormat("%-6s %s%s %19s", "cached", no_rows,
                                   Pages(now.kv_pages_cached(), now.kv_pages()),
                                   absl::StrFormat("%.0f%% of prompts", 100 * share))});
}

void AddLatency(const char* name, const v1::Histogram& before, const v1::Histogram& now,
                std::vector<Line>& lines) {
  const Latency latency(before, now);
  const auto text = [&](std::optional<double> seconds) {
    if (!seconds) return std::string("-");
    if (std::isinf(*seconds)) return absl::StrCat("> ", ShortLatency(latency.largest_bound()));
    return ShortLatency(*seconds);
  };
  lines.push_back({absl::StrFormat("%-16s %10s %12s %12s %12s", name, ShortCount(latency.count()),
                                   text(latency.Mean()), text(latency.Quantile(0.5)),
                                   text(latency.Quantile(0.99)))});
}

void AddLatencies(const Interval& interval, std::vector<Line>& lines) {
  const v1::GetLoadResponse& before = *interval.before;
  const v1::GetLoadResponse& now = interval.now;
  lines.push_back(
      {absl::StrFormat("%-16s %10s %12s %12s %12s", "latency", "count", "mean", "p50", "p99")});
  AddLatency("first token", before.time_to_first_token(), now.time_to_first_token(), lines);
  AddLatency("between tokens", before.inter_token_latency(), now.inter_token_latency(), lines);
  AddLatency("queue", before.queue_time(), now.queue_time(), lines);
}

// A line that is cut has no colour: its mark might lie beyond the cut.
std::string Finished(const Line& line, size_t columns, DepthMarks marks) {
  std::string text = FitLine(line.text, columns);
  if (marks != DepthMarks::kColors || line.depth == 0 || text != line.text) return text;
  return absl::StrCat(text.substr(0, line.begin),
                      MarkDepth(marks, text.substr(line.begin, line.end - line.begin), line.depth),
                      text.substr(line.end));
}

}  // namespace

std::vector<std::string> TopView(const TopState& state, size_t columns, DepthMarks marks) {
  const Interval interval(state);
  std::vector<Line> lines = {{Title(state)}, {Subtitle(state, interval)}, {state.reason}};
  AddRequests(interval, lines);
  lines.push_back({});
  AddStages(interval, lines);
  lines.push_back({});
  AddGroups(interval, lines);
  lines.push_back({});
  AddLatencies(interval, lines);
  std::vector<std::string> texts;
  texts.reserve(lines.size());
  for (const Line& line : lines) {
    texts.push_back(Finished(line, std::min(columns, kTopColumns), marks));
  }
  return texts;
}

}  // namespace recurve::client
