// SPDX-License-Identifier: Apache-2.0
#include "server/call/trace_id.h"

#include <algorithm>

namespace recurve {
namespace {

// VERSION-TRACE-PARENT-FLAGS; later versions may add more behind another hyphen.
constexpr size_t kTraceAt = 3, kTraceBytes = 32;
constexpr size_t kParentAt = 36, kParentBytes = 16;
constexpr size_t kBytes = 55;

bool IsHex(std::string_view text) {
  return std::all_of(text.begin(), text.end(),
                     [](char c) { return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f'); });
}

bool IsId(std::string_view text) { return IsHex(text) && text.find_first_not_of('0') != text.npos; }

}  // namespace

std::string TraceIdOf(std::string_view traceparent) {
  if (traceparent.size() < kBytes) return "";
  const std::string_view version = traceparent.substr(0, 2);
  const std::string_view trace = traceparent.substr(kTraceAt, kTraceBytes);
  const bool whole =
      traceparent.size() == kBytes || (version != "00" && traceparent[kBytes] == '-');
  const bool hyphens = traceparent[2] == '-' && traceparent[kParentAt - 1] == '-' &&
                       traceparent[kParentAt + kParentBytes] == '-';
  const bool valid = whole && hyphens && IsHex(version) && version != "ff" && IsId(trace) &&
                     IsId(traceparent.substr(kParentAt, kParentBytes)) &&
                     IsHex(traceparent.substr(kBytes - 2, 2));
  return valid ? std::string(trace) : "";
}

}  // namespace recurve
