// SPDX-License-Identifier: Apache-2.0
#include "engine/tokenizer/tokenizer.h"

#include <algorithm>
#include <limits>
#include <set>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "engine/base/check.h"
#include "engine/base/mapped_file.h"
#include "engine/base/status_macros.h"
#include "engine/tokenizer/byte_alphabet.h"
#include "engine/tokenizer/unicode.h"
#include "engine/tokenizer/utf8.h"

namespace recurve {
namespace {

constexpr uint64_t kMaxFileBytes = 256 << 20;

std::array<TokenId, 256> ByteIds(const TokenizerConfig& config) {
  std::array<TokenId, 256> ids;
  ids.fill(kNoToken);
  std::string bytes;
  for (const TokenizerConfig::VocabEntry& entry : config.vocab) {
    if (TokenBytes(entry.token, &bytes) && bytes.size() == 1) {
      ids[static_cast<uint8_t>(bytes[0])] = entry.id;
    }
  }
  return ids;
}

// Most bytes of a token that the merges or the look-up of whole words can give; at least 1.
size_t LongestWordToken(const TokenizerConfig& config) {
  size_t longest = 1;
  std::string bytes;
  for (const TokenizerConfig::VocabEntry& entry : config.vocab) {
    if (TokenBytes(entry.token, &bytes)) longest = std::max(longest, bytes.size());
  }
  return longest;
}

// Whether every byte that valid UTF-8 can hold is a token.
bool KnowsAllOfUtf8(const Bpe& bpe) {
  for (int byte = 0; byte < 0xF5; ++byte) {
    const char c = static_cast<char>(byte);
    if (byte != 0xC0 && byte != 0xC1 && bpe.KnownBytes({&c, 1}) == 0) return false;
  }
  return true;
}

// One more than the largest id.
size_t CountIds(const TokenizerConfig& config) {
  size_t ids = 0;
  for (const TokenizerConfig::VocabEntry& entry : config.vocab) {
    ids = std::max(ids, size_t{entry.id} + 1);
  }
  for (const AddedToken& token : config.added) ids = std::max(ids, size_t{token.id} + 1);
  return ids;
}

}  // namespace

absl::StatusOr<std::unique_ptr<Tokenizer>> Tokenizer::Load(const std::string& path,
                                                           TokenId id_limit) {
  ASSIGN_OR_RETURN(const std::string text, ReadTextFile(path, kMaxFileBytes));
  return Parse(text, id_limit);
}

absl::StatusOr<std::unique_ptr<Tokenizer>> Tokenizer::Parse(std::string_view json_text,
                                                            TokenId id_limit) {
  ASSIGN_OR_RETURN(const TokenizerConfig config, ParseTokenizerConfig(json_text, id_limit));
  std::unique_ptr<Tokenizer> tokenizer(new Tokenizer(config));
  RETURN_IF_ERROR(tokenizer->SetAddedTokens(config.added));
  tokenizer->digest_ = DigestOf(BytesOf(json_text));
  return tokenizer;
}

Tokenizer::Tokenizer(const TokenizerConfig& config)
    : warnings_(config.warnings),
      nfc_(config.nfc),
      pattern_(config.pattern),
      isolate_digits_(config.isolate_digits),
      prefix_space_first_(config.prefix_space_first),
      prefix_space_last_(config.prefix_space_last),
      post_(config.post),
      bpe_(ByteIds(config), MergeTable(config.merges)),
      tokens_(CountIds(config)) {
  for (const TokenizerConfig::VocabEntry& entry : config.vocab) {
    std::string& bytes = tokens_[entry.id].bytes;
    const bool is_word = TokenBytes(entry.token, &bytes);
    ids_.emplace(entry.token, entry.id);
    if (config.ignore_merges && is_word) words_.emplace(bytes, entry.id);
  }
  SetBytesPerToken(config);
}

absl::Status Tokenizer::SetAddedTokens(const std::vector<AddedToken>& added) {
  std::set<std::string_view> special;
  for (const AddedToken& token : added) {
    if (token.special) special.insert(token.content);
  }
  for (const AddedToken& token : added) {
    const std::string text = token.normalized && nfc_ ? NormalizeNfc(token.content) : token.content;
    AddedTokenMatcher& matcher = token.normalized ? normalized_added_ : raw_added_;
    if (!matcher.Add(text, token)) {
      return absl::InvalidArgumentError(
          absl::StrCat("tokenizer.json: added_tokens: \"", absl::CEscape(token.content),
                       "\" has the normalized form of another one, expected distinct forms"));
    }
    // As `tokenizers` has it: a token decodes to its normalized form, and is special by that form.
    TokenBytes(text, &tokens_[token.id].bytes);
    tokens_[token.id].special = special.count(text) > 0;
    ids_.emplace(token.content, token.id);
  }
  return absl::OkStatus();
}

void Tokenizer::SetBytesPerToken(const TokenizerConfig& config) {
  BytesPerToken& most = bytes_per_token_;
  most.of_word = LongestWordToken(config);
  most.of_part = most.of_word;
  bool part_is_bounded = KnowsAllOfUtf8(bpe_), text_is_bounded = true;
  for (const AddedToken& token : config.added) {
    const bool strips = token.lstrip || token.rstrip;
    if (token.normalized) {
      const size_t bytes = nfc_ ? NormalizeNfc(token.content).size() : token.content.size();
      most.of_part = std::max(most.of_part, bytes);
      part_is_bounded = part_is_bounded && !strips;
    } else {
      most.of_text = std::max(most.of_text, token.content.size());
      text_is_bounded = text_is_bounded && !strips;
    }
  }
  if (nfc_) most.of_part *= kMostNfcShrinkage;
  if (!part_is_bounded) most.of_part = BytesPerToken::kUnbounded;
  most.of_text = std::max(most.of_text, most.of_part);
  if (!text_is_bounded) most.of_text = BytesPerToken::kUnbounded;
}

// The ids of a text so far. Every method that encodes answers whether there may be no more than
// `most` of them.
class Tokenizer::Encoder {
 public:
  Encoder(const Tokenizer& tokenizer, size_t most) : tokenizer_(tokenizer), most_(most) {}

