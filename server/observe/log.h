// SPDX-License-Identifier: Apache-2.0
// The server's log: one line an event on a stream, as key=value text or as JSON.
#ifndef RECURVE_SERVER_OBSERVE_LOG_H_
#define RECURVE_SERVER_OBSERVE_LOG_H_

#include <atomic>
#include <cstdint>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <variant>
#include <vector>

#include "engine/base/mutex.h"
#include "server/options.h"

namespace recurve {

struct LogField {
  std::string_view key;  // [a-z_]+
  std::variant<std::string, uint64_t, double, bool> value;
};

// Thread-safe. A value can never break out of its field or its line, whatever bytes it holds. A
// thread of its own writes, so that who reads the log slowly, or not at all, holds up nobody else:
// lines that come while too much waits are dropped, and a line `log_dropped` later says how many.
class Log {
 public:
  // Writes to the file descriptor `out`, which must outlive the log. `max_waiting`: bytes that may
  // wait beside those being written.
  Log(LogFormat format, int out, size_t max_waiting = 1 << 20);
  ~Log();  // as Flush; what is not written then is lost

  // `event`: what happened, in [a-z_]+. Does not block.
  void Write(std::string_view event, const std::vector<LogField>& fields);

  // Waits until everything is written, for a second at most.
  void Flush();

 private:
  void Run();
  void WriteOut(std::string_view lines) const;

  const LogFormat format_;
  const int out_;
  const size_t max_waiting_;
  std::atomic<bool> give_up_{false};  // stop waiting for the reader

  Mutex mutex_;
  CondVar work_;
  CondVar idle_;
  std::string waiting_ ABSL_GUARDED_BY(mutex_);   // whole lines
  uint64_t dropped_ ABSL_GUARDED_BY(mutex_) = 0;  // lines, since the last that said so
  bool writing_ ABSL_GUARDED_BY(mutex_) = false;
  bool stopping_ ABSL_GUARDED_BY(mutex_) = false;

  std::thread thread_;  // last: starts when the rest is there
};

// The line itself, without newline. `time`: RFC 3339.
std::string FormatLogLine(LogFormat format, std::string_view time, std::string_view event,
                          const std::vector<LogField>& fields);

}  // namespace recurve

#endif  // RECURVE_SERVER_OBSERVE_LOG_H_
