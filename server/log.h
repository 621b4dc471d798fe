// SPDX-License-Identifier: Apache-2.0
// The server's log: one line an event on a stream, as key=value text or as JSON.
#ifndef RECURVE_SERVER_LOG_H_
#define RECURVE_SERVER_LOG_H_

#include <cstdint>
#include <cstdio>
#include <mutex>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

#include "server/options.h"

namespace recurve {

struct LogField {
  std::string_view key;  // [a-z_]+
  std::variant<std::string, uint64_t, double> value;
};

// Thread-safe. A value can never break out of its field or its line, whatever bytes it holds.
class Log {
 public:
  // Writes to `out`, which must outlive the log.
  Log(LogFormat format, std::FILE* out) : format_(format), out_(out) {}

  // `event`: what happened, in [a-z_]+.
  void Write(std::string_view event, const std::vector<LogField>& fields);

 private:
  const LogFormat format_;
  std::FILE* const out_;
  std::mutex mutex_;  // one line at a time
};

// The line itself, without newline. `time`: RFC 3339.
std::string FormatLogLine(LogFormat format, std::string_view time, std::string_view event,
                          const std::vector<LogField>& fields);

}  // namespace recurve

#endif  // RECURVE_SERVER_LOG_H_
