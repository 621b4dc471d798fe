// SPDX-License-Identifier: Apache-2.0
#include "client/gateway/token_logprobs.h"

#include <algorithm>

namespace recurve::gateway {

double FiniteLogprob(double logprob) { return std::max(logprob, -9999.0); }

TokenLogprobs AtPosition(const v1::PositionLogprobs& position, std::string text) {
  TokenLogprobs token{.text = std::move(text), .logprob = FiniteLogprob(position.logprob())};
  for (const v1::TokenLogprob& top : position.top()) {
    token.top.emplace_back(top.text(), FiniteLogprob(top.logprob()));
  }
  return token;
}

std::vector<TokenLogprobs> TokensOf(const v1::GenerateResponse& message) {
  std::vector<TokenLogprobs> tokens;
  size_t at = 0;
  for (const v1::Token& token : message.tokens()) {
    std::string text =
        message.text().substr(std::min(at, message.text().size()), token.text_bytes());
    at += token.text_bytes();
    const size_t characters = CountCharacters(text);
    for (const v1::TokenLogprob& top : token.logprobs().top()) {
      if (top.id() == token.id()) text = top.text();
    }
    tokens.push_back(AtPosition(token.logprobs(), std::move(text)));
    tokens.back().characters = characters;
  }
  return tokens;
}

size_t CountCharacters(const std::string& text) {
  return static_cast<size_t>(std::count_if(text.begin(), text.end(), [](char c) {
    return (static_cast<unsigned char>(c) & 0xC0) != 0x80;
  }));
}

}  // namespace recurve::gateway
