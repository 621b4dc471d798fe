// SPDX-License-Identifier: Apache-2.0
#include "client/load/report.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_format.h"

namespace recurve::client {
namespace {

// From this share on the prefix cache shows in the time to the first token.
constexpr double kMuchCached = 0.05;
// From this share of the median TTFT on a median wait in the client is what was measured.
constexpr double kMuchQueued = 0.1;
constexpr double kMuchGrown = 2;   // of the median TTFT over a load
constexpr double kMuchCpu = 0.85;  // processors, of the one or two that its threads can use

// Collects the figures of measured, completed requests.
class Completed {
 public:
  explicit Completed(Report* report) : report_(report) {}

  void Add(const RequestRecord& record) {
    report_->prompt_tokens += record.prompt_tokens;
    report_->cached_prompt_tokens += record.cached_tokens;
    report_->generated_tokens += record.generated_tokens;
    depth_sum_ += record.mean_depth * static_cast<double>(record.generated_rows);
    rows_ += record.generated_rows;
    e2e_.push_back(record.end_to_end());
    client_queue_.push_back(record.client_queue());
    if (const auto ttft = record.time_to_first_token()) ttft_.push_back(*ttft);
    if (const auto tpot = record.time_per_output_token()) tpot_.push_back(*tpot);
    const std::vector<double> itl = record.inter_token_latencies();
    itl_.insert(itl_.end(), itl.begin(), itl.end());
  }

  void Finish() {
    if (rows_ > 0) report_->mean_depth = depth_sum_ / static_cast<double>(rows_);
    report_->ttft = Summarize(std::move(ttft_));
    report_->itl = Summarize(std::move(itl_));
    report_->tpot = Summarize(std::move(tpot_));
    report_->e2e = Summarize(std::move(e2e_));
    report_->client_queue = Summarize(std::move(client_queue_));
  }

