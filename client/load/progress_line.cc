// SPDX-License-Identifier: Apache-2.0
#include "client/load/progress_line.h"

#include <cstdio>

#include "absl/strings/str_format.h"

namespace recurve::client {

std::string ProgressText(const LoadProgress& progress) {
  return absl::StrFormat("%.1f s: %d requests sent, %d ended, %d in flight", progress.seconds,
                         progress.sent, progress.ended, progress.sent - progress.ended);
}

void ProgressLine::Show(const LoadProgress& progress) {
  if (!is_terminal_ || progress.seconds < next_) return;
  next_ = progress.seconds + kEvery;
  std::fprintf(stderr, "\r\x1b[K%s", ProgressText(progress).c_str());
}

void ProgressLine::Clear() const {
  if (is_terminal_) std::fprintf(stderr, "\r\x1b[K");
}

}  // namespace recurve::client
