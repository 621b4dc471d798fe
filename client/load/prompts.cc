// SPDX-License-Identifier: Apache-2.0
#include "client/load/prompts.h"

#include <algorithm>
#include <array>
#include <random>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "client/cli/prompt_text.h"
#include "client/load/conversations.h"

namespace recurve::client {
namespace {

// Short and common, so that most tokenizers have a token for each with the space before it.
constexpr std::array kWords = {
    "the",  "of",   "and",   "to",    "in",    "is",    "that",  "for",  "it",  "as",   "was",
    "with", "be",   "by",    "on",    "not",   "he",    "his",   "but",  "at",  "are",  "this",
    "have", "from", "or",    "had",   "an",    "they",  "which", "one",  "you", "were", "her",
    "all",  "she",  "there", "would", "their", "we",    "him",   "been", "has", "when", "who",
    "will", "more", "no",    "if",    "out",   "so",    "said",  "what", "up",  "its",  "about",
    "into", "than", "them",  "can",   "only",  "other", "new",   "some", "time"};

std::string RandomWords(uint32_t count, std::mt19937_64& random) {
  std::string text;
  for (uint32_t i = 0; i < count; ++i) {
    absl::StrAppend(&text, i == 0 ? "" : " ", kWords.at(random() % kWords.size()));
  }
  return text;
}

// Numbers of a request that those of its neighbours tell nothing of.
std::mt19937_64 RandomOf(uint64_t seed, uint64_t index) {
  std::seed_seq seeds = {static_cast<uint32_t>(seed), static_cast<uint32_t>(seed >> 32),
                         static_cast<uint32_t>(index), static_cast<uint32_t>(index >> 32)};
  return std::mt19937_64(seeds);
}

}  // namespace

absl::StatusOr<std::vector<Prompt>> ReadPrompts(const std::string& path) {
  auto text = ReadText(path);
  if (!text.ok()) return text.status();
  std::vector<Prompt> prompts;
  for (std::string& line : std::vector<std::string>(absl::StrSplit(*text, '\n'))) {
    if (!line.empty()) prompts.push_back({std::move(line)});
  }
  if (!prompts.empty()) return prompts;
  return absl::InvalidArgumentError(absl::StrCat("--prompts: the file '", path, "' has no lines"));
}

absl::StatusOr<std::vector<Prompt>> ReadConversations(const std::string& path, uint64_t seed,
                                                      uint32_t max_context, Target& target) {
  auto text = ReadText(path);
  if (!text.ok()) return text.status();
  auto exchanges = ParseShareGpt(*text);
  if (!exchanges.ok()) {
    return absl::InvalidArgumentError(
        absl::StrCat("--sharegpt: the file '", path, "': ", exchanges.status().message()));
  }
  std::mt19937_64 random(seed);
  std::shuffle(exchanges->begin(), exchanges->end(), random);
  std::vector<Prompt> prompts;
  for (Exchange& exchange : *exchanges) {
    if (prompts.size() == kMostConversations) break;
    const auto prompt = target.CountTokens(exchange.prompt, /*add_special=*/true);
    if (!prompt.ok()) return prompt.status();
    const auto reply = target.CountTokens(exchange.reply, /*add_special=*/false);
    if (!reply.ok()) return reply.status();
    if (*reply == 0 || uint64_t{*prompt} + *reply > max_context) continue;
    prompts.push_back({std::move(exchange.prompt), *reply});
  }
  if (!prompts.empty()) return prompts;
  return absl::InvalidArgumentError(absl::StrCat("--sharegpt: of the file '", path,
                                                 "' no exchange fits into the model's context, ",
                                                 max_context, " tokens"));
}

Fault RequestMaker::FaultOf(uint64_t index, const v1::GenerateRequest& request) const {
  std::mt19937_64 random = RandomOf(~load_seed, index);  // not those of its lengths
  return faults.Draw(random, request.stop().max_tokens());
}

v1::GenerateRequest RequestMaker::Make(uint64_t index) const {
  v1::GenerateRequest request = base;
  std::mt19937_64 lengths = RandomOf(load_seed, index);
  // Both are always drawn, so that one does not change with the other's distribution.
  uint32_t prompt_length = prompt_tokens.Draw(lengths);
  uint32_t most = max_tokens.Draw(lengths);
  if (index < trace.size()) {
    prompt_length = trace[index].input_length.value_or(prompt_length);
    most = trace[index].output_length.value_or(most);
  }
  if (!prompts.empty()) {
    const Prompt& prompt = prompts[index % prompts.size()];
    request.set_text(prompt.text);
    // A reply of a file is as long as it was; other texts may end by themselves.
    if (prompt.max_tokens) request.mutable_stop()->set_ignore_eos(true);
    request.mutable_stop()->set_max_tokens(prompt.max_tokens.value_or(most));
    return request;
  }
  std::mt19937_64 random = RandomOf(prompt_seed, index);
  if (vocab_size == 0) request.set_text(RandomWords(prompt_length, random));
  for (uint32_t i = 0; vocab_size > 0 && i < prompt_length; ++i) {
    request.mutable_tokens()->add_ids(static_cast<uint32_t>(random() % vocab_size));
  }
  request.mutable_stop()->set_ignore_eos(true);  // the lengths are the flags'
  request.mutable_stop()->set_max_tokens(most);
  return request;
}

}  // namespace recurve::client