 private:
  Report* const report_;
  std::vector<double> ttft_, itl_, tpot_, e2e_, client_queue_;
  double depth_sum_ = 0;
  uint64_t rows_ = 0;
};

void AddToWindow(const LoadResult& load, const RequestRecord& record, Report& report) {
  const auto is_inside = [&load](double at) {
    return at >= load.window_begin && at <= load.window_end;
  };
  if (is_inside(record.ended)) {
    ++report.window_requests;
    const bool is_judged = report.goodput && record.fault == Fault::Kind::kNone;
    if (is_judged && report.plan.slo->MissedBy(record).empty()) ++report.goodput->window_good;
    report.window_prompt_tokens += record.prompt_tokens;
  }
  for (const RequestRecord::TokenMessage& message : record.messages) {
    if (is_inside(message.at)) report.window_tokens += message.tokens;
  }
}

void AddOutcome(const RequestRecord& record, Report& report) {
  Outcome& outcome = report.outcomes[record.outcome()];
  if (outcome.requests++ == 0) outcome.first_message = std::string(record.status.message());
  outcome.generated_tokens += record.generated_tokens;
  report.pushbacks += record.pushbacks;
  report.pushback_seconds += record.pushback_seconds;
  if (record.token_counts == TokenCounts::kOfRequest) ++report.with_spread_tokens;
  if (record.token_counts == TokenCounts::kNone) ++report.with_unknown_tokens;
  report.retries += static_cast<uint64_t>(std::max(0, record.report.tries - 1));
  report.resumes += static_cast<uint64_t>(record.report.resumes);
  if (record.report.tries > 0) ++report.by_server[record.report.last_server];
}

void AddClient(const LoadResult& load, Report& report) {
  uint64_t tokens = 0;
  for (const RequestRecord& record : load.records) {
    for (const RequestRecord::TokenMessage& message : record.messages) tokens += message.tokens;
  }
  if (load.seconds > 0) report.client_cpus = load.cpu_seconds / load.seconds;
  if (tokens > 0) report.client_seconds_per_token = load.cpu_seconds / static_cast<double>(tokens);
}

void Judge(const RequestRecord& record, const Slo& slo, Goodput& goodput) {
  if (record.cut_short) return;
  ++goodput.judged;
  const std::vector<std::string> missed =
      record.completed() ? slo.MissedBy(record) : std::vector<std::string>{Goodput::kNotCompleted};
  for (const std::string& name : missed) ++goodput.missed[name];
  if (missed.empty()) ++goodput.good;
}

}  // namespace

std::optional<double> Goodput::share() const {
  if (judged == 0) return std::nullopt;
  return static_cast<double>(good) / static_cast<double>(judged);
}

bool Report::slo_is_met() const {
  return goodput && goodput->share().value_or(-1) >= plan.slo_share;
}

uint64_t Report::completed() const {
  const auto found = outcomes.find(kCompleted);
  return found == outcomes.end() ? 0 : found->second.requests;
}

uint64_t Report::sent() const {
  uint64_t sum = 0;
  for (const auto& [name, outcome] : outcomes) sum += outcome.requests;
  return sum;
}

uint64_t Report::faulted() const {
  uint64_t sum = 0;
  for (const auto& [fault, by_outcome] : faults) {
    for (const auto& [outcome, requests] : by_outcome) sum += requests;
  }
  return sum;
}

std::optional<double> Report::cached_prompt_share() const {
  if (prompt_tokens == 0) return std::nullopt;
  return static_cast<double>(cached_prompt_tokens) / static_cast<double>(prompt_tokens);
}

std::optional<double> Report::Rate(uint64_t count) const {
  if (seconds <= 0) return std::nullopt;
  return static_cast<double>(count) / seconds;
}

std::optional<double> Report::CompletedRate(uint64_t count) const {
  return completed() > 0 ? Rate(count) : std::nullopt;
}

std::vector<std::string> Report::Warnings() const {
  std::vector<std::string> warnings;
  if (completed() == 0) {
    warnings.emplace_back("no request was completed, so nothing of a completion was measured");
  }
  if (const auto share = cached_prompt_share(); share && *share >= kMuchCached) {
    warnings.push_back(absl::StrFormat(
        "%.0f %% of the prompt tokens were not computed but found in the server's prefix cache, "
        "from earlier requests: TTFT, E2E and the rates are better than those of new prompts. %s",
        *share * 100,
        plan.prompt_seed
            ? "Leave out --prompt_seed, or serve with --prefix_cache=false."
            : "Prompts of a file repeat from run to run: serve with --prefix_cache=false."));
  }
  if (with_unknown_tokens > 0) {
    warnings.push_back(absl::StrFormat(
        "for %d requests the server did not tell how many tokens it generated: each message with "
        "text counts as one, so tokens/s, ITL and TPOT are of messages",
        with_unknown_tokens));
  }
  if (with_spread_tokens > 0) {
    warnings.push_back(absl::StrFormat(
        "for %d requests the server told tokens in sum alone: they are spread evenly over the "
        "messages",
        with_spread_tokens));
  }
  if (course.first_ttft && *course.last_ttft > kMuchGrown * *course.first_ttft) {
    warnings.push_back(absl::StrFormat(
        "no steady state: the median TTFT grew from %.1f ms in the first third of the requests to "
        "%.1f ms in the last one. The load is more than the server can take, or the warm-up too "
        "short",
        *course.first_ttft * 1e3, *course.last_ttft * 1e3));
  }
  if (client_cpus.value_or(0) > kMuchCpu) {
    warnings.push_back(absl::StrFormat(
        "this client kept %.2f processors busy: it may be what was measured", *client_cpus));
  }
  if (client_queue.p50 > kMuchQueued * ttft.p50) {
    warnings.push_back(absl::StrFormat(
        "half of the requests waited %.1f ms or more in this client before they were sent, which "
        "TTFT and E2E count: raise --max_in_flight, ask for less, or load from more machines",
        client_queue.p50 * 1e3));
  }
  return warnings;
}

Report MakeReport(const LoadPlan& plan, const LoadResult& load) {
  Report report;
  report.plan = plan;
  report.seconds = load.window_end - load.window_begin;
  report.interrupted = load.stopped;
  if (plan.slo) report.goodput.emplace();
  Completed completed(&report);
  for (const RequestRecord& record : load.records) {
    if (record.completed()) AddToWindow(load, record, report);
    if (!record.is_measured) continue;
    if (record.fault != Fault::Kind::kNone) {
      ++report.faults[FaultName(record.fault)][record.outcome()];
      continue;
    }
    AddOutcome(record, report);
    if (plan.slo) Judge(record, *plan.slo, *report.goodput);
    if (record.completed()) completed.Add(record);
  }
  completed.Finish();
  report.course = CourseOf(load);
  AddClient(load, report);
  return report;
}

}  // namespace recurve::client
