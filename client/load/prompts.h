// SPDX-License-Identifier: Apache-2.0
// The requests of a load.
#ifndef RECURVE_CLIENT_LOAD_PROMPTS_H_
#define RECURVE_CLIENT_LOAD_PROMPTS_H_

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "client/load/faults.h"
#include "client/load/length.h"
#include "client/load/target.h"
#include "client/load/trace.h"
#include "recurve/v1/generation.pb.h"

namespace recurve::client {

// A text, and how many tokens are to follow it; none: as many as the flags say.
struct Prompt {
  std::string text;
  std::optional<uint32_t> max_tokens = std::nullopt;
};

// The lines of a file, of which there is at least one.
absl::StatusOr<std::vector<Prompt>> ReadPrompts(const std::string& path);

// Exchanges of a file in ShareGPT's form, in an order of `seed`, at most kMostConversations. Each
// is to be followed by as many tokens as its reply has, which the server tells; without those that
// the model's context has no room for.
inline constexpr size_t kMostConversations = 1000;
absl::StatusOr<std::vector<Prompt>> ReadConversations(const std::string& path, uint64_t seed,
                                                      uint32_t max_context, Target& target);

// Gives the i-th request of a load, the same whenever it is asked. Thread-compatible.
struct RequestMaker {
  v1::GenerateRequest base;     // what all requests have
  std::vector<Prompt> prompts;  // in turn; without them random ones:
  uint32_t vocab_size = 0;      // of token ids; 0: words, of which most tokenizers make one each
  uint64_t prompt_seed = 0;
  Length prompt_tokens = Length(128);
  Length max_tokens = Length(128);
  uint64_t load_seed = 0;  // of lengths and faults
  Faults faults;
  // Lengths that it has go before all others.
  std::vector<TraceEntry> trace;

  v1::GenerateRequest Make(uint64_t index) const;
  // What this one, which Make gave, does.
  Fault FaultOf(uint64_t index, const v1::GenerateRequest& request) const;
};

}  // namespace recurve::client

#endif  // RECURVE_CLIENT_LOAD_PROMPTS_H_