  bool EncodeText(std::string_view text) {
    if (!Fits(text.size(), tokenizer_.bytes_per_token_.of_text)) return false;
    return tokenizer_.raw_added_.Split(text, [this](const AddedTokenMatcher::Piece& part) {
      return part.id != kNoToken ? Add(part.id) : EncodePart(part.text);
    });
  }

  std::vector<TokenId>& ids() { return ids_; }
  size_t encoded_bytes() const { return encoded_bytes_; }

 private:
  // Whether `bytes` more bytes can still fit, as ids of at most `per_token` bytes each.
  bool Fits(size_t bytes, size_t per_token) const {
    if (per_token == BytesPerToken::kUnbounded) return true;
    return bytes / per_token + (bytes % per_token > 0 ? 1 : 0) <= most_ - ids_.size();
  }

  bool Add(TokenId id) {
    ids_.push_back(id);
    return ids_.size() <= most_;
  }

  bool EncodePart(std::string_view part) {
    if (!Fits(part.size(), tokenizer_.bytes_per_token_.of_part)) return false;
    const std::string normalized = tokenizer_.nfc_ ? NormalizeNfc(part) : std::string();
    return tokenizer_.normalized_added_.Split(
        tokenizer_.nfc_ ? std::string_view(normalized) : part,
        [this](const AddedTokenMatcher::Piece& piece) {
          return piece.id != kNoToken ? Add(piece.id) : EncodePiece(piece.text);
        });
  }

  bool EncodePiece(std::string_view piece) {
    while (!piece.empty()) {
      const size_t length = tokenizer_.isolate_digits_ ? DigitUnitLength(piece) : piece.size();
      if (!EncodeUnit(piece.substr(0, length))) return false;
      piece.remove_prefix(length);
    }
    return true;
  }

