// SPDX-License-Identifier: Apache-2.0
#include "client/load/sse.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"

namespace recurve::client {

absl::Status SseParser::Feed(std::string_view bytes, std::deque<std::string>& events) {
  while (!bytes.empty()) {
    if (std::exchange(after_return_, false) && bytes.front() == '\n') {
      bytes.remove_prefix(1);
      continue;
    }
    const size_t end = bytes.find_first_of("\r\n");
    line_.append(bytes.substr(0, end));
    if (line_.size() + data_.size() > kMostEventBytes) {
      return absl::ResourceExhaustedError(
          absl::StrCat("an event of the stream has more than ", kMostEventBytes, " bytes"));
    }
    if (end == std::string_view::npos) break;
    after_return_ = bytes[end] == '\r';
    bytes.remove_prefix(end + 1);
    EndLine(events);
  }
  return absl::OkStatus();
}

void SseParser::EndLine(std::deque<std::string>& events) {
  if (line_.empty()) {
    if (has_data_) events.push_back(std::move(data_));
    data_.clear();
    has_data_ = false;
    return;
  }
  absl::string_view value = line_;
  if (absl::ConsumePrefix(&value, "data:")) {
    absl::ConsumePrefix(&value, " ");
    if (has_data_) data_.push_back('\n');
    data_.append(value.data(), value.size());
    has_data_ = true;
  }
  line_.clear();
}

}  // namespace recurve::client
