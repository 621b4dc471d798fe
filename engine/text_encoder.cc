// SPDX-License-Identifier: Apache-2.0
#include "engine/text_encoder.h"

#include <limits>
#include <utility>

#include "absl/strings/str_cat.h"
#include "engine/base/status_macros.h"

namespace recurve {

absl::StatusOr<Tokenizer::Encoding> TextEncoder::EncodeUpTo(size_t most_tokens,
                                                            std::string_view text,
                                                            bool add_special_tokens) const {
  if (tokenizer_ == nullptr) {
    return absl::InvalidArgumentError(
        "this model directory has no tokenizer.json; give token ids instead of text");
  }
  auto encoding = tokenizer_->EncodeUpTo(most_tokens, text, add_special_tokens);
  if (encoding.ok()) encoded_bytes_ += encoding->encoded_bytes;
  return encoding;
}

absl::StatusOr<std::vector<TokenId>> TextEncoder::EncodePrompt(std::string_view text,
                                                               bool add_special_tokens) const {
  ASSIGN_OR_RETURN(Tokenizer::Encoding encoding,
                   EncodeUpTo(max_context_, text, add_special_tokens));
  if (!encoding.is_whole) {
    return absl::InvalidArgumentError(
        absl::StrCat("text of ", text.size(), " bytes has more than ", max_context_,
                     " tokens; expected at most the context of ", max_context_, " tokens"));
  }
  return std::move(encoding.ids);
}

absl::StatusOr<std::vector<TokenId>> TextEncoder::Encode(std::string_view text,
                                                         bool add_special_tokens) const {
  ASSIGN_OR_RETURN(Tokenizer::Encoding encoding,
                   EncodeUpTo(std::numeric_limits<size_t>::max(), text, add_special_tokens));
  return std::move(encoding.ids);
}

std::optional<uint64_t> TextEncoder::MaxPromptBytes() const {
  return has_tokenizer() ? tokenizer_->MostBytes(max_context_) : std::nullopt;
}

}  // namespace recurve
