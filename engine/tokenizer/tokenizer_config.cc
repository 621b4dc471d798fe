// SPDX-License-Identifier: Apache-2.0
#include "engine/tokenizer/tokenizer_config.h"

#include <nlohmann/json.hpp>
#include <optional>
#include <unordered_map>
#include <unordered_set>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "engine/base/json_error.h"
#include "engine/base/status_macros.h"
#include "engine/tokenizer/byte_alphabet.h"
#include "engine/tokenizer/utf8.h"

namespace recurve {
namespace {

using Json = nlohmann::json;

constexpr int kMaxDepth = 64;         // of nesting; real files have 7
constexpr size_t kMaxPrinted = 2000;  // characters of a value in an error message

using TokenIds =
    std::unordered_map<std::string_view, int32_t>;  // views into TokenizerConfig::vocab

std::string Print(const Json& value) {
  std::string text = value.dump(-1, ' ', true, Json::error_handler_t::replace);
  if (text.size() > kMaxPrinted) text = absl::StrCat(text.substr(0, kMaxPrinted), "...");
  return text;
}

// The strings of this file are std::string: where Abseil is built for C++14 (Debian 12), its
// StrCat does not take std::string_view.
absl::Status Unexpected(const std::string& field, const std::string& found,
                        const std::string& expected) {
  return absl::InvalidArgumentError(
      absl::StrCat("tokenizer.json: ", field, " is ", found, ", expected ", expected));
}

absl::Status Unexpected(const std::string& field, const Json* found, const std::string& expected) {
  return Unexpected(field, found == nullptr ? "missing" : Print(*found), expected);
}

// The member `name` of `object`; null when it is missing or `object` is no object.
const Json* Find(const Json& object, const char* name) {
  const auto found = object.find(name);
  return found == object.end() ? nullptr : &*found;
}

bool Absent(const Json* value) { return value == nullptr || value->is_null(); }

// The string member "type" of a component; empty when there is none.
std::string_view Type(const Json& component) {
  const Json* type = Find(component, "type");
  return type != nullptr && type->is_string()
             ? std::string_view(type->get_ref<const std::string&>())
             : std::string_view();
}

// What a Sequence of one holds, which does the same as the Sequence; else `component` itself.
const Json& Unwrap(const Json& component, const char* list_name) {
  const Json* list = Type(component) == "Sequence" ? Find(component, list_name) : nullptr;
  return list != nullptr && list->is_array() && list->size() == 1 ? list->front() : component;
}

absl::StatusOr<bool> ReadBool(const Json& object, const char* name, const std::string& path,
                              std::optional<bool> absent = std::nullopt) {
  const Json* value = Find(object, name);
  if (Absent(value) && absent.has_value()) return *absent;
  if (value == nullptr || !value->is_boolean()) {
    return Unexpected(absl::StrCat(path, ".", name), value, "true or false");
  }
  return value->get<bool>();
}

absl::StatusOr<int32_t> ReadId(const Json& value, const std::string& path) {
  if (!value.is_number_unsigned() || value.get<uint64_t>() > static_cast<uint64_t>(kMaxTokenId)) {
    return Unexpected(path, &value, absl::StrCat("a token id from 0 to ", kMaxTokenId));
  }
  return static_cast<int32_t>(value.get<uint64_t>());
}

absl::StatusOr<std::string> ReadString(const Json& object, const char* name,
                                       const std::string& path) {
  const Json* value = Find(object, name);
  if (value == nullptr || !value->is_string()) {
    return Unexpected(absl::StrCat(path, ".", name), value, "a string");
  }
  return value->get<std::string>();
}

absl::Status ReadVocab(const Json& model, TokenizerConfig* config) {
  const Json* vocab = Find(model, "vocab");
  if (vocab == nullptr || !vocab->is_object() || vocab->empty()) {
    return Unexpected("model.vocab", vocab == nullptr ? "missing" : "no object or empty",
                      "an object of tokens and ids");
  }
  std::unordered_set<int32_t> ids;
  config->vocab.reserve(vocab->size());
  for (const auto& [token, value] : vocab->items()) {
    const std::string path = absl::StrCat("model.vocab[", Print(token), "]");
    ASSIGN_OR_RETURN(const int32_t id, ReadId(value, path));
    if (!ids.insert(id).second) {
      return Unexpected(path, absl::StrCat(id, ", the id of another token too"), "distinct ids");
    }
    config->vocab.push_back({token, id});
  }
  return absl::OkStatus();
}

// The two tokens of one merge, in either notation: "a b" or ["a", "b"].
std::optional<std::pair<std::string, std::string>> MergeParts(const Json& merge) {
  if (merge.is_string()) {
    const std::string& text = merge.get_ref<const std::string&>();
    const size_t space = text.find(' ');
    if (space == text.npos || text.find(' ', space + 1) != text.npos) return std::nullopt;
    return std::pair(text.substr(0, space), text.substr(space + 1));
  }
  if (!merge.is_array() || merge.size() != 2 || !merge[0].is_string() || !merge[1].is_string()) {
    return std::nullopt;
  }
  return std::pair(merge[0].get<std::string>(), merge[1].get<std::string>());
}

absl::Status ReadMerges(const Json& model, const TokenIds& ids, TokenizerConfig* config) {
  const Json* merges = Find(model, "merges");
  if (merges == nullptr || !merges->is_array()) {
    return Unexpected("model.merges", merges == nullptr ? "missing" : "no array", "an array");
  }
  config->merges.reserve(merges->size());
  for (size_t i = 0; i < merges->size(); ++i) {
    const Json& merge = (*merges)[i];
    const std::string path = absl::StrCat("model.merges[", i, "]");
    if (merge.type() != merges->front().type()) {
      return Unexpected(path, &merge, "the notation of the first merge");
    }
    // The version line of a merges.txt.
    if (merge.is_string() && absl::StartsWith(merge.get_ref<const std::string&>(), "#version"))
      continue;
    const auto parts = MergeParts(merge);
    if (!parts.has_value()) return Unexpected(path, &merge, R"("a b" or ["a", "b"])");
    const auto left = ids.find(parts->first);
    const auto right = ids.find(parts->second);
    const auto merged = ids.find(absl::StrCat(parts->first, parts->second));
    if (left == ids.end() || right == ids.end() || merged == ids.end()) {
      return Unexpected(path, &merge, "two tokens of the vocabulary whose concatenation is one");
    }
    config->merges.push_back({left->second, right->second, merged->second});
  }
  return absl::OkStatus();
}

// An unknown token matters only if some byte of valid UTF-8 is no token.
bool CoversUtf8(const TokenIds& ids) {
  for (int byte = 0; byte < 0xF5; ++byte) {
    if (byte == 0xC0 || byte == 0xC1) continue;
    std::string token;
    AppendUtf8(ByteAlphabet()[byte], &token);
    if (ids.find(token) == ids.end()) return false;
  }
  return true;
}

// Old files, GPT-2's among them, have no type: `tokenizers` tells the kind by the fields then.
bool IsBpe(const Json& model) {
  if (Find(model, "type") != nullptr) return Type(model) == "BPE";
  const Json* vocab = Find(model, "vocab");
  const Json* merges = Find(model, "merges");
  return vocab != nullptr && vocab->is_object() && merges != nullptr && merges->is_array();
}

absl::Status ReadModel(const Json& root, TokenizerConfig* config) {
  const Json* model = Find(root, "model");
  if (model == nullptr || !IsBpe(*model)) {
    return Unexpected("model.type", model == nullptr ? nullptr : Find(*model, "type"), "\"BPE\"");
  }
  const Json* dropout = Find(*model, "dropout");
  if (!Absent(dropout) && !(dropout->is_number() && dropout->get<double>() == 0)) {
    return Unexpected("model.dropout", dropout, "null");
  }
  for (const char* name : {"continuing_subword_prefix", "end_of_word_suffix"}) {
    const Json* value = Find(*model, name);
    if (Absent(value) || (value->is_string() && value->get_ref<const std::string&>().empty())) {
      continue;
    }
    return Unexpected(absl::StrCat("model.", name), value, "null");
  }
  ASSIGN_OR_RETURN(const bool byte_fallback, ReadBool(*model, "byte_fallback", "model", false));
  if (byte_fallback) return Unexpected("model.byte_fallback", "true", "false");
  ASSIGN_OR_RETURN(config->ignore_merges, ReadBool(*model, "ignore_merges", "model", false));
  RETURN_IF_ERROR(ReadVocab(*model, config));
  TokenIds ids;
  ids.reserve(config->vocab.size());
  for (const TokenizerConfig::VocabEntry& entry : config->vocab) ids.emplace(entry.token, entry.id);
  const Json* unknown = Find(*model, "unk_token");
  if (!Absent(unknown) && !CoversUtf8(ids)) {
    return Unexpected("model.unk_token", unknown,
                      "null, as model.vocab lacks a byte that text can hold");
  }
  return ReadMerges(*model, ids, config);
}

absl::StatusOr<AddedToken> ReadAddedToken(const Json& value, const std::string& path) {
  AddedToken token;
  if (!value.is_object()) return Unexpected(path, &value, "an object");
  const Json* id = Find(value, "id");
  if (id == nullptr) return Unexpected(path + ".id", "missing", "a token id");
  ASSIGN_OR_RETURN(token.id, ReadId(*id, path + ".id"));
  ASSIGN_OR_RETURN(token.content, ReadString(value, "content", path));
  if (token.content.empty()) return Unexpected(path + ".content", "empty", "text");
  ASSIGN_OR_RETURN(token.single_word, ReadBool(value, "single_word", path));
  ASSIGN_OR_RETURN(token.lstrip, ReadBool(value, "lstrip", path));
  ASSIGN_OR_RETURN(token.rstrip, ReadBool(value, "rstrip", path));
  ASSIGN_OR_RETURN(token.normalized, ReadBool(value, "normalized", path));
  ASSIGN_OR_RETURN(token.special, ReadBool(value, "special", path));
  return token;
}

// An added token that the vocabulary has keeps its id. Another gets the next id from the size of
// the vocabulary on: `tokenizers` numbers them so whatever the file says, so a file that says
// otherwise would give ids that its author did not mean.
absl::Status ReadAddedTokens(const Json& root, TokenizerConfig* config) {
  const Json* added = Find(root, "added_tokens");
  if (added == nullptr) return absl::OkStatus();
  if (!added->is_array()) return Unexpected("added_tokens", added, "an array");
  TokenIds vocab;
  std::unordered_set<int32_t> vocab_ids;
  for (const TokenizerConfig::VocabEntry& entry : config->vocab) {
    vocab.emplace(entry.token, entry.id);
    vocab_ids.insert(entry.id);
  }
  std::unordered_set<std::string> contents;
  int32_t next_id = static_cast<int32_t>(config->vocab.size());
  for (size_t i = 0; i < added->size(); ++i) {
    const std::string path = absl::StrCat("added_tokens[", i, "]");
    ASSIGN_OR_RETURN(AddedToken token, ReadAddedToken((*added)[i], path));
    const auto known = vocab.find(token.content);
    const int32_t id = known != vocab.end() ? known->second : next_id++;
    if (token.id != id || (known == vocab.end() && vocab_ids.count(id) > 0)) {
      return Unexpected(path + ".id", absl::StrCat(token.id),
                        absl::StrCat(id, known != vocab.end() ? ", its id in model.vocab"
                                                              : ", the next free id"));
    }
    if (!contents.insert(token.content).second) {
      return Unexpected(path + ".content", Print(token.content), "distinct contents");
    }
    config->added.push_back(std::move(token));
  }
  return absl::OkStatus();
}

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
  const Json* behavior = Find(*split, "behavior");
  if (Type(*split) != "Split" || regular == nullptr || behavior == nullptr ||
      *behavior != "Isolated") {
    return unexpected();
  }
  ASSIGN_OR_RETURN(const bool invert, ReadBool(*split, "invert", "pre_tokenizer"));
  if (*regular == kLlama3Pattern) {
    config->pattern = WordPattern::kLlama3;
  } else if (*regular == kQwen2Pattern) {
    config->pattern = WordPattern::kQwen2;
  } else {
    return unexpected();
  }
  config->prefix_space_last = prefix;
  return invert || regex ? unexpected() : absl::OkStatus();
}

// The ids that the template adds where it names the special token `name`.
absl::StatusOr<std::vector<int32_t>> ReadTemplateIds(const Json& processor, const std::string& name,
                                                     const std::string& path) {
  const Json* specials = Find(processor, "special_tokens");
  const Json* special = specials == nullptr ? nullptr : Find(*specials, name.c_str());
  const Json* list = special == nullptr ? nullptr : Find(*special, "ids");
  if (list == nullptr || !list->is_array()) {
    return Unexpected(absl::StrCat(path, ".special_tokens[", Print(name), "].ids"), list,
                      "an array");
  }
  std::vector<int32_t> ids;
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

absl::Status CheckTemplateIds(const TokenizerConfig& config) {
  std::unordered_set<int32_t> ids;
  for (const TokenizerConfig::VocabEntry& entry : config.vocab) ids.insert(entry.id);
  for (const AddedToken& token : config.added) ids.insert(token.id);
  for (const TokenizerConfig::TemplatePiece& piece : config.post) {
    for (const int32_t id : piece.ids) {
      if (ids.count(id) == 0) {
        return Unexpected("post_processor.special_tokens.ids", absl::StrCat(id),
                          "the id of a token");
      }
    }
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<TokenizerConfig> ParseTokenizerConfig(std::string_view json_text) {
  bool too_deep = false;
  const Json::parser_callback_t limit_depth = [&too_deep](int depth, Json::parse_event_t, Json&) {
    too_deep |= depth > kMaxDepth;
    return depth <= kMaxDepth;
  };
  const Json root =
      Json::parse(json_text.begin(), json_text.end(), limit_depth, /*allow_exceptions=*/false);
  if (too_deep)
    return Unexpected("nesting", "deeper", absl::StrCat("at most ", kMaxDepth, " levels"));
  if (!root.is_object()) {
    return absl::InvalidArgumentError(
        absl::StrCat("tokenizer.json: not a JSON object: ", DescribeJsonError(json_text)));
  }
  const Json* version = Find(root, "version");
  if (version != nullptr && *version != "1.0") return Unexpected("version", version, "\"1.0\"");
  // What training left in some files. `tokenizers` would apply it to every text, so ignoring it, as
  // transformers does, would give other ids; but a server must not cut prompts unasked.
  for (const char* name : {"truncation", "padding"}) {
    const Json* value = Find(root, name);
    if (!Absent(value)) return Unexpected(name, value, "null, as no prompt is cut or padded");
  }
  const Json* decoder = Find(root, "decoder");
  if (decoder == nullptr || Type(Unwrap(*decoder, "decoders")) != "ByteLevel") {
    return Unexpected("decoder", decoder, "ByteLevel");
  }
  TokenizerConfig config;
  RETURN_IF_ERROR(ReadNormalizer(root, &config));
  RETURN_IF_ERROR(ReadPreTokenizer(root, &config));
  RETURN_IF_ERROR(ReadPostProcessors(root, &config));
  RETURN_IF_ERROR(ReadModel(root, &config));
  RETURN_IF_ERROR(ReadAddedTokens(root, &config));
  RETURN_IF_ERROR(CheckTemplateIds(config));
  return config;
}

}  // namespace recurve
