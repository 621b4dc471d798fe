// SPDX-License-Identifier: Apache-2.0
// What is known of a call when it comes and when it has ended, and how its end is recorded: one log
// line and, of a generating one, one terminal reason.
#ifndef RECURVE_SERVER_CALL_CALL_RECORD_H_
#define RECURVE_SERVER_CALL_CALL_RECORD_H_

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "engine/engine.h"
#include "server/observe/labels.h"
#include "server/observe/log.h"
#include "server/observe/metrics.h"

namespace recurve {

struct CallOrigin {
  std::string method;                  // such as "Generate"
  bool streams = true;                 // false: everything in one message at the end
  std::string id;                      // for log and client
  std::optional<std::string> tenant;   // whose call it is
  std::string trace_id;                // of the client's trace; empty: none
  std::string prompt;                  // what of it may stand in the log; empty: nothing
  std::optional<SteadyTime> deadline;  // of the call
  SteadyTime arrival;
};

struct CallRecord {
  absl::StatusCode code = absl::StatusCode::kUnknown;  // that the client got
  absl::Status error;                // of the refusal, or of the first sample that failed
  std::optional<Rejection> refusal;  // unset: the call was admitted, and what follows is set
  std::string_view reason;           // how it ended
  std::vector<Finish> samples;
  std::optional<SteadyTime> first_token;  // when it came here, of any sample
};

// Once a call, when it is over and the engine has ended all its samples. Thread-safe.
void RecordCall(const CallOrigin& origin, const CallRecord& record, Metrics* metrics, Log* log);

// The same of a call that generates nothing, such as Tokenize, and has ended with `status`.
void RecordAnswer(const CallOrigin& origin, const absl::Status& status, SteadyTime ended,
                  Metrics* metrics, Log* log);

}  // namespace recurve

#endif  // RECURVE_SERVER_CALL_CALL_RECORD_H_
