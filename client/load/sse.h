// SPDX-License-Identifier: Apache-2.0
#ifndef RECURVE_CLIENT_LOAD_SSE_H_
#define RECURVE_CLIENT_LOAD_SSE_H_

#include <cstddef>
#include <deque>
#include <string>
#include <string_view>

#include "absl/status/status.h"

namespace recurve::client {

// Takes server-sent events apart, however the bytes are cut. Of an event only its data is of
// interest. Thread-compatible.
class SseParser {
 public:
  static constexpr size_t kMostEventBytes = size_t{1} << 20;

  // Adds the data of the events that `bytes` ends to `events`. ResourceExhausted for an event of
  // more than kMostEventBytes; nothing is parsed after that.
  absl::Status Feed(std::string_view bytes, std::deque<std::string>& events);

 private:
  void EndLine(std::deque<std::string>& events);

  std::string line_;
  std::string data_;
  bool has_data_ = false;
  bool after_return_ = false;  // the line before ended with CR, which a LF may follow
};

}  // namespace recurve::client

#endif  // RECURVE_CLIENT_LOAD_SSE_H_
