// SPDX-License-Identifier: Apache-2.0
#ifndef RECURVE_CLIENT_LOAD_PROGRESS_LINE_H_
#define RECURVE_CLIENT_LOAD_PROGRESS_LINE_H_

#include <string>

#include "client/load/run_load.h"

namespace recurve::client {

// A line of standard error that tells how far a load is, written anew some times a second; nothing
// where that is no terminal. Thread-compatible.
class ProgressLine {
 public:
  explicit ProgressLine(bool is_terminal) : is_terminal_(is_terminal) {}

  void Show(const LoadProgress& progress);
  void Clear() const;

 private:
  static constexpr double kEvery = 0.1;  // seconds

  const bool is_terminal_;
  double next_ = 0;
};

std::string ProgressText(const LoadProgress& progress);

}  // namespace recurve::client

#endif  // RECURVE_CLIENT_LOAD_PROGRESS_LINE_H_
