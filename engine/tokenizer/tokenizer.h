// SPDX-License-Identifier: Apache-2.0
// Text to token ids and back: byte-level byte-pair encoding as a Hugging Face tokenizer.json
// describes it, with the ids and the text that the `tokenizers` package gives.
#ifndef RECURVE_ENGINE_TOKENIZER_TOKENIZER_H_
#define RECURVE_ENGINE_TOKENIZER_TOKENIZER_H_

#include <cstddef>
#include <cstdint>
#include <limits>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "absl/status/statusor.h"
#include "engine/base/digest.h"
#include "engine/base/token_id.h"
#include "engine/tokenizer/added_tokens.h"
#include "engine/tokenizer/bpe.h"
#include "engine/tokenizer/tokenizer_config.h"

namespace recurve {

// Immutable after loading: all methods may be called from any number of threads.
class Tokenizer {
 public:
  // Reads the tokenizer.json at `path`: NOT_FOUND when nothing has that name, else as
  // ReadTextFile and Parse.
  static absl::StatusOr<std::unique_ptr<Tokenizer>> Load(const std::string& path,
                                                         TokenId id_limit = kMaxTokenId + 1);

  // From the text of a tokenizer.json, for a model that has ids below `id_limit`: added tokens from
  // there on are left out, and text that spells them is plain text. INVALID_ARGUMENT names the
  // field, what was found and what was expected, for malformed files and for what this engine does
  // not support.
  static absl::StatusOr<std::unique_ptr<Tokenizer>> Parse(std::string_view json_text,
                                                          TokenId id_limit = kMaxTokenId + 1);

  Tokenizer(const Tokenizer&) = delete;
  Tokenizer& operator=(const Tokenizer&) = delete;

  // The ids of `text`; with `add_special_tokens` also those that the file's template puts around
  // it. Added tokens that `text` spells out are found in either case. O(n log n). INVALID_ARGUMENT
  // when `text` is not valid UTF-8 (names the offset) or has 2^31 bytes or more.
  absl::StatusOr<std::vector<TokenId>> Encode(std::string_view text, bool add_special_tokens) const;

  struct Encoding {
    bool is_whole = false;     // false: there are more ids than were asked for, and `ids` is empty
    std::vector<TokenId> ids;  // all of them
    size_t encoded_bytes = 0;  // of the normalized text, that became ids
  };
  // As Encode, but has no use for more than `most_tokens` ids: ends as soon as it is certain that
  // there are more. The ids of a word are final when the word is done, and a text too long for any
  // tokens of this vocabulary is not encoded at all.
  absl::StatusOr<Encoding> EncodeUpTo(size_t most_tokens, std::string_view text,
                                      bool add_special_tokens) const;

  // Most bytes of a text that `tokens` ids can stand for; nothing where there is no bound: added
  // tokens that take white space with them take any number of bytes, and bytes without a token
  // leave no id. Such a text may still have more ids.
  std::optional<uint64_t> MostBytes(uint32_t tokens) const;

  // The text of `ids`, always valid UTF-8: bytes that form no character become U+FFFD. Ids without
  // a token have no text, nor have special tokens with `skip_special_tokens`.
  std::string Decode(std::span<const TokenId> ids, bool skip_special_tokens) const;

  // Of the file's text.
  const Digest& digest() const { return digest_; }

  // What the file says and is not done, a sentence each.
  const std::vector<std::string>& warnings() const { return warnings_; }

  // One more than the largest id. Ids below it may lack a token; a model may have more rows.
  uint32_t vocab_size() const { return static_cast<uint32_t>(tokens_.size()); }

  // What the token adds to the text: bytes, not necessarily whole characters. Empty without a
  // token.
  std::string_view IdToBytes(TokenId id) const {
    return Known(id) ? std::string_view(tokens_[id].bytes) : std::string_view();
  }

  // Special tokens are those that Decode can skip. False without a token.
  bool IsSpecial(TokenId id) const { return Known(id) && tokens_[id].special; }

  // The id of a token as the file writes it (in the byte alphabet, if not an added token).
  std::optional<TokenId> TokenToId(std::string_view token) const;

 private:
  struct TokenText {
    std::string bytes;
    bool special = false;
  };
  struct StringHash {
    using is_transparent = void;
    size_t operator()(std::string_view text) const { return std::hash<std::string_view>()(text); }
  };
  using IdMap = std::unordered_map<std::string, TokenId, StringHash, std::equal_to<>>;

  explicit Tokenizer(const TokenizerConfig& config);
  absl::Status SetAddedTokens(const std::vector<AddedToken>& added);

  class Encoder;  // one text on its way

  // Most bytes that one id stands for. kUnbounded: any number, or no id at all.
  struct BytesPerToken {
    static constexpr size_t kUnbounded = std::numeric_limits<size_t>::max();
    size_t of_word = 1;  // of a word's bytes that have a token; never kUnbounded
    size_t of_part = 1;  // of text between added tokens that are looked for before it is normalized
    size_t of_text = 1;  // of text as given
  };
  void SetBytesPerToken(const TokenizerConfig& config);

  bool Known(TokenId id) const { return id < tokens_.size(); }

  Digest digest_;
  std::vector<std::string> warnings_;
  bool nfc_;
  WordPattern pattern_;
  bool isolate_digits_;
  bool prefix_space_first_;
  bool prefix_space_last_;
  std::vector<TokenizerConfig::TemplatePiece> post_;
  Bpe bpe_;
  AddedTokenMatcher raw_added_;         // looked for in the text as given
  AddedTokenMatcher normalized_added_;  // looked for in the normalized text between those
  BytesPerToken bytes_per_token_;
  std::vector<TokenText> tokens_;  // [vocab_size]
  IdMap ids_;                      // token as the file writes it -> id
  IdMap words_;  // bytes -> id of the vocabulary's tokens, if whole words are looked up; else empty
};

}  // namespace recurve

#endif  // RECURVE_ENGINE_TOKENIZER_TOKENIZER_H_
