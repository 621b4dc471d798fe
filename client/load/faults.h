// SPDX-License-Identifier: Apache-2.0
// Requests that misbehave on purpose, for what they do to the others.
#ifndef RECURVE_CLIENT_LOAD_FAULTS_H_
#define RECURVE_CLIENT_LOAD_FAULTS_H_

#include <cstdint>
#include <random>
#include <string>

#include "absl/status/statusor.h"

namespace recurve::client {

// What one request does.
struct Fault {
  enum class Kind {
    kNone,
    kCancel,    // it is cancelled after `tokens` tokens, or at once
    kDeadline,  // it has a deadline of `seconds`
    kSlow,      // its reader takes `seconds` for each message before it reads the next
  };

  Kind kind = Kind::kNone;
  uint32_t tokens = 0;
  double seconds = 0;
};

// "cancel", "deadline", "slow"; empty for none.
std::string FaultName(Fault::Kind kind);

// Which share of the requests does what.
class Faults {
 public:
  // "cancel:SHARE,deadline:SHARE:TIME,slow:SHARE:TIME", each at most once, the shares at most 1 in
  // all. Requests are cancelled after a number of tokens from 0 to the most that they ask for, and
  // deadlines are from 0 to TIME, all alike likely. InvalidArgument says what is expected.
  static absl::StatusOr<Faults> Parse(const std::string& text);

  Fault Draw(std::mt19937_64& random, uint32_t max_tokens) const;

 private:
  double cancel_ = 0, deadline_ = 0, slow_ = 0;  // shares
  double deadline_seconds_ = 0, slow_seconds_ = 0;
};

}  // namespace recurve::client

#endif  // RECURVE_CLIENT_LOAD_FAULTS_H_
