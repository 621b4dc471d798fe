// SPDX-License-Identifier: Apache-2.0
#include "engine/tokenizer/tokenizer.h"

#include <algorithm>
#include <limits>
#include <set>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "engine/base/mapped_file.h"
#include "engine/base/status_macros.h"
#include "engine/tokenizer/byte_alphabet.h"
#include "engine/tokenizer/unicode.h"
#include "engine/tokenizer/utf8.h"

namespace recurve {
namespace {

constexpr uint64_t kMaxFileBytes = 256 << 20;

std::array<int32_t, 256> ByteIds(const TokenizerConfig& config) {
  std::array<int32_t, 256> ids;
  ids.fill(-1);
  std::string bytes;
  for (const TokenizerConfig::VocabEntry& entry : config.vocab) {
    if (TokenBytes(entry.token, &bytes) && bytes.size() == 1) {
      ids[static_cast<uint8_t>(bytes[0])] = entry.id;
    }
  }
  return ids;
}

int32_t LargestId(const TokenizerConfig& config) {
  int32_t largest = -1;
  for (const TokenizerConfig::VocabEntry& entry : config.vocab)
    largest = std::max(largest, entry.id);
  for (const AddedToken& token : config.added) largest = std::max(largest, token.id);
  return largest;
}

}  // namespace

absl::StatusOr<std::unique_ptr<Tokenizer>> Tokenizer::Load(const std::string& path,
                                                           int32_t id_limit) {
  ASSIGN_OR_RETURN(const std::string text, ReadTextFile(path, kMaxFileBytes));
  return Parse(text, id_limit);
}

absl::StatusOr<std::unique_ptr<Tokenizer>> Tokenizer::Parse(std::string_view json_text,
                                                            int32_t id_limit) {
  ASSIGN_OR_RETURN(const TokenizerConfig config, ParseTokenizerConfig(json_text, id_limit));
  std::unique_ptr<Tokenizer> tokenizer(new Tokenizer(config));
  RETURN_IF_ERROR(tokenizer->SetAddedTokens(config.added));
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
      tokens_(static_cast<size_t>(LargestId(config) + 1)) {
  for (const TokenizerConfig::VocabEntry& entry : config.vocab) {
    std::string& bytes = tokens_[entry.id].bytes;
    const bool is_word = TokenBytes(entry.token, &bytes);
    ids_.emplace(entry.token, entry.id);
    if (config.ignore_merges && is_word) words_.emplace(bytes, entry.id);
  }
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

absl::StatusOr<std::vector<int32_t>> Tokenizer::Encode(std::string_view text,
                                                       bool add_special_tokens) const {
  if (text.size() > static_cast<size_t>(std::numeric_limits<int32_t>::max())) {
    return absl::InvalidArgumentError(
        absl::StrCat("text has ", text.size(), " bytes, expected fewer than 2^31"));
  }
  if (const size_t invalid = FindInvalidUtf8(text); invalid != text.npos) {
    return absl::InvalidArgumentError(absl::StrCat("text is not valid UTF-8 at byte ", invalid));
  }
  std::vector<int32_t> text_ids;
  EncodeText(text, &text_ids);
  std::vector<int32_t> ids;
  for (const TokenizerConfig::TemplatePiece& piece : post_) {
    if (piece.is_text) {
      ids.insert(ids.end(), text_ids.begin(), text_ids.end());
    } else if (add_special_tokens) {
      ids.insert(ids.end(), piece.ids.begin(), piece.ids.end());
    }
  }
  return ids;
}

void Tokenizer::EncodeText(std::string_view text, std::vector<int32_t>* ids) const {
  Bpe::Scratch scratch;
  std::vector<AddedTokenMatcher::Piece> raw, pieces;
  raw_added_.Split(text, &raw);
  for (const AddedTokenMatcher::Piece& part : raw) {
    if (part.id >= 0) {
      ids->push_back(part.id);
      continue;
    }
    const std::string normalized = nfc_ ? NormalizeNfc(part.text) : std::string();
    pieces.clear();
    normalized_added_.Split(nfc_ ? std::string_view(normalized) : part.text, &pieces);
    for (const AddedTokenMatcher::Piece& piece : pieces) {
      if (piece.id >= 0) {
        ids->push_back(piece.id);
        continue;
      }
      for (std::string_view rest = piece.text; !rest.empty();) {
        const size_t length = isolate_digits_ ? DigitUnitLength(rest) : rest.size();
        EncodeUnit(rest.substr(0, length), &scratch, ids);
        rest.remove_prefix(length);
      }
    }
  }
}

void Tokenizer::EncodeUnit(std::string_view unit, Bpe::Scratch* scratch,
                           std::vector<int32_t>* ids) const {
  std::string with_space;
  if (prefix_space_first_ && unit[0] != ' ') {
    with_space.reserve(unit.size() + 1);
    with_space.append(" ").append(unit);
    unit = with_space;
  }
  while (!unit.empty()) {
    const size_t length = WordLength(pattern_, unit);
    const std::string_view word = unit.substr(0, length);
    if (prefix_space_last_ && word[0] != ' ') {
      EncodeWord(std::string(" ").append(word), scratch, ids);
    } else {
      EncodeWord(word, scratch, ids);
    }
    unit.remove_prefix(length);
  }
}

void Tokenizer::EncodeWord(std::string_view word, Bpe::Scratch* scratch,
                           std::vector<int32_t>* ids) const {
  if (!words_.empty()) {
    if (const auto found = words_.find(word); found != words_.end()) {
      ids->push_back(found->second);
      return;
    }
  }
  bpe_.EncodeWord(word, scratch, ids);
}

std::string Tokenizer::Decode(std::span<const int32_t> ids, bool skip_special_tokens) const {
  std::string text;
  Utf8Stream stream;
  for (const int32_t id : ids) {
    if (skip_special_tokens && IsSpecial(id)) continue;
    stream.Append(IdToBytes(id), &text);
  }
  stream.Finish(&text);
  return text;
}

std::optional<int32_t> Tokenizer::TokenToId(std::string_view token) const {
  const auto found = ids_.find(token);
  if (found == ids_.end()) return std::nullopt;
  return found->second;
}

}  // namespace recurve
