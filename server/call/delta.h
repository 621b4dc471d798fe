// SPDX-License-Identifier: Apache-2.0
// What a call hands to its transport.
#ifndef RECURVE_SERVER_CALL_DELTA_H_
#define RECURVE_SERVER_CALL_DELTA_H_

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "engine/api/output.h"

namespace recurve {

// A token with its share of the text that goes out with it.
struct DeltaToken {
  TokenId id = 0;
  uint32_t depth = 0;
  uint32_t text_bytes = 0;
  std::optional<PositionLogprobs> logprobs;
};

// What one message carries: news of one sample.
struct Delta {
  uint32_t sample = 0;
  std::string text;  // of `tokens`
  std::vector<DeltaToken> tokens;
  std::optional<std::vector<PositionLogprobs>> prompt_logprobs;
  uint32_t prompt_tokens = 0;
  uint32_t generated_tokens = 0;  // cumulative
  std::optional<Finish> finish;   // in the last message, with OK
};

// What the final message repeats of the request.
struct Echo {
  uint64_t seed = 0;
  SteadyTime arrival;
};

}  // namespace recurve

#endif  // RECURVE_SERVER_CALL_DELTA_H_
