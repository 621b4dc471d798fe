// SPDX-License-Identifier: Apache-2.0
#ifndef RECURVE_SERVER_SIGNAL_POLICY_H_
#define RECURVE_SERVER_SIGNAL_POLICY_H_

#include <chrono>
#include <optional>

#include "engine/base/steady_time.h"

namespace recurve {

// What a signal that asks for the process's end means. Thread-compatible.
class SignalPolicy {
 public:
  enum class Action {
    kDrain,      // the first one
    kIgnore,     // within a second of it: GNU timeout sends two, and so do impatient supervisors
    kEndAtOnce,  // any later one
  };

  static const char* Name(Action action) {
    switch (action) {
      case Action::kDrain:
        return "drain";
      case Action::kIgnore:
        return "ignore";
      case Action::kEndAtOnce:
        return "end_at_once";
    }
    return "";
  }

  Action Hear(SteadyTime now) {
    if (!first_) {
      first_ = now;
      return Action::kDrain;
    }
    return now - *first_ < std::chrono::seconds(1) ? Action::kIgnore : Action::kEndAtOnce;
  }

 private:
  std::optional<SteadyTime> first_;
};

}  // namespace recurve

#endif  // RECURVE_SERVER_SIGNAL_POLICY_H_
