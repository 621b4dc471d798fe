// SPDX-License-Identifier: Apache-2.0
// How a conversation becomes a prompt, as a model directory says it, for whoever renders it. The
// engine itself renders nothing.
#ifndef RECURVE_ENGINE_TOKENIZER_CHAT_FORMAT_H_
#define RECURVE_ENGINE_TOKENIZER_CHAT_FORMAT_H_

#include <cstddef>
#include <map>
#include <string>
#include <vector>

#include "absl/status/statusor.h"

namespace recurve {

inline constexpr size_t kMaxChatTemplateBytes = 256 << 10;  // of one
inline constexpr size_t kMaxChatTemplates = 8;
inline constexpr size_t kMaxSpecialTokenBytes = 1024;

struct ChatTemplate {
  std::string name;  // "default", or as tokenizer_config.json names it
  std::string text;  // jinja, UTF-8, as transformers renders it
};

// Plain data.
struct ChatFormat {
  std::vector<ChatTemplate> templates;  // none: the model has not been made for conversations
  // By the names that templates know them by, such as bos_token.
  std::map<std::string, std::string> special_tokens;
};

// Of a model directory. Both its files may be missing: tokenizer_config.json has special tokens and
// `chat_template`, a text or a list of named ones; chat_template.jinja has the default template and
// goes before that. InvalidArgument names file and field of what is of another kind or too large.
absl::StatusOr<ChatFormat> LoadChatFormat(const std::string& directory);

}  // namespace recurve

#endif  // RECURVE_ENGINE_TOKENIZER_CHAT_FORMAT_H_
