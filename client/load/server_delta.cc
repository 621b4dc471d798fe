// SPDX-License-Identifier: Apache-2.0
#include "client/load/server_delta.h"

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

}  // namespace

std::optional<ServerDelta> DeltaOf(const v1::GetLoadResponse& before,
                                   const v1::GetLoadResponse& after) {
  if (after.uptime_seconds() < before.uptime_seconds()) return std::nullopt;
  ServerDelta delta = {
      .prompt_tokens = after.prompt_tokens() - before.prompt_tokens(),
      .generated_tokens = after.generated_tokens() - before.generated_tokens(),
      .steps = after.steps() - before.steps(),
      .preemptions = after.preemptions_for_memory() - before.preemptions_for_memory() +
                     after.preemptions_for_priority() - before.preemptions_for_priority(),
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

std::string ServerDeltaText(const ServerDelta& delta) {
  auto share = delta.cached_prompt_share;
  if (share) *share *= 100;
  std::string text = absl::StrFormat(
      "the server's own figures, warm-up and other clients included:\n"
      "%d prompt tokens, %s %% of those looked up cached; %d generated tokens;\n"
      "%d steps; %d preemptions\n",
      delta.prompt_tokens, Figure(1, share), delta.generated_tokens, delta.steps,
      delta.preemptions);
  absl::StrAppendFormat(&text, "%-6s %7s %6s %6s %6s %6s %6s\n", "ms", "count", "mean", "p50",
                        "p90", "p95", "p99");
  return absl::StrCat(text, Row("TTFT", delta.ttft), Row("ITL", delta.itl),
                      Row("Queue", delta.queue));
}

}  // namespace recurve::client
