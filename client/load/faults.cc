// SPDX-License-Identifier: Apache-2.0
#include "client/load/faults.h"

#include <set>
#include <vector>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "client/load/extent.h"

namespace recurve::client {
namespace {

absl::Status Expected(const std::string& part) {
  return absl::InvalidArgumentError(
      absl::StrCat("'", part,
                   "' is not possible: expected cancel:SHARE, deadline:SHARE:TIME or "
                   "slow:SHARE:TIME, with a share above 0, at most 1, and a time such as 2s"));
}

}  // namespace

std::string FaultName(Fault::Kind kind) {
  switch (kind) {
    case Fault::Kind::kNone:
      break;
    case Fault::Kind::kCancel:
      return "cancel";
    case Fault::Kind::kDeadline:
      return "deadline";
    case Fault::Kind::kSlow:
      return "slow";
  }
  return "";
}

absl::StatusOr<Faults> Faults::Parse(const std::string& text) {
  Faults faults;
  std::set<std::string> seen;
  for (const std::string& part : std::vector<std::string>(absl::StrSplit(text, ','))) {
    const std::vector<std::string> words = absl::StrSplit(part, ':');
    const bool is_deadline = words[0] == "deadline", is_slow = words[0] == "slow";
    const bool has_time = is_deadline || is_slow;
    double share = 0;
    if ((words[0] != "cancel" && !has_time) || words.size() != (has_time ? 3 : 2) ||
        !absl::SimpleAtod(words[1], &share) || !(share > 0) || share > 1) {
      return Expected(part);
    }
    if (!seen.insert(words[0]).second) {
      return absl::InvalidArgumentError(absl::StrCat("'", text, "' has ", words[0], " twice"));
    }
    (is_deadline ? faults.deadline_ : is_slow ? faults.slow_ : faults.cancel_) = share;
    if (!has_time) continue;
    const auto seconds = ParseSeconds(words[2]);
    if (!seconds.ok()) return Expected(part);
    (is_deadline ? faults.deadline_seconds_ : faults.slow_seconds_) = *seconds;
  }
  if (faults.cancel_ + faults.deadline_ + faults.slow_ > 1) {
    return absl::InvalidArgumentError(
        absl::StrCat("'", text, "' has shares of more than 1 in all"));
  }
  return faults;
}

Fault Faults::Draw(std::mt19937_64& random, uint32_t max_tokens) const {
  const double place = std::uniform_real_distribution<>()(random);
  if (place < cancel_) {
    return {Fault::Kind::kCancel, std::uniform_int_distribution<uint32_t>(0, max_tokens)(random)};
  }
  if (place < cancel_ + deadline_) {
    return {Fault::Kind::kDeadline, 0,
            std::uniform_real_distribution<>(0, deadline_seconds_)(random)};
  }
  if (place < cancel_ + deadline_ + slow_) return {Fault::Kind::kSlow, 0, slow_seconds_};
  return {};
}

}  // namespace recurve::client
