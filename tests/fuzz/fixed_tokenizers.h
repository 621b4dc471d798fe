// SPDX-License-Identifier: Apache-2.0
// Small tokenizers that know every byte, one for each kind of pre-tokenizer, and a second opinion
// on what they must answer.
#ifndef RECURVE_TESTS_FUZZ_FIXED_TOKENIZERS_H_
#define RECURVE_TESTS_FUZZ_FIXED_TOKENIZERS_H_

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "engine/tokenizer/pre_tokenizer.h"
#include "engine/tokenizer/tokenizer.h"

namespace recurve {

// A tokenizer without added tokens, and its parts.
struct FixedTokenizer {
  std::unique_ptr<Tokenizer> tokenizer;
  WordPattern pattern = WordPattern::kGpt2;
  bool isolate_digits = false;
  bool nfc = false;
  std::map<std::pair<TokenId, TokenId>, std::pair<int, TokenId>> merges;  // pair -> rank, merged id

  // The ids of `text`, valid UTF-8, by merging the lowest-ranked pair of each word again and again.
  std::vector<TokenId> SlowEncode(std::string_view text) const;
};

// GPT-2's, SmolLM's, Llama 3's and Qwen 2's pre-tokenizers, the last with NFC.
std::vector<FixedTokenizer> MakeFixedTokenizers();

// GPT-2's with special tokens <|a|> and <|b|>, the first of which a template puts before the text,
// and an added token "xyz" that is not special.
std::unique_ptr<Tokenizer> MakeTokenizerWithAddedTokens();

}  // namespace recurve

#endif  // RECURVE_TESTS_FUZZ_FIXED_TOKENIZERS_H_
