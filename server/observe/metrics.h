// SPDX-License-Identifier: Apache-2.0
// What the server itself counts and times. The engine's figures are in engine_metrics.h; all of
// them are in docs/metrics.md.
#ifndef RECURVE_SERVER_OBSERVE_METRICS_H_
#define RECURVE_SERVER_OBSERVE_METRICS_H_

#include <array>
#include <chrono>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "absl/status/status.h"
#include "engine/engine.h"
#include "server/observe/labels.h"

namespace prometheus {
class Collectable;
class Counter;
class Gauge;
class Histogram;
class Registry;
template <typename T>
class Family;
}  // namespace prometheus

namespace recurve {

// Thread-safe; an observation takes well under a microsecond.
class Metrics {
 public:
  using Duration = std::chrono::nanoseconds;

  Metrics();
  ~Metrics();

  void SetReady(bool ready);
  void SetLive(bool live);  // true at first
  void CountSelfCheckFailure();
  void CountRpc(const std::string& method, absl::StatusCode code);
  void CountRejection(Rejection why);
  void CountUnauthenticated(Unauthenticated why);
  void CountStall(StallCause cause);
  // `file`: which credentials were read anew, "tls" or "access".
  void CountCredentialReload(const std::string& file, bool good);
  // Of the certificate that is served, and of the authorities of clients', if there are any.
  void SetCertificateNotAfter(std::chrono::system_clock::time_point server,
                              std::optional<std::chrono::system_clock::time_point> client_ca);
  void AddOpenStreams(double change);
  void AddWaitingTexts(TextKind kind, double change);
  void AddBacklog(double tokens);

  void ObserveFirstToken(Duration since_arrival);
  // `tokens` tokens that came `gap` after the one before them.
  void ObserveInterToken(Duration gap, uint32_t tokens);
  void ObserveEgressDelay(Duration delay);
  // The end of an admitted request; once each. `finish`: of all its samples.
  void ObserveFinished(std::string_view reason, const Finish& finish, SteadyTime arrival);

  // The end of one sample of a request; once each.
  void ObserveSample(const Finish& finish);

  std::shared_ptr<prometheus::Collectable> collectable() const;

  // In seconds, since start: those of the histograms that calls tell as well.
  struct Latencies {
    StepTotals::Histogram first_token, inter_token, queue, end_to_end, prefill, decode;
  };
  Latencies latencies() const;

 private:
  prometheus::Histogram* AddHistogram(const std::string& name, const std::string& help,
                                      const std::vector<double>& bounds);
  prometheus::Gauge* AddGauge(const std::string& name, const std::string& help);

  const std::shared_ptr<prometheus::Registry> registry_;
  // Owned by the registry.
  prometheus::Family<prometheus::Counter>* rpcs_;
  prometheus::Family<prometheus::Counter>* finished_;
  std::array<prometheus::Counter*, kNumRejections> rejections_;
  std::array<prometheus::Counter*, kNumUnauthenticated> unauthenticated_;
  std::array<prometheus::Counter*, kNumStallCauses> stalls_;
  prometheus::Family<prometheus::Counter>* reloads_;
  prometheus::Gauge* server_not_after_;
  prometheus::Gauge* client_ca_not_after_;
  prometheus::Counter* self_check_failures_;
  prometheus::Gauge* ready_;
  prometheus::Gauge* live_;
  prometheus::Gauge* open_streams_;
  prometheus::Gauge* backlog_;
  std::array<prometheus::Gauge*, kNumTextKinds> waiting_texts_;  // by TextKind
  prometheus::Histogram* first_token_;
  prometheus::Histogram* inter_token_;
  prometheus::Histogram* egress_delay_;
  prometheus::Histogram* end_to_end_;
  prometheus::Histogram* queue_;
  prometheus::Histogram* prefill_;
  prometheus::Histogram* decode_;
  prometheus::Histogram* per_output_token_;
  prometheus::Histogram* prompt_tokens_;
  prometheus::Histogram* generation_tokens_;
  prometheus::Histogram* preemptions_;
};

}  // namespace recurve

#endif  // RECURVE_SERVER_OBSERVE_METRICS_H_
