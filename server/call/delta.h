// SPDX-License-Identifier: Apache-2.0
// What a call hands to its transport.
#ifndef RECURVE_SERVER_CALL_DELTA_H_
#define RECURVE_SERVER_CALL_DELTA_H_

#include <cstdint>
#include <optional>
#include <vector>

#include "engine/api/output.h"

namespace recurve {

// What one message carries: news of one sample.
struct Delta {
  uint32_t sample = 0;
  std::vector<TokenEvent> tokens;
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
