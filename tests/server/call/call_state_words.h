// SPDX-License-Identifier: Apache-2.0
// What tests of a call's states say of it: its times, and its actions as words.
#ifndef RECURVE_TESTS_SERVER_CALL_CALL_STATE_WORDS_H_
#define RECURVE_TESTS_SERVER_CALL_CALL_STATE_WORDS_H_

#include <chrono>
#include <string>
#include <string_view>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "server/call/call_state.h"

namespace recurve {

inline constexpr Engine::SampleId kFirstId = 7;  // of sample 0
inline constexpr SteadyTime kArrival{std::chrono::hours(1)};

inline SteadyTime At(int milliseconds) { return kArrival + Milliseconds(milliseconds); }

// Actions as words, in the order in which they are done: "write(0:ab.) status(OK)". A message is
// the sample and its text, with a full stop if it has the end.
inline std::string Words(const CallActions& actions) {
  std::vector<std::string> words;
  if (const auto& record = actions.record) {
    const std::string_view why = record->refusal ? RejectionName(*record->refusal) : record->reason;
    words.push_back(absl::StrCat("record(", absl::StatusCodeToString(record->code), ", ",
                                 std::string(why), ")"));
  }
  if (actions.abort) {
    words.push_back(*actions.abort == StallCause::kBuffer ? "abort(buffer)" : "abort(timeout)");
  }
  if (!actions.cancel.empty()) {
    words.push_back(absl::StrCat("cancel(", absl::StrJoin(actions.cancel, ","), ")"));
  }
  if (const auto& write = actions.write) {
    words.push_back(absl::StrCat("write(", write->delta.sample, ":", write->delta.text,
                                 write->delta.finish ? ".)" : ")"));
  }
  if (actions.status) {
    words.push_back(absl::StrCat("status(", absl::StatusCodeToString(actions.status->code()), ")"));
  }
  if (actions.wake) words.push_back("wake");
  return absl::StrJoin(words, " ");
}

}  // namespace recurve

#endif  // RECURVE_TESTS_SERVER_CALL_CALL_STATE_WORDS_H_