  bool EncodeUnit(std::string_view unit) {
    std::string with_space;
    if (tokenizer_.prefix_space_first_ && unit[0] != ' ') {
      with_space.reserve(unit.size() + 1);
      with_space.append(" ").append(unit);
      unit = with_space;
    }
    while (!unit.empty()) {
      const size_t length = WordLength(tokenizer_.pattern_, unit);
      const std::string_view word = unit.substr(0, length);
      const bool add_space = tokenizer_.prefix_space_last_ && word[0] != ' ';
      if (!EncodeWord(add_space ? std::string(" ").append(word) : word)) return false;
      unit.remove_prefix(length);
    }
    return true;
  }

  bool EncodeWord(std::string_view word) {
    const size_t per_token = tokenizer_.bytes_per_token_.of_word;
    if (!Fits(word.size(), per_token) && !Fits(tokenizer_.bpe_.KnownBytes(word), per_token)) {
      return false;
    }
    encoded_bytes_ += word.size();
    if (!tokenizer_.words_.empty()) {
      const auto found = tokenizer_.words_.find(word);
      if (found != tokenizer_.words_.end()) return Add(found->second);
    }
    tokenizer_.bpe_.EncodeWord(word, &scratch_, &ids_);
    return ids_.size() <= most_;
  }

  const Tokenizer& tokenizer_;
  const size_t most_;
  Bpe::Scratch scratch_;
  std::vector<TokenId> ids_;  // at most most_, until a method answers false
  size_t encoded_bytes_ = 0;
};

absl::StatusOr<std::vector<TokenId>> Tokenizer::Encode(std::string_view text,
                                                       bool add_special_tokens) const {
  ASSIGN_OR_RETURN(Encoding encoding,
                   EncodeUpTo(std::numeric_limits<size_t>::max(), text, add_special_tokens));
  return std::move(encoding.ids);
}

absl::StatusOr<Tokenizer::Encoding> Tokenizer::EncodeUpTo(size_t most_tokens, std::string_view text,
                                                          bool add_special_tokens) const {
  if (text.size() > static_cast<size_t>(std::numeric_limits<int32_t>::max())) {
    return absl::InvalidArgumentError(
        absl::StrCat("text has ", text.size(), " bytes, expected fewer than 2^31"));
  }
  if (const size_t invalid = FindInvalidUtf8(text); invalid != text.npos) {
    return absl::InvalidArgumentError(absl::StrCat("text is not valid UTF-8 at byte ", invalid));
  }
  size_t copies = 0, special = 0;  // what the template makes of the text
  for (const TokenizerConfig::TemplatePiece& piece : post_) {
    if (piece.is_text) ++copies;
    if (!piece.is_text && add_special_tokens) special += piece.ids.size();
  }
  RECURVE_CHECK(copies > 0);  // since every template has the text
  Encoding encoding;
  if (special > most_tokens) return encoding;
  Encoder encoder(*this, (most_tokens - special) / copies);
  encoding.is_whole = encoder.EncodeText(text);
  encoding.encoded_bytes = encoder.encoded_bytes();
  if (!encoding.is_whole) return encoding;
  if (special == 0 && copies == 1) {
    encoding.ids = std::move(encoder.ids());
    return encoding;
  }
  for (const TokenizerConfig::TemplatePiece& piece : post_) {
    const std::vector<TokenId>& more = piece.is_text ? encoder.ids() : piece.ids;
    if (!piece.is_text && !add_special_tokens) continue;
    encoding.ids.insert(encoding.ids.end(), more.begin(), more.end());
  }
  return encoding;
}

std::optional<uint64_t> Tokenizer::MostBytes(uint32_t tokens) const {
  if (bytes_per_token_.of_text == BytesPerToken::kUnbounded) return std::nullopt;
  return uint64_t{tokens} * bytes_per_token_.of_text;
}

std::string Tokenizer::Decode(std::span<const TokenId> ids, bool skip_special_tokens) const {
  std::string text;
  Utf8Stream stream;
  for (const TokenId id : ids) {
    if (skip_special_tokens && IsSpecial(id)) continue;
    stream.Append(IdToBytes(id), &text);
  }
  stream.Finish(&text);
  return text;
}

std::optional<TokenId> Tokenizer::TokenToId(std::string_view token) const {
  const auto found = ids_.find(token);
  if (found == ids_.end()) return std::nullopt;
  return found->second;
}

}  // namespace recurve
