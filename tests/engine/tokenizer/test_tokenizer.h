// SPDX-License-Identifier: Apache-2.0
// Small tokenizer.json texts for tests.
#ifndef RECURVE_TESTS_ENGINE_TOKENIZER_TEST_TOKENIZER_H_
#define RECURVE_TESTS_ENGINE_TOKENIZER_TEST_TOKENIZER_H_

#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <utility>
#include <vector>

#include "engine/tokenizer/byte_alphabet.h"
#include "engine/tokenizer/tokenizer.h"
#include "engine/tokenizer/utf8.h"

namespace recurve {

// `bytes` written in the byte alphabet.
inline std::string ByteToken(std::string_view bytes) {
  std::string token;
  for (const char c : bytes) AppendUtf8(ByteAlphabet()[static_cast<uint8_t>(c)], &token);
  return token;
}

inline nlohmann::json ByteLevelPart(bool use_regex = true, bool add_prefix_space = false) {
  return {{"type", "ByteLevel"}, {"add_prefix_space", add_prefix_space}, {"use_regex", use_regex}};
}

// A GPT-2 tokenizer: id b is byte b, id 256 + i is what merges[i] (two parts, as bytes) makes.
inline nlohmann::json TestTokenizer(
    const std::vector<std::pair<std::string, std::string>>& merges = {}) {
  nlohmann::json model = {
      {"type", "BPE"}, {"vocab", nlohmann::json::object()}, {"merges", nlohmann::json::array()}};
  for (int byte = 0; byte < 256; ++byte) {
    model["vocab"][ByteToken(std::string(1, static_cast<char>(byte)))] = byte;
  }
  for (const auto& [left, right] : merges) {
    const size_t id = model["vocab"].size();
    model["vocab"][ByteToken(left + right)] = id;
    model["merges"].push_back({ByteToken(left), ByteToken(right)});
  }
  return {{"version", "1.0"},
          {"truncation", nullptr},
          {"padding", nullptr},
          {"added_tokens", nlohmann::json::array()},
          {"normalizer", nullptr},
          {"pre_tokenizer", ByteLevelPart()},
          {"post_processor", nullptr},
          {"decoder", {{"type", "ByteLevel"}}},
          {"model", model}};
}

// Adds a token with the next id, which it returns; `flags` are the names of those that are true.
inline TokenId AddToken(nlohmann::json* file, const std::string& content,
                        const std::vector<std::string>& flags = {"special"}) {
  const size_t id = (*file)["model"]["vocab"].size() + (*file)["added_tokens"].size();
  nlohmann::json token = {{"id", id},        {"content", content}, {"single_word", false},
                          {"lstrip", false}, {"rstrip", false},    {"normalized", false},
                          {"special", false}};
  for (const std::string& flag : flags) token[flag] = true;
  (*file)["added_tokens"].push_back(token);
  return static_cast<TokenId>(id);
}

// The tokenizer of a file that must be valid.
inline std::unique_ptr<Tokenizer> MustParse(const nlohmann::json& file) {
  auto tokenizer = Tokenizer::Parse(file.dump());
  if (!tokenizer.ok()) {
    std::fprintf(stderr, "%s\n", tokenizer.status().ToString().c_str());
    std::abort();
  }
  return std::move(*tokenizer);
}

}  // namespace recurve

#endif  // RECURVE_TESTS_ENGINE_TOKENIZER_TEST_TOKENIZER_H_
