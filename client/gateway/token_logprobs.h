// SPDX-License-Identifier: Apache-2.0
// Tokens of a message with their texts and log probabilities, in the form that both kinds of answer
// are made of.
#ifndef RECURVE_CLIENT_GATEWAY_TOKEN_LOGPROBS_H_
#define RECURVE_CLIENT_GATEWAY_TOKEN_LOGPROBS_H_

#include <cstddef>
#include <string>
#include <utility>
#include <vector>

#include "recurve/v1/generation.pb.h"

namespace recurve::gateway {

struct TokenLogprobs {
  std::string text;
  size_t characters = 0;  // of its share of the message's text
  double logprob = 0;
  std::vector<std::pair<std::string, double>> top{};  // most likely first
};

// JSON has no infinity; OpenAI tells what is least likely so.
double FiniteLogprob(double logprob);

// Of each token of a message that has log probabilities. A token's text is what it has by itself,
// where it is among the most likely ones, else its share of the message's text.
std::vector<TokenLogprobs> TokensOf(const v1::GenerateResponse& message);

// Of a position: a token of which the text is known.
TokenLogprobs AtPosition(const v1::PositionLogprobs& position, std::string text);

// Characters of UTF-8.
size_t CountCharacters(const std::string& text);

}  // namespace recurve::gateway

#endif  // RECURVE_CLIENT_GATEWAY_TOKEN_LOGPROBS_H_
