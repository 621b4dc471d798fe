// SPDX-License-Identifier: Apache-2.0
#include "server/call/call_record.h"

#include <algorithm>
#include <functional>

namespace recurve {
namespace {

double MillisecondsBetween(SteadyTime from, SteadyTime to) {
  return std::chrono::duration<double, std::milli>(to - from).count();
}

// Times that were never reached are left out.
std::optional<SteadyTime> Earlier(std::optional<SteadyTime> a, std::optional<SteadyTime> b) {
  return a && b ? std::min(a, b) : std::max(a, b);
}

void Add(const std::vector<uint64_t>& counts, std::vector<uint64_t>* sum) {
  sum->resize(std::max(sum->size(), counts.size()));
  std::transform(counts.begin(), counts.end(), sum->begin(), sum->begin(), std::plus<>());
}

// The ends of all samples as that of one request: from the first admission to the last end, tokens
// and preemptions together, the prompt counted once.
Finish Combine(const std::vector<Finish>& samples) {
  Finish all = samples.front();
  for (size_t i = 1; i < samples.size(); ++i) {
    const Finish& finish = samples[i];
    all.generated_tokens += finish.generated_tokens;
    all.preemptions += finish.preemptions;
    Add(finish.generated_depth.rows_by_depth, &all.generated_depth.rows_by_depth);
    all.admitted = Earlier(all.admitted, finish.admitted);
    all.first_token = Earlier(all.first_token, finish.first_token);
    all.last_token = std::max(all.last_token, finish.last_token);
    all.ended = std::max(all.ended, finish.ended);
  }
  return all;
}

void AddAdmitted(const CallOrigin& origin, const CallRecord& record, const Finish& finish,
                 std::vector<LogField>* fields) {
  fields->push_back({"reason", std::string(record.reason)});
  if (record.samples.size() > 1) fields->push_back({"samples", uint64_t{record.samples.size()}});
  fields->push_back({"prompt_tokens", uint64_t{finish.prompt_tokens}});
  fields->push_back({"generated_tokens", uint64_t{finish.generated_tokens}});
  fields->push_back({"mean_depth", finish.generated_depth.Mean()});
  fields->push_back({"preemptions", uint64_t{finish.preemptions}});
  fields->push_back({"queue_ms", MillisecondsBetween(origin.arrival, finish.left_queue())});
  if (record.first_token) {
    fields->push_back({"ttft_ms", MillisecondsBetween(origin.arrival, *record.first_token)});
  }
  fields->push_back({"total_ms", MillisecondsBetween(origin.arrival, finish.ended)});
}

// Who called what, and what came of it.
std::vector<LogField> CommonFields(const CallOrigin& origin, absl::StatusCode code) {
  std::vector<LogField> fields = {{"id", origin.id},
                                  {"method", origin.method},
                                  {"code", std::string(absl::StatusCodeToString(code))}};
  if (origin.tenant) fields.push_back({"tenant", *origin.tenant});
  if (!origin.trace_id.empty()) fields.push_back({"trace_id", origin.trace_id});
  return fields;
}

}  // namespace

void RecordCall(const CallOrigin& origin, const CallRecord& record, Metrics* metrics, Log* log) {
  metrics->CountRpc(origin.method, record.code);
  std::vector<LogField> fields = CommonFields(origin, record.code);
  if (!origin.prompt.empty()) fields.push_back({"prompt", origin.prompt});
  if (record.refusal) {
    fields.push_back({"refused", std::string(RejectionName(*record.refusal))});
  } else {
    const Finish finish = Combine(record.samples);
    metrics->ObserveFinished(record.reason, finish, origin.arrival);
    for (const Finish& sample : record.samples) metrics->ObserveSample(sample);
    AddAdmitted(origin, record, finish, &fields);
  }
  // The message of a refusal is there even if it is empty.
  if (record.refusal || !record.error.ok()) {
    fields.push_back({"error", std::string(record.error.message())});
  }
  log->Write("request", fields);
}

void RecordAnswer(const CallOrigin& origin, const absl::Status& status, SteadyTime ended,
                  Metrics* metrics, Log* log) {
  metrics->CountRpc(origin.method, status.code());
  std::vector<LogField> fields = CommonFields(origin, status.code());
  if (!status.ok()) fields.push_back({"error", std::string(status.message())});
  fields.push_back({"total_ms", MillisecondsBetween(origin.arrival, ended)});
  log->Write("request", fields);
}

}  // namespace recurve
