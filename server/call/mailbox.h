// SPDX-License-Identifier: Apache-2.0
// What a call knows of each of its samples.
#ifndef RECURVE_SERVER_CALL_MAILBOX_H_
#define RECURVE_SERVER_CALL_MAILBOX_H_

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "engine/api/output.h"
#include "server/call/delta.h"

namespace recurve {

// What the engine has told of one sample and the client has not got yet. Thread-compatible.
struct Mailbox {
  std::string text;  // of `tokens`
  std::vector<DeltaToken> tokens;
  std::optional<std::vector<PositionLogprobs>> prompt_logprobs;
  uint32_t generated_tokens = 0;
  std::optional<Finish> finish;  // stays
  bool final_sent = false;
  std::optional<SteadyTime> oldest;      // since when there is mail
  std::optional<SteadyTime> last_token;  // arrival here

  bool HasMail() const { return !tokens.empty() || prompt_logprobs; }
  void Add(std::span<const TokenEvent> more);
  // Whether there is something to write: mail, or an end with OK.
  bool HasNews() const { return HasMail() || (finish && finish->status.ok() && !final_sent); }
  // Takes out everything, with the end if it is there and OK.
  void Take(Delta* delta);
  void Clear();
};

// The sample with the highest cumulative log probability, of equal ones the first. All have
// finished.
uint32_t MostLikely(const std::vector<Mailbox>& samples);

}  // namespace recurve

#endif  // RECURVE_SERVER_CALL_MAILBOX_H_
