// SPDX-License-Identifier: Apache-2.0
// What a Hugging Face tokenizer.json says, checked and reduced to what this engine supports.
#ifndef RECURVE_ENGINE_TOKENIZER_TOKENIZER_CONFIG_H_
#define RECURVE_ENGINE_TOKENIZER_TOKENIZER_CONFIG_H_

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "engine/base/token_id.h"
#include "engine/tokenizer/bpe.h"
#include "engine/tokenizer/pre_tokenizer.h"

namespace recurve {

inline constexpr TokenId kMaxTokenId = (1 << 22) - 1;

struct AddedToken {
  std::string content;
  TokenId id = 0;
  bool single_word = false;  // matches only if no word character touches it
  bool lstrip = false;       // takes the white space before it
  bool rstrip = false;       // takes the white space after it
  bool normalized = false;   // its normalized form is matched in the normalized text
  bool special = false;
};

struct TokenizerConfig {
  struct VocabEntry {
    std::string token;
    TokenId id = 0;
  };
  // One step of the template: the text's ids, or ids that are added around it.
  struct TemplatePiece {
    bool is_text = false;
    std::vector<TokenId> ids;
  };

  std::vector<VocabEntry> vocab;  // distinct tokens, distinct ids in [0, kMaxTokenId]
  std::vector<Merge> merges;
  bool ignore_merges = false;     // a word that is a token is that token, whatever the merges say
  std::vector<AddedToken> added;  // distinct contents, distinct ids
  bool nfc = false;
  WordPattern pattern = WordPattern::kGpt2;
  bool isolate_digits = false;  // each numeric character on its own before the pattern is applied
  bool prefix_space_first = false;    // add a space before each unit, before the pattern is applied
  bool prefix_space_last = false;     // add a space before each word that the pattern gave
  std::vector<TemplatePiece> post;    // at least one piece, one or more of them the text
  std::vector<std::string> warnings;  // what the file says and is not done
};

// Reads the text of a tokenizer.json for a model that has ids below `id_limit`: added tokens from
// there on are left out. INVALID_ARGUMENT names the field, what was found and what was expected:
// for malformed files and for all that would change the ids and is not supported. Fields that
// `tokenizers` ignores are ignored.
absl::StatusOr<TokenizerConfig> ParseTokenizerConfig(std::string_view json_text,
                                                     TokenId id_limit = kMaxTokenId + 1);

}  // namespace recurve

#endif  // RECURVE_ENGINE_TOKENIZER_TOKENIZER_CONFIG_H_
