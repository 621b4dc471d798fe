// SPDX-License-Identifier: Apache-2.0
// A TokenEvent that tests can keep.
#ifndef RECURVE_TESTS_ENGINE_OWNED_TOKEN_H_
#define RECURVE_TESTS_ENGINE_OWNED_TOKEN_H_

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "engine/api/output.h"

namespace recurve {

struct OwnedToken {
  TokenId id = 0;
  uint32_t depth = 0;
  std::string text;
  std::optional<PositionLogprobs> logprobs;

  static OwnedToken Of(const TokenEvent& event) {
    OwnedToken token = {event.id, event.depth, std::string(event.text), std::nullopt};
    if (event.logprobs != nullptr) token.logprobs = *event.logprobs;
    return token;
  }
};

// As a sink gets them, while `tokens` stay as they are.
inline std::vector<TokenEvent> EventsOf(const std::vector<OwnedToken>& tokens) {
  std::vector<TokenEvent> events;
  for (const OwnedToken& token : tokens) {
    events.push_back(
        {token.id, token.depth, token.text, token.logprobs ? &*token.logprobs : nullptr});
  }
  return events;
}

}  // namespace recurve

#endif  // RECURVE_TESTS_ENGINE_OWNED_TOKEN_H_
