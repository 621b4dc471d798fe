// SPDX-License-Identifier: Apache-2.0
// What a client's balancer is told of this server's load when a call ends (ORCA, gRFC A51).
#ifndef RECURVE_SERVER_GRPC_LOAD_REPORT_H_
#define RECURVE_SERVER_GRPC_LOAD_REPORT_H_

#include <string>

#include "absl/status/status.h"
#include "engine/engine.h"
#include "server/observe/load_meter.h"
#include "xds/data/orca/v3/orca_load_report.pb.h"

namespace grpc {
class CallbackServerContext;
}

namespace recurve {

// Trailing metadata: the report in bytes, or as text for a client that asks for TEXT or JSON by the
// third. Never both: readers take a call with two reports for broken.
inline constexpr char kLoadKey[] = "endpoint-load-metrics-bin";
inline constexpr char kLoadTextKey[] = "endpoint-load-metrics";
inline constexpr char kLoadFormatKey[] = "endpoint-load-metrics-format";

xds::data::orca::v3::OrcaLoadReport MakeLoadReport(const EngineInfo& info,
                                                   const EngineSnapshot& snapshot,
                                                   const LoadMeter::Rates& rates);

// `TEXT name=value, ...`, names of named_metrics behind `named_metrics.`; or `JSON {...}`.
std::string LoadReportText(const xds::data::orca::v3::OrcaLoadReport& report);
std::string LoadReportJson(const xds::data::orca::v3::OrcaLoadReport& report);

// Thread-safe.
class LoadReporter {
 public:
  LoadReporter();

  // Counts a call that ends with `code`, and adds the load to what its client will be told. Before
  // the status is sent, and once a call.
  void AddTo(grpc::CallbackServerContext* context, const Engine* engine, absl::StatusCode code);

 private:
  LoadMeter meter_;
};

}  // namespace recurve

#endif  // RECURVE_SERVER_GRPC_LOAD_REPORT_H_
