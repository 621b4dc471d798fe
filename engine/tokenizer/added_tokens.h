// SPDX-License-Identifier: Apache-2.0
// Finds added tokens (special ones among them) in text, before anything else is done to it.
#ifndef RECURVE_ENGINE_TOKENIZER_ADDED_TOKENS_H_
#define RECURVE_ENGINE_TOKENIZER_ADDED_TOKENS_H_

#include <array>
#include <cstddef>
#include <cstdint>
#include <string_view>
#include <vector>

#include "absl/functional/function_ref.h"
#include "engine/base/token_id.h"
#include "engine/tokenizer/tokenizer_config.h"

namespace recurve {

// A set of added tokens to look for at once. Immutable once filled; Split may then run in any
// number of threads.
class AddedTokenMatcher {
 public:
  struct Piece {
    std::string_view text;  // a part of the text given
    TokenId id;             // kNoToken: text between added tokens
  };

  // Looks for `pattern` (not empty) from now on; a match is `token`. False if it is already there.
  bool Add(std::string_view pattern, const AddedToken& token);

  // Hands the pieces of `text`, valid UTF-8, to `take`, in order; none is empty. The leftmost match
  // wins, the longest among those that begin at one place. Ends when `take` answers false, and
  // returns its last answer. O(text * longest token).
  bool Split(std::string_view text, absl::FunctionRef<bool(const Piece&)> take) const;

 private:
  struct Node {
    int32_t child = -1;  // the first of its children, linked by `sibling`
    int32_t sibling = -1;
    int32_t token = -1;  // index in tokens_ of the pattern that ends here
    char byte = 0;
  };
  struct Token {
    TokenId id;
    bool single_word, lstrip, rstrip;
  };

  int32_t Child(int32_t node, char byte) const;  // -1: none
  // The token whose pattern is the longest at text[at], -1 without one; `*end` is set to its end.
  int32_t LongestAt(std::string_view text, size_t at, size_t* end) const;

  std::array<int32_t, 256> roots_ = [] {  // the nodes of the patterns' first bytes
    std::array<int32_t, 256> none;
    none.fill(-1);
    return none;
  }();
  std::vector<Node> nodes_;
  std::vector<Token> tokens_;
};

}  // namespace recurve

#endif  // RECURVE_ENGINE_TOKENIZER_ADDED_TOKENS_H_
