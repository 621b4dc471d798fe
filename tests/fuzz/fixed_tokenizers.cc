// SPDX-License-Identifier: Apache-2.0
#include "tests/fuzz/fixed_tokenizers.h"

#include <limits>
#include <nlohmann/json.hpp>

#include "engine/base/check.h"
#include "engine/tokenizer/byte_alphabet.h"
#include "engine/tokenizer/unicode.h"
#include "engine/tokenizer/utf8.h"

namespace recurve {
namespace {

using Json = nlohmann::json;

// Pairs of byte strings, by rank. Chosen so that merges compete: for overlapping pairs, for long
// runs of one byte, across what patterns cut, and inside of characters.
const std::vector<std::pair<std::string, std::string>>& MergeList() {
  static const std::vector<std::pair<std::string, std::string>> kMerges = {
      {"b", "c"},       {"a", "b"},        {"ab", "c"},      {"a", "bc"},
      {"a", "a"},       {"aa", "aa"},      {"aaaa", "aaaa"}, {"a", "aa"},
      {" ", " "},       {"  ", "  "},      {" ", "a"},       {"1", "2"},
      {"12", "3"},      {"2", "3"},        {"\r", "\n"},     {"\n", "\n"},
      {"'", "s"},       {"'", "l"},        {"'l", "l"},      {"l", "l"},
      {"\xC3", "\xA9"}, {" ", "\xC3\xA9"}, {"\xE2", "\x80"}, {"\xE2\x80", "\x99"},
      {"e", "\xCC"},    {"e\xCC", "\x81"}, {"\xF0", "\x9F"}, {"\xF0\x9F", "\x98"},
      {"!", "!"},       {"!!", "\n"},      {" ", "!"},       {"\t", "\t"},
      {"\xC2", "\xA0"}};
  return kMerges;
}

std::string InByteAlphabet(std::string_view bytes) {
  std::string token;
  for (const char byte : bytes) AppendUtf8(ByteAlphabet()[static_cast<uint8_t>(byte)], &token);
  return token;
}

Json ByteLevel(bool use_regex) {
  return {{"type", "ByteLevel"}, {"add_prefix_space", false}, {"use_regex", use_regex}};
}

Json Split(std::string_view pattern) {
  const Json split = {{"type", "Split"},
                      {"pattern", {{"Regex", std::string(pattern)}}},
                      {"behavior", "Isolated"},
                      {"invert", false}};
  return {{"type", "Sequence"}, {"pretokenizers", {split, ByteLevel(false)}}};
}

Json Digits() {
  const Json digits = {{"type", "Digits"}, {"individual_digits", true}};
  return {{"type", "Sequence"}, {"pretokenizers", {digits, ByteLevel(true)}}};
}

Json BaseFile() {
  Json vocab = Json::object();
  for (int byte = 0; byte < 256; ++byte) {
    vocab[InByteAlphabet(std::string(1, static_cast<char>(byte)))] = byte;
  }
  Json merges = Json::array();
  for (const auto& [left, right] : MergeList()) {
    const std::string merged = InByteAlphabet(left + right);
    if (!vocab.contains(merged)) vocab[merged] = vocab.size();
    merges.push_back(InByteAlphabet(left) + " " + InByteAlphabet(right));
  }
  return {{"version", "1.0"},
          {"decoder", {{"type", "ByteLevel"}}},
          {"pre_tokenizer", ByteLevel(true)},
          {"model", {{"type", "BPE"}, {"vocab", vocab}, {"merges", merges}}}};
}

std::unique_ptr<Tokenizer> Load(const Json& file) {
  auto tokenizer = Tokenizer::Parse(file.dump());
  RECURVE_CHECK(tokenizer.ok());
  return *std::move(tokenizer);
}

FixedTokenizer Make(const Json& pre_tokenizer, WordPattern pattern, bool isolate_digits, bool nfc) {
  Json file = BaseFile();
  file["pre_tokenizer"] = pre_tokenizer;
  if (nfc) file["normalizer"] = {{"type", "NFC"}};
  FixedTokenizer fixed;
  fixed.tokenizer = Load(file);
  fixed.pattern = pattern;
  fixed.isolate_digits = isolate_digits;
  fixed.nfc = nfc;
  const auto id = [&](const std::string& bytes) {
    return fixed.tokenizer->TokenToId(InByteAlphabet(bytes)).value();
  };
  int rank = 0;
  for (const auto& [left, right] : MergeList()) {
    fixed.merges[{id(left), id(right)}] = {rank++, id(left + right)};
  }
  return fixed;
}

}  // namespace

std::vector<TokenId> FixedTokenizer::SlowEncode(std::string_view text) const {
  std::vector<TokenId> ids;
  const std::string normalized = nfc ? NormalizeNfc(text) : std::string(text);
  std::string_view rest = normalized;
  while (!rest.empty()) {
    const size_t unit = isolate_digits ? DigitUnitLength(rest) : rest.size();
    RECURVE_CHECK(unit > 0 && unit <= rest.size());
    const size_t length = WordLength(pattern, rest.substr(0, unit));
    RECURVE_CHECK(length > 0 && length <= unit);
    std::vector<TokenId> word;
    for (const char byte : rest.substr(0, length)) word.push_back(static_cast<uint8_t>(byte));
    while (true) {
      std::pair<int, TokenId> best = {std::numeric_limits<int>::max(), kNoToken};
      size_t at = 0;
      for (size_t i = 0; i + 1 < word.size(); ++i) {
        const auto merge = merges.find({word[i], word[i + 1]});
        if (merge == merges.end() || merge->second.first >= best.first) continue;
        best = merge->second;
        at = i;
      }
      if (best.second == kNoToken) break;
      word[at] = best.second;
      word.erase(word.begin() + static_cast<ptrdiff_t>(at) + 1);
    }
    ids.insert(ids.end(), word.begin(), word.end());
    rest.remove_prefix(length);
  }
  return ids;
}

std::vector<FixedTokenizer> MakeFixedTokenizers() {
  std::vector<FixedTokenizer> all;
  all.push_back(Make(ByteLevel(true), WordPattern::kGpt2, false, false));
  all.push_back(Make(Digits(), WordPattern::kGpt2, true, false));
  all.push_back(Make(Split(kLlama3Pattern), WordPattern::kLlama3, false, false));
  all.push_back(Make(Split(kQwen2Pattern), WordPattern::kQwen2, false, true));
  return all;
}

std::unique_ptr<Tokenizer> MakeTokenizerWithAddedTokens() {
  Json file = BaseFile();
  const size_t first = file["model"]["vocab"].size();
  const auto added = [](size_t id, const std::string& content, bool special) -> Json {
    return {{"id", id},        {"content", content},  {"single_word", false}, {"lstrip", false},
            {"rstrip", false}, {"normalized", false}, {"special", special}};
  };
  file["added_tokens"] = {added(first, "<|a|>", true), added(first + 1, "<|b|>", true),
                          added(first + 2, "xyz", false)};
  const Json special = {{"<|a|>", {{"id", "<|a|>"}, {"ids", {first}}, {"tokens", {"<|a|>"}}}}};
  file["post_processor"] = {{"type", "TemplateProcessing"},
                            {"single",
                             {{{"SpecialToken", {{"id", "<|a|>"}, {"type_id", 0}}}},
                              {{"Sequence", {{"id", "A"}, {"type_id", 0}}}}}},
                            {"special_tokens", special}};
  return Load(file);
}

}  // namespace recurve
