// SPDX-License-Identifier: Apache-2.0
#include "server/observe/metrics.h"

#include <prometheus/counter.h>
#include <prometheus/gauge.h>
#include <prometheus/histogram.h>
#include <prometheus/registry.h>

#include <algorithm>
#include <cmath>

namespace recurve {
namespace {

// Finer at the low end than is usual, since small models answer within milliseconds.
const std::vector<double> kFirstTokenBounds = {.0005, .001, .0025, .005, .01, .02, .04, .06,
                                               .08,   .1,   .25,   .5,   .75, 1,   2.5, 5,
                                               7.5,   10,   20,    40,   80,  160, 640, 2560};
const std::vector<double> kInterTokenBounds = {.0005, .001, .0025, .005, .01, .025, .05, .075,
                                               .1,    .15,  .2,    .3,   .4,  .5,   .75, 1,
                                               2.5,   5,    7.5,   10,   20,  40,   80};
const std::vector<double> kRequestBounds = {
    .0005, .001, .0025, .005, .01, .025, .05, .1, .2, .3,  .5,  .8,  1,   1.5,  2,
    2.5,   5,    10,    15,   20,  30,   40,  50, 60, 120, 240, 480, 960, 1920, 7680};
const std::vector<double> kEgressDelayBounds = {
    .0001, .00025, .0005, .001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30, 60};
const std::vector<double> kTokenBounds = {1,    2,    5,    10,    20,    50,    100,    200,   500,
                                          1000, 2000, 5000, 10000, 20000, 50000, 100000, 200000};
const std::vector<double> kPreemptionBounds = {0, 1, 2, 3, 4, 5, 10, 20};

double Seconds(std::chrono::nanoseconds duration) {
  return std::max(0.0, std::chrono::duration<double>(duration).count());
}

// Every way to end, so that each series is there, at 0, before it first happens.
std::vector<std::string> TerminalReasons() {
  std::vector<std::string> names;
  for (const EndReason reason :
       {EndReason::kEndOfSequence, EndReason::kStopString, EndReason::kStopToken,
        EndReason::kLength, EndReason::kContextLimit, EndReason::kTimeLimit, EndReason::kDrained,
        EndReason::kCancelled, EndReason::kDeadline, EndReason::kQueueTimeout}) {
    names.emplace_back(EndReasonName(reason));
  }
  for (const std::string_view name : {kReasonSlowReader, kReasonUnavailable, kReasonInternal}) {
    names.emplace_back(name);
  }
  return names;
}

StepTotals::Histogram Read(const prometheus::Histogram& histogram) {
  StepTotals::Histogram read;
  const prometheus::ClientMetric::Histogram now = histogram.Collect().histogram;
  uint64_t below = 0;
  for (const prometheus::ClientMetric::Bucket& bucket : now.bucket) {
    if (std::isfinite(bucket.upper_bound)) read.bounds.push_back(bucket.upper_bound);
    read.counts.push_back(bucket.cumulative_count - below);
    below = bucket.cumulative_count;
  }
  read.sum = now.sample_sum;
  return read;
}

prometheus::Family<prometheus::Counter>* AddCounters(prometheus::Registry& registry,
                                                     const std::string& name,
                                                     const std::string& help) {
  return &prometheus::BuildCounter().Name(name).Help(help).Register(registry);
}

}  // namespace

Metrics::Metrics() : registry_(std::make_shared<prometheus::Registry>()) {
  rpcs_ = AddCounters(*registry_, "recurve_requests_total", "Calls by method and gRPC code");
  finished_ = AddCounters(*registry_, "recurve_request_finished_total",
                          "Admitted requests by how they ended, each once");
  for (const std::string& reason : TerminalReasons()) finished_->Add({{"reason", reason}});
  auto* rejections = AddCounters(*registry_, "recurve_admission_rejections_total",
                                 "Generate and Complete calls refused, by reason");
  for (int i = 0; i < kNumRejections; ++i) {
    rejections_[i] =
        &rejections->Add({{"reason", std::string(RejectionName(static_cast<Rejection>(i)))}});
  }
  auto* unauthenticated = AddCounters(*registry_, "recurve_unauthenticated_total",
                                      "Calls refused for who made them, by reason");
  for (int i = 0; i < kNumUnauthenticated; ++i) {
    const std::string_view reason = UnauthenticatedName(static_cast<Unauthenticated>(i));
    unauthenticated_[i] = &unauthenticated->Add({{"reason", std::string(reason)}});
  }
  reloads_ = AddCounters(*registry_, "recurve_credential_reloads_total",
                         "Changes of credential files, by whether they took effect");
  for (const char* file : {"tls", "access"}) {
    for (const char* result : {"ok", "error"}) reloads_->Add({{"file", file}, {"result", result}});
  }
  auto* not_after = &prometheus::BuildGauge()
                         .Name("recurve_tls_certificate_not_after_timestamp_seconds")
                         .Help("When certificates expire, as Unix time; 0 without one")
                         .Register(*registry_);
  server_not_after_ = &not_after->Add({{"certificate", "server"}});
  client_ca_not_after_ = &not_after->Add({{"certificate", "client_ca"}});
  auto* stalls = AddCounters(*registry_, "recurve_egress_stalls_total",
                             "Calls cancelled because their client read too slowly, by cause");
  stalls_ = {&stalls->Add({{"cause", "timeout"}}), &stalls->Add({{"cause", "buffer"}})};
  self_check_failures_ = &AddCounters(*registry_, "recurve_self_check_failures_total",
                                      "Calls of the server to its own port without an answer")
                              ->Add({});
  ready_ = AddGauge("recurve_ready", "1 while health is SERVING");
  live_ = AddGauge(
      "recurve_live",
      "1 while the gRPC port answers the server's own calls and the engine has not failed");
  SetLive(true);
  open_streams_ = AddGauge("recurve_streams_open", "Generate and Complete calls in progress");
  backlog_ = AddGauge("recurve_egress_backlog_tokens",
                      "Tokens of streams that wait to be written to clients");
  auto* texts = &prometheus::BuildGauge()
                     .Name("recurve_texts_waiting")
                     .Help("Calls that wait to be tokenized, by kind")
                     .Register(*registry_);
  waiting_texts_ = {&texts->Add({{"kind", "prompt"}}), &texts->Add({{"kind", "tool"}})};

  first_token_ = AddHistogram("recurve_time_to_first_token_seconds",
                              "Arrival of the request to its first token", kFirstTokenBounds);
  inter_token_ = AddHistogram("recurve_inter_token_latency_seconds",
                              "Time between two tokens of a sample", kInterTokenBounds);
  egress_delay_ =
      AddHistogram("recurve_egress_delay_seconds",
                   "A message's oldest token to the start of its write", kEgressDelayBounds);
  end_to_end_ = AddHistogram("recurve_e2e_request_latency_seconds",
                             "Arrival of the request to its end", kRequestBounds);
  queue_ = AddHistogram("recurve_request_queue_time_seconds",
                        "Arrival of the request to its admission to a slot", kRequestBounds);
  prefill_ = AddHistogram("recurve_request_prefill_time_seconds",
                          "Admission to a slot to the first token", kRequestBounds);
  decode_ =
      AddHistogram("recurve_request_decode_time_seconds", "First to last token", kRequestBounds);
  per_output_token_ = AddHistogram("recurve_request_time_per_output_token_seconds",
                                   "A sample's mean time between two tokens", kInterTokenBounds);
  prompt_tokens_ =
      AddHistogram("recurve_request_prompt_tokens", "Prompt tokens of a request", kTokenBounds);
  generation_tokens_ = AddHistogram("recurve_request_generation_tokens",
                                    "Generated tokens of a request", kTokenBounds);
  preemptions_ =
      AddHistogram("recurve_request_preemptions",
                   "Times that a request was put back and recomputed", kPreemptionBounds);
}

Metrics::~Metrics() = default;

prometheus::Histogram* Metrics::AddHistogram(const std::string& name, const std::string& help,
                                             const std::vector<double>& bounds) {
  return &prometheus::BuildHistogram().Name(name).Help(help).Register(*registry_).Add({}, bounds);
}

prometheus::Gauge* Metrics::AddGauge(const std::string& name, const std::string& help) {
  return &prometheus::BuildGauge().Name(name).Help(help).Register(*registry_).Add({});
}

void Metrics::SetReady(bool ready) { ready_->Set(ready ? 1.0 : 0.0); }

void Metrics::SetLive(bool live) { live_->Set(live ? 1.0 : 0.0); }

void Metrics::CountSelfCheckFailure() { self_check_failures_->Increment(); }

void Metrics::CountRpc(const std::string& method, absl::StatusCode code) {
  rpcs_->Add({{"method", method}, {"code", absl::StatusCodeToString(code)}}).Increment();
}

void Metrics::CountRejection(Rejection why) { rejections_[static_cast<int>(why)]->Increment(); }

void Metrics::CountStall(StallCause cause) { stalls_[static_cast<int>(cause)]->Increment(); }

void Metrics::CountUnauthenticated(Unauthenticated why) {
  unauthenticated_[static_cast<int>(why)]->Increment();
}

void Metrics::CountCredentialReload(const std::string& file, bool good) {
  reloads_->Add({{"file", file}, {"result", good ? "ok" : "error"}}).Increment();
}

void Metrics::SetCertificateNotAfter(
    std::chrono::system_clock::time_point server,
    std::optional<std::chrono::system_clock::time_point> client_ca) {
  const auto seconds = [](std::chrono::system_clock::time_point time) {
    return std::chrono::duration<double>(time.time_since_epoch()).count();
  };
  server_not_after_->Set(seconds(server));
  client_ca_not_after_->Set(client_ca ? seconds(*client_ca) : 0.0);
}

void Metrics::AddOpenStreams(double change) { open_streams_->Increment(change); }

void Metrics::AddWaitingTexts(TextKind kind, double change) {
  waiting_texts_[static_cast<size_t>(kind)]->Increment(change);
}

void Metrics::AddBacklog(double tokens) {
  if (tokens != 0.0) backlog_->Increment(tokens);
}

void Metrics::ObserveFirstToken(Duration since_arrival) {
  first_token_->Observe(Seconds(since_arrival));
}

void Metrics::ObserveInterToken(Duration gap, uint32_t tokens) {
  for (uint32_t i = 0; i < tokens; ++i) inter_token_->Observe(Seconds(gap) / tokens);
}

void Metrics::ObserveEgressDelay(Duration delay) { egress_delay_->Observe(Seconds(delay)); }

void Metrics::ObserveFinished(std::string_view reason, const Finish& finish, SteadyTime arrival) {
  finished_->Add({{"reason", std::string(reason)}}).Increment();
  end_to_end_->Observe(Seconds(finish.ended - arrival));
  queue_->Observe(Seconds(finish.left_queue() - arrival));
  if (finish.admitted && finish.first_token) {
    prefill_->Observe(Seconds(*finish.first_token - *finish.admitted));
  }
  if (finish.first_token && finish.last_token) {
    decode_->Observe(Seconds(*finish.last_token - *finish.first_token));
  }
  prompt_tokens_->Observe(finish.prompt_tokens);
  generation_tokens_->Observe(finish.generated_tokens);
  preemptions_->Observe(finish.preemptions);
}

void Metrics::ObserveSample(const Finish& finish) {
  if (!finish.first_token || !finish.last_token || finish.generated_tokens < 2) return;
  const double decode = Seconds(*finish.last_token - *finish.first_token);
  per_output_token_->Observe(decode / (finish.generated_tokens - 1));
}

std::shared_ptr<prometheus::Collectable> Metrics::collectable() const { return registry_; }

Metrics::Latencies Metrics::latencies() const {
  return {Read(*first_token_), Read(*inter_token_), Read(*queue_),
          Read(*end_to_end_),  Read(*prefill_),     Read(*decode_)};
}

}  // namespace recurve
