// SPDX-License-Identifier: Apache-2.0
#include "engine/tokenizer/pipeline_config.h"

#include <string>
#include <string_view>
#include <vector>

#include "absl/strings/str_cat.h"
#include "engine/base/status_macros.h"
#include "engine/tokenizer/pre_tokenizer.h"

namespace recurve::tokenizer_json {
namespace {

// Whether a Split by a pattern that covers every character, as those do that are supported, makes
// each match a word. Isolated does, with `invert` or not; and so does Removed with `invert`, which
// removes what the pattern does not match: nothing.
absl::StatusOr<bool> KeepsMatches(const Json& split) {
  ASSIGN_OR_RETURN(const bool invert, ReadBool(split, "invert", "pre_tokenizer"));
  const Json* behavior = Find(split, "behavior");
  return behavior != nullptr && (*behavior == "Isolated" || (*behavior == "Removed" && invert));
}

// The ids that the template adds where it names the special token `name`.
absl::StatusOr<std::vector<TokenId>> ReadTemplateIds(const Json& processor, const std::string& name,
                                                     const std::string& path) {
  const Json* specials = Find(processor, "special_tokens");
  const Json* special = specials == nullptr ? nullptr : Find(*specials, name.c_str());
  const Json* list = special == nullptr ? nullptr : Find(*special, "ids");
  if (list == nullptr || !list->is_array()) {
    return Unexpected(absl::StrCat(path, ".special_tokens[", Print(name), "].ids"), list,
                      "an array");
  }
  std::vector<TokenId> ids;
  for (const Json& value : *list) {
    ASSIGN_OR_RETURN(ids.emplace_back(), ReadId(value, absl::StrCat(path, ".special_tokens.ids")));
  }
  return ids;
}

absl::Status ReadTemplate(const Json& processor, const std::string& path, TokenizerConfig* config) {
  if (!config->post.empty()) return Unexpected(path, "a second TemplateProcessing", "one");
  const Json* single = Find(processor, "single");
  if (single == nullptr || !single->is_array()) {
    return Unexpected(path + ".single", single, "an array");
  }
  bool has_text = false;
  for (const Json& piece : *single) {
    const Json* sequence = Find(piece, "Sequence");
    const Json* special = Find(piece, "SpecialToken");
    const Json* body = sequence != nullptr ? sequence : special;
    const Json* id = body == nullptr ? nullptr : Find(*body, "id");
    if (id == nullptr || !id->is_string() || piece.size() != 1 ||
        (sequence != nullptr && *id != "A")) {
      return Unexpected(path + ".single", &piece, "SpecialToken, or Sequence A");
    }
    TokenizerConfig::TemplatePiece& out = config->post.emplace_back();
    out.is_text = sequence != nullptr;
    has_text |= out.is_text;
    if (special != nullptr) {
      ASSIGN_OR_RETURN(out.ids, ReadTemplateIds(processor, id->get<std::string>(), path));
    }
  }
  if (!has_text) return Unexpected(path + ".single", single, "Sequence A among its pieces");
  return absl::OkStatus();
}

}  // namespace

absl::Status ReadNormalizer(const Json& root, TokenizerConfig* config) {
  const Json* normalizer = Find(root, "normalizer");
  if (Absent(normalizer)) return absl::OkStatus();
  const Json& one = Unwrap(*normalizer, "normalizers");
  const Json* list = Type(one) == "Sequence" ? Find(one, "normalizers") : nullptr;
  if (list != nullptr && list->is_array() && list->empty()) return absl::OkStatus();
  if (Type(one) != "NFC") return Unexpected("normalizer", normalizer, "null or NFC");
  config->nfc = true;
  return absl::OkStatus();
}

absl::Status ReadPreTokenizer(const Json& root, TokenizerConfig* config) {
  const Json* value = Find(root, "pre_tokenizer");
  const auto unexpected = [value] {
    return Unexpected(
        "pre_tokenizer", value,
        "that of GPT-2 (ByteLevel), SmolLM (Digits with individual_digits, ByteLevel), "
        "Llama 3 or Qwen 2 (Split by their pattern, ByteLevel without use_regex)");
  };
  if (value == nullptr) return unexpected();
  const Json* byte_level = &Unwrap(*value, "pretokenizers");
  const Json* split = nullptr;
  if (Type(*byte_level) == "Sequence") {
    const Json* list = Find(*byte_level, "pretokenizers");
    if (list == nullptr || !list->is_array() || list->size() != 2) return unexpected();
    split = &(*list)[0];
    byte_level = &(*list)[1];
  }
  if (Type(*byte_level) != "ByteLevel") return unexpected();
  ASSIGN_OR_RETURN(const bool prefix, ReadBool(*byte_level, "add_prefix_space", "pre_tokenizer"));
  ASSIGN_OR_RETURN(const bool regex, ReadBool(*byte_level, "use_regex", "pre_tokenizer", true));
  if (split == nullptr || Type(*split) == "Digits") {
    if (!regex) return unexpected();
    config->prefix_space_first = prefix;
    if (split == nullptr) return absl::OkStatus();
    ASSIGN_OR_RETURN(config->isolate_digits,
                     ReadBool(*split, "individual_digits", "pre_tokenizer"));
    return config->isolate_digits ? absl::OkStatus() : unexpected();
  }
  const Json* pattern = Find(*split, "pattern");
  const Json* regular = pattern == nullptr ? nullptr : Find(*pattern, "Regex");
  if (Type(*split) != "Split" || regular == nullptr) return unexpected();
  ASSIGN_OR_RETURN(const bool keeps_matches, KeepsMatches(*split));
  if (*regular == kLlama3Pattern) {
    config->pattern = WordPattern::kLlama3;
  } else if (*regular == kQwen2Pattern) {
    config->pattern = WordPattern::kQwen2;
  } else {
    return unexpected();
  }
  config->prefix_space_last = prefix;
  return regex || !keeps_matches ? unexpected() : absl::OkStatus();
}

absl::Status ReadPostProcessors(const Json& root, TokenizerConfig* config) {
  const Json* value = Find(root, "post_processor");
  std::vector<const Json*> processors;
  if (!Absent(value)) {
    const Json* list = Type(*value) == "Sequence" ? Find(*value, "processors") : nullptr;
    if (list != nullptr && list->is_array()) {
      for (const Json& processor : *list) processors.push_back(&processor);
    } else {
      processors.push_back(value);
    }
  }
  for (const Json* processor : processors) {
    const std::string_view type = Type(*processor);
    if (type == "ByteLevel") continue;  // changes offsets alone
    if (type != "TemplateProcessing") {
      return Unexpected("post_processor", processor,
                        "null, ByteLevel, TemplateProcessing or a Sequence of these");
    }
    RETURN_IF_ERROR(ReadTemplate(*processor, "post_processor", config));
  }
  if (config->post.empty()) config->post.push_back({.is_text = true, .ids = {}});
  return absl::OkStatus();
}

}  // namespace recurve::tokenizer_json
