// SPDX-License-Identifier: Apache-2.0
#include "client/load/server_delta.h"

#include <algorithm>
#include <cmath>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "client/load/report_text.h"

namespace recurve::client {
namespace {

std::string Row(const char* name, const Latency& latency) {
  const auto cell = [](const std::optional<double>& seconds) {
    if (!seconds) return std::string("-");
    return std::isfinite(*seconds) ? Milliseconds(*seconds) : "more";
  };
  std::string row = absl::StrFormat("%-6s %7.0f %6s", name, latency.count(), cell(latency.Mean()));
  for (const double share : {0.5, 0.9, 0.95, 0.99}) {
    absl::StrAppendFormat(&row, " %6s", cell(latency.Quantile(share)));
  }
  return row + "\n";
}

uint64_t RowsOf(const v1::GetLoadResponse& load) {
  uint64_t rows = 0;
  for (const uint64_t count : load.prompt_rows_by_depth()) rows += count;
  for (const uint64_t count : load.generated_rows_by_depth()) rows += count;
  return rows;
}

}  // namespace

void ServerPeaks::Note(const v1::GetLoadResponse& load) {
  ++moments;
  running = std::max(running, load.requests_running());
  waiting = std::max(waiting, load.requests_waiting());
  if (load.kv_pages() == 0) return;
  const uint64_t unused = uint64_t{load.kv_pages_free()} + load.kv_pages_cached();
  const double share = 1 - static_cast<double>(unused) / load.kv_pages();
  kv_share = std::max(kv_share, share);
}

std::optional<ServerDelta> DeltaOf(const v1::GetLoadResponse& before,
                                   const v1::GetLoadResponse& after) {
  if (after.uptime_seconds() < before.uptime_seconds()) return std::nullopt;
  ServerDelta delta = {
      .prompt_tokens = after.prompt_tokens() - before.prompt_tokens(),
      .generated_tokens = after.generated_tokens() - before.generated_tokens(),
      .steps = after.steps() - before.steps(),
      .preemptions = after.preemptions_for_memory() - before.preemptions_for_memory() +
                     after.preemptions_for_priority() - before.preemptions_for_priority(),
      .rows = RowsOf(after) - RowsOf(before),
      .cached_prompt_share = std::nullopt,
      .ttft = Latency(before.time_to_first_token(), after.time_to_first_token()),
      .itl = Latency(before.inter_token_latency(), after.inter_token_latency()),
      .queue = Latency(before.queue_time(), after.queue_time())};
  const uint64_t wanted = after.prefix_tokens_wanted() - before.prefix_tokens_wanted();
  const uint64_t found = after.prefix_tokens_found() - before.prefix_tokens_found();
  if (wanted > 0) {
    delta.cached_prompt_share = static_cast<double>(found) / static_cast<double>(wanted);
  }
  return delta;
}

std::optional<double> ServerDelta::rows_per_step() const {
  if (steps == 0) return std::nullopt;
  return static_cast<double>(rows) / static_cast<double>(steps);
}

std::string ServerDeltaText(const ServerDelta& delta) {
  std::string text = absl::StrFormat(
      "the server's own figures, warm-up and other clients included:\n"
      "%d prompt tokens, %s %% of those looked up cached; %d generated tokens;\n"
      "%d steps, of %s rows in the mean; %d preemptions\n",
      delta.prompt_tokens, Figure(1, delta.cached_prompt_share, 100), delta.generated_tokens,
      delta.steps, Figure(1, delta.rows_per_step()), delta.preemptions);
  if (delta.peaks.moments > 0) {
    absl::StrAppendFormat(&text, "peaks: KV cache %.1f %%, %d requests running, %d waiting\n",
                          delta.peaks.kv_share * 100, delta.peaks.running, delta.peaks.waiting);
  }
  absl::StrAppendFormat(&text, "%-6s %7s %6s %6s %6s %6s %6s\n", "ms", "count", "mean", "p50",
                        "p90", "p95", "p99");
  return absl::StrCat(text, Row("TTFT", delta.ttft), Row("ITL", delta.itl),
                      Row("Queue", delta.queue));
}

}  // namespace recurve::client
