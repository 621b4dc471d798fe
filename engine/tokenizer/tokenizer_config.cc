// SPDX-License-Identifier: Apache-2.0
#include "engine/tokenizer/tokenizer_config.h"

#include <array>
#include <map>
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
#include "engine/tokenizer/pipeline_config.h"
#include "engine/tokenizer/tokenizer_json.h"
#include "engine/tokenizer/utf8.h"

namespace recurve {
namespace tokenizer_json {
namespace {

constexpr int kMaxDepth = 64;  // of nesting; real files have 7

using TokenIds =
    std::unordered_map<std::string_view, TokenId>;  // views into TokenizerConfig::vocab

absl::Status ReadVocab(const Json& model, TokenizerConfig* config) {
  const Json* vocab = Find(model, "vocab");
  if (vocab == nullptr || !vocab->is_object() || vocab->empty()) {
    return Unexpected("model.vocab", vocab == nullptr ? "missing" : "no object or empty",
                      "an object of tokens and ids");
  }
  std::unordered_set<TokenId> ids;
  config->vocab.reserve(vocab->size());
  for (const auto& [token, value] : vocab->items()) {
    const std::string path = absl::StrCat("model.vocab[", Print(token), "]");
    ASSIGN_OR_RETURN(const TokenId id, ReadId(value, path));
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

// The added tokens that were read so far, by index.
struct AddedBefore {
  std::map<std::string, size_t> by_content;
  std::map<TokenId, size_t> by_id;
};

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

// What `tokenizers` takes for one token, or for another with its id.
absl::Status CheckIsNoDuplicate(const AddedToken& token, size_t index, const std::string& path,
                                AddedBefore* before) {
  const auto [of_content, is_new] = before->by_content.emplace(token.content, index);
  if (!is_new) {
    return Unexpected(path + ".content",
                      absl::StrCat(Print(token.content), ", a duplicate of added_tokens[",
                                   of_content->second, "]"),
                      "distinct contents");
  }
  const auto [of_id, is_new_id] = before->by_id.emplace(token.id, index);
  if (is_new_id) return absl::OkStatus();
  return Unexpected(
      path + ".id",
      absl::StrCat(token.id, ", a duplicate of that of added_tokens[", of_id->second, "]"),
      "distinct ids");
}

// One warning for all.
void WarnOfDropped(const std::vector<AddedToken>& dropped, TokenId id_limit,
                   TokenizerConfig* config) {
  if (dropped.empty()) return;
  const std::string others =
      dropped.size() == 1 ? "" : absl::StrCat(" and ", dropped.size() - 1, " more");
  config->warnings.push_back(
      absl::StrCat("tokenizer.json: added_tokens: ", Print(dropped.front().content), " with id ",
                   dropped.front().id, others, " left out: the model has ids below ", id_limit,
                   " (vocab_size) alone, so text that spells such a token is plain text"));
}

// An added token that the vocabulary has keeps its id. Another gets the next id from the size of
// the vocabulary on: `tokenizers` numbers them so whatever the file says, so a file that says
// otherwise would give ids that its author did not mean. Those from `id_limit` on, which the model
// has no row for (a pad that only training needed), are dropped.
absl::Status ReadAddedTokens(const Json& root, TokenId id_limit, TokenizerConfig* config) {
  const Json* added = Find(root, "added_tokens");
  if (added == nullptr) return absl::OkStatus();
  if (!added->is_array()) return Unexpected("added_tokens", added, "an array");
  TokenIds vocab;
  std::unordered_set<TokenId> vocab_ids;
  for (const TokenizerConfig::VocabEntry& entry : config->vocab) {
    vocab.emplace(entry.token, entry.id);
    vocab_ids.insert(entry.id);
  }
  AddedBefore before;
  std::vector<AddedToken> dropped;
  TokenId next_id = static_cast<TokenId>(config->vocab.size());
  for (size_t i = 0; i < added->size(); ++i) {
    const std::string path = absl::StrCat("added_tokens[", i, "]");
    ASSIGN_OR_RETURN(AddedToken token, ReadAddedToken((*added)[i], path));
    RETURN_IF_ERROR(CheckIsNoDuplicate(token, i, path, &before));
    const auto known = vocab.find(token.content);
    const TokenId id = known != vocab.end() ? known->second : next_id++;
    if (token.id != id || (known == vocab.end() && vocab_ids.count(id) > 0)) {
      return Unexpected(path + ".id", absl::StrCat(token.id),
                        absl::StrCat(id, known != vocab.end() ? ", its id in model.vocab"
                                                              : ", the next free id"));
    }
    const bool has_row = known != vocab.end() || token.id < id_limit;
    (has_row ? config->added : dropped).push_back(std::move(token));
  }
  WarnOfDropped(dropped, id_limit, config);
  return absl::OkStatus();
}

absl::Status CheckTemplateIds(const TokenizerConfig& config) {
  std::unordered_set<TokenId> ids;
  for (const TokenizerConfig::VocabEntry& entry : config.vocab) ids.insert(entry.id);
  for (const AddedToken& token : config.added) ids.insert(token.id);
  for (const TokenizerConfig::TemplatePiece& piece : config.post) {
    for (const TokenId id : piece.ids) {
      if (ids.count(id) == 0) {
        return Unexpected("post_processor.special_tokens.ids", absl::StrCat(id),
                          "the id of a token that the model has");
      }
    }
  }
  return absl::OkStatus();
}

// The types of a component and of those in it, if it is a Sequence.
std::vector<std::string_view> Types(const Json& root, const char* name, const char* list_name) {
  const Json* component = Find(root, name);
  if (component == nullptr) return {};
  std::vector<std::string_view> types = {Type(*component)};
  const Json* list = Find(*component, list_name);
  if (list == nullptr || !list->is_array()) return types;
  for (const Json& part : *list) types.push_back(Type(part));
  return types;
}

// By what `root` is that of a sentencepiece model, which has other parts almost throughout; empty:
// it is not.
std::string SentencepieceSign(const Json& root) {
  if (const Json* model = Find(root, "model"); model != nullptr) {
    if (Type(*model) == "Unigram") return "model.type is \"Unigram\"";
    const Json* fallback = Find(*model, "byte_fallback");
    if (fallback != nullptr && *fallback == true) return "model.byte_fallback is true";
  }
  constexpr std::array<std::array<const char*, 2>, 3> kParts = {
      {{"normalizer", "normalizers"}, {"pre_tokenizer", "pretokenizers"}, {"decoder", "decoders"}}};
  for (const auto& [name, list_name] : kParts) {
    for (const std::string_view type : Types(root, name, list_name)) {
      for (const char* sign : {"Metaspace", "ByteFallback", "Prepend", "Precompiled"}) {
        if (type == sign) return absl::StrCat(name, " has ", sign);
      }
    }
  }
  return "";
}

absl::Status CheckKind(const Json& root) {
  const std::string sign = SentencepieceSign(root);
  if (sign.empty()) return absl::OkStatus();
  return absl::InvalidArgumentError(absl::StrCat(
      "tokenizer.json: a sentencepiece tokenizer (", sign,
      "), which is not supported; expected byte-level BPE, as GPT-2, SmolLM, Llama 3, Qwen 2 and "
      "OLMo 2 have. Without the file the model is served for clients that send token ids"));
}

// What training and saving leave in files. `tokenizers` would apply it to every text, transformers
// ignores it unless asked; a server must not cut or fill prompts unasked.
void WarnOfLeftovers(const Json& root, TokenizerConfig* config) {
  std::string found;
  for (const char* name : {"truncation", "padding"}) {
    if (Absent(Find(root, name))) continue;
    absl::StrAppend(&found, found.empty() ? "" : " and ", name);
  }
  if (found.empty()) return;
  config->warnings.push_back(
      absl::StrCat("tokenizer.json: ", found, " ignored: no prompt is cut or padded"));
}

absl::StatusOr<Json> ParseJson(std::string_view text) {
  bool too_deep = false;
  const Json::parser_callback_t limit_depth = [&too_deep](int depth, Json::parse_event_t, Json&) {
    too_deep |= depth > kMaxDepth;
    return depth <= kMaxDepth;
  };
  Json root = Json::parse(text.begin(), text.end(), limit_depth, /*allow_exceptions=*/false);
  if (too_deep)
    return Unexpected("nesting", "deeper", absl::StrCat("at most ", kMaxDepth, " levels"));
  if (!root.is_object()) {
    return absl::InvalidArgumentError(
        absl::StrCat("tokenizer.json: not a JSON object: ", DescribeJsonError(text)));
  }
  return root;
}

absl::StatusOr<TokenizerConfig> ReadTokenizer(const Json& root, TokenId id_limit) {
  const Json* version = Find(root, "version");
  if (version != nullptr && *version != "1.0") return Unexpected("version", version, "\"1.0\"");
  RETURN_IF_ERROR(CheckKind(root));
  const Json* decoder = Find(root, "decoder");
  if (decoder == nullptr || Type(Unwrap(*decoder, "decoders")) != "ByteLevel") {
    return Unexpected("decoder", decoder, "ByteLevel");
  }
  TokenizerConfig config;
  WarnOfLeftovers(root, &config);
  RETURN_IF_ERROR(ReadNormalizer(root, &config));
  RETURN_IF_ERROR(ReadPreTokenizer(root, &config));
  RETURN_IF_ERROR(ReadPostProcessors(root, &config));
  RETURN_IF_ERROR(ReadModel(root, &config));
  RETURN_IF_ERROR(ReadAddedTokens(root, id_limit, &config));
  RETURN_IF_ERROR(CheckTemplateIds(config));
  return config;
}

}  // namespace
}  // namespace tokenizer_json

absl::StatusOr<TokenizerConfig> ParseTokenizerConfig(std::string_view json_text, TokenId id_limit) {
  ASSIGN_OR_RETURN(const tokenizer_json::Json root, tokenizer_json::ParseJson(json_text));
  return tokenizer_json::ReadTokenizer(root, id_limit);
}

}  // namespace recurve
