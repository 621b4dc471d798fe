// SPDX-License-Identifier: Apache-2.0
// Text to token ids, for prompts and for Tokenize.
#ifndef RECURVE_ENGINE_TEXT_ENCODER_H_
#define RECURVE_ENGINE_TEXT_ENCODER_H_

#include <atomic>
#include <cstdint>
#include <optional>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "engine/base/token_id.h"
#include "engine/tokenizer/tokenizer.h"

namespace recurve {

// Thread-safe. Counts the bytes that it turns into ids, which is what its time goes into.
class TextEncoder {
 public:
  // `tokenizer` may be null, as that of a model without one, and must outlive the encoder.
  TextEncoder(const Tokenizer* tokenizer, uint32_t max_context)
      : tokenizer_(tokenizer), max_context_(max_context) {}

  // The ids of a prompt. INVALID_ARGUMENT without a tokenizer, for text that is not UTF-8, and for
  // one of more than `max_context` tokens, which is not encoded further than to this certainty.
  absl::StatusOr<std::vector<TokenId>> EncodePrompt(std::string_view text,
                                                    bool add_special_tokens) const;

  // The ids of any text. INVALID_ARGUMENT without a tokenizer or for text that is not UTF-8.
  absl::StatusOr<std::vector<TokenId>> Encode(std::string_view text, bool add_special_tokens) const;

  bool has_tokenizer() const { return tokenizer_ != nullptr; }

  // A prompt of more bytes has more than `max_context` tokens whatever it says; nothing if there is
  // no such number.
  std::optional<uint64_t> MaxPromptBytes() const;

  uint64_t encoded_bytes() const { return encoded_bytes_; }

 private:
  absl::StatusOr<Tokenizer::Encoding> EncodeUpTo(size_t most_tokens, std::string_view text,
                                                 bool add_special_tokens) const;

  const Tokenizer* const tokenizer_;
  const uint32_t max_context_;
  mutable std::atomic<uint64_t> encoded_bytes_{0};
};

}  // namespace recurve

#endif  // RECURVE_ENGINE_TEXT_ENCODER_H_
