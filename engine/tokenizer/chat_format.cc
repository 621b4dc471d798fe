// SPDX-License-Identifier: Apache-2.0
#include "engine/tokenizer/chat_format.h"

#include <algorithm>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "engine/base/json_error.h"
#include "engine/base/mapped_file.h"
#include "engine/base/parse_json.h"
#include "engine/base/status_macros.h"
#include "engine/tokenizer/tokenizer_json.h"
#include "engine/tokenizer/utf8.h"

namespace recurve {
namespace {

using tokenizer_json::Json;

constexpr char kConfigFile[] = "tokenizer_config.json";
constexpr char kTemplateFile[] = "chat_template.jinja";
constexpr uint64_t kMaxConfigBytes = 64 << 20;  // some list every added token
constexpr int kMostLevels = 32;
constexpr const char* kSpecialTokens[] = {"bos_token", "eos_token", "unk_token", "sep_token",
                                          "pad_token", "cls_token", "mask_token"};

template <typename... Parts>
absl::Status Invalid(const Parts&... parts) {
  return absl::InvalidArgumentError(absl::StrCat(parts...));
}

absl::Status AddTemplate(const std::string& from, std::string name, std::string text,
                         ChatFormat* format) {
  if (text.size() > kMaxChatTemplateBytes) {
    return Invalid(from, " has ", text.size(), " bytes; a chat template has at most ",
                   kMaxChatTemplateBytes);
  }
  if (FindInvalidUtf8(text) != std::string::npos) return Invalid(from, " is not UTF-8");
  format->templates.push_back({std::move(name), std::move(text)});
  return absl::OkStatus();
}

// A text, or a list of objects of a name and a text.
absl::Status ReadTemplates(const Json& value, ChatFormat* format) {
  const std::string from = absl::StrCat(kConfigFile, ": chat_template");
  if (value.is_string()) return AddTemplate(from, "default", value.get<std::string>(), format);
  if (!value.is_array()) {
    return Invalid(from, " is ", tokenizer_json::Print(value),
                   ", expected a string or a list of named templates");
  }
  if (value.size() > kMaxChatTemplates) {
    return Invalid(from, " has ", value.size(), " templates; at most ", kMaxChatTemplates,
                   " are possible");
  }
  for (size_t i = 0; i < value.size(); ++i) {
    const std::string path = absl::StrCat(from, "[", i, "]");
    ASSIGN_OR_RETURN(std::string name, tokenizer_json::ReadString(value[i], "name", path));
    ASSIGN_OR_RETURN(std::string text, tokenizer_json::ReadString(value[i], "template", path));
    if (name.size() > kMaxSpecialTokenBytes) return Invalid(path, ".name is too long");
    RETURN_IF_ERROR(AddTemplate(path, std::move(name), std::move(text), format));
  }
  return absl::OkStatus();
}

// A text, or an object that has it as its content.
absl::Status ReadSpecialTokens(const Json& config, ChatFormat* format) {
  for (const char* name : kSpecialTokens) {
    const Json* value = tokenizer_json::Find(config, name);
    if (tokenizer_json::Absent(value)) continue;
    const Json* content = value->is_object() ? tokenizer_json::Find(*value, "content") : value;
    if (content == nullptr || !content->is_string()) {
      return Invalid(kConfigFile, ": ", name, " is ", tokenizer_json::Print(*value),
                     ", expected a string or an object with a content");
    }
    auto text = content->get<std::string>();
    if (text.size() > kMaxSpecialTokenBytes) {
      return Invalid(kConfigFile, ": ", name, " has ", text.size(), " bytes; at most ",
                     kMaxSpecialTokenBytes, " are possible");
    }
    format->special_tokens.emplace(name, std::move(text));
  }
  return absl::OkStatus();
}

absl::Status ReadConfig(const std::string& text, ChatFormat* format) {
  absl::StatusOr<Json> config = ParseJson(text, kMostLevels);
  if (!config.ok()) return Invalid(kConfigFile, ": ", config.status().message());
  if (!config->is_object()) return Invalid(kConfigFile, ": ", DescribeJsonError(text));
  RETURN_IF_ERROR(ReadSpecialTokens(*config, format));
  const Json* templates = tokenizer_json::Find(*config, "chat_template");
  return tokenizer_json::Absent(templates) ? absl::OkStatus() : ReadTemplates(*templates, format);
}

}  // namespace

absl::StatusOr<ChatFormat> LoadChatFormat(const std::string& directory) {
  ChatFormat format;
  auto config = ReadTextFile(absl::StrCat(directory, "/", kConfigFile), kMaxConfigBytes);
  if (config.ok()) {
    RETURN_IF_ERROR(ReadConfig(*config, &format));
  } else if (!absl::IsNotFound(config.status())) {
    return config.status();
  }
  auto text = ReadTextFile(absl::StrCat(directory, "/", kTemplateFile), kMaxChatTemplateBytes);
  if (absl::IsNotFound(text.status())) return format;
  RETURN_IF_ERROR(text.status());
  std::erase_if(format.templates, [](const ChatTemplate& t) { return t.name == "default"; });
  RETURN_IF_ERROR(AddTemplate(kTemplateFile, "default", *std::move(text), &format));
  return format;
}

}  // namespace recurve
