// SPDX-License-Identifier: Apache-2.0
#include <algorithm>

#include "client/gateway/answer.h"
#include "client/gateway/token_logprobs.h"

namespace recurve::gateway {
namespace {

using nlohmann::json;

// `logprobs` of a completion: lists of the same length.
class LogprobLists {
 public:
  explicit LogprobLists(size_t* offset) : offset_(offset) {}

  // `top`: whether the most likely ones are told.
  void Add(const TokenLogprobs& token, bool has_logprob, bool top) {
    lists_["tokens"].push_back(token.text);
    lists_["text_offset"].push_back(*offset_);
    *offset_ += token.characters;
    lists_["token_logprobs"].push_back(has_logprob ? json(token.logprob) : json());
    if (!has_logprob || !top) {
      lists_["top_logprobs"].push_back(nullptr);
      return;
    }
    json& most = lists_["top_logprobs"].emplace_back(json::object());
    // Several tokens may have the same text by themselves: the most likely one stands for them.
    for (const auto& [text, logprob] : token.top) most.emplace(text, logprob);
    most.emplace(token.text, token.logprob);
  }
  const json& lists() const { return lists_; }

 private:
  size_t* const offset_;  // in characters of the choice's text
  json lists_ = {{"tokens", json::array()},
                 {"text_offset", json::array()},
                 {"token_logprobs", json::array()},
                 {"top_logprobs", json::array()}};
};

void Append(const json& more, json* lists) {
  for (const auto& [name, values] : more.items()) {
    json& list = (*lists)[name];
    if (list.is_null()) list = json::array();
    list.insert(list.end(), values.begin(), values.end());
  }
}

class CompletionAnswer final : public Answer {
 public:
  CompletionAnswer(AnswerHead head, const CompletionTerms& terms, std::vector<PromptEcho> echoes)
      : Answer(std::move(head), terms),
        logprobs_(terms.logprobs),
        stream_(terms.stream),
        echoes_(std::move(echoes)),
        echo_logprobs_(echoes_.size()) {
    for (size_t prompt = 0; logprobs_ && prompt < echoes_.size(); ++prompt) {
      // The first token has no log probability, so of a prompt of one none will come.
      if (echoes_[prompt].tokens.size() == 1) echo_logprobs_[prompt] = EchoLogprobs(prompt, {});
    }
  }

 private:
  const char* Object(bool /*is_chunk*/) const override { return "text_completion"; }

  json Delta(size_t choice, const v1::GenerateResponse& message) override {
    const bool is_first = !offsets_.contains(choice);
    const size_t prompt = choice / samples();
    size_t& offset = offsets_[choice];
    json delta = {{"text", message.text()}, {"logprobs", nullptr}};
    if (is_first && !echoes_.empty()) offset = CountCharacters(echoes_[prompt].text);
    if (logprobs_) {
      LogprobLists lists(&offset);
      for (const TokenLogprobs& token : TokensOf(message)) lists.Add(token, true, *logprobs_ > 0);
      delta["logprobs"] = lists.lists();
    }
    if (!echoes_.empty() && message.prompt_logprobs_size() > 0 && logprobs_) {
      echo_logprobs_[prompt] = EchoLogprobs(prompt, message);
    }
    if (stream_ && is_first && !echoes_.empty()) Prepend(prompt, &delta);
    const bool is_nothing = delta["text"].get_ref<const std::string&>().empty() &&
                            message.tokens().empty() && message.prompt_logprobs().empty();
    return is_nothing && !message.has_final() ? json() : delta;
  }

  void Merge(const json& delta, json* choice) const override {
    if (choice->is_null()) *choice = {{"text", ""}, {"logprobs", nullptr}};
    (*choice)["text"].get_ref<std::string&>() += delta["text"].get_ref<const std::string&>();
    if (!delta["logprobs"].is_null()) Append(delta["logprobs"], &(*choice)["logprobs"]);
  }

  void Complete(json* choice) const override {
    if (!echoes_.empty()) Prepend((*choice)["index"].get<size_t>() / samples(), choice);
  }

  json EchoLogprobs(size_t prompt, const v1::GenerateResponse& message) const {
    const std::vector<std::string>& texts = echoes_[prompt].tokens;
    const size_t end = CountCharacters(echoes_[prompt].text);
    size_t offset = 0;
    LogprobLists lists(&offset);
    for (size_t i = 0; i < texts.size(); ++i) {  // nothing is before the first token
      const bool known = i > 0 && i <= static_cast<size_t>(message.prompt_logprobs_size());
      TokenLogprobs token{.text = texts[i]};
      if (known) token = AtPosition(message.prompt_logprobs(static_cast<int>(i) - 1), texts[i]);
      // By themselves the parts of a character are more characters than it.
      token.characters = std::min(CountCharacters(texts[i]), end - offset);
      lists.Add(token, known, *logprobs_ > 0);
    }
    return lists.lists();
  }

  void Prepend(size_t prompt, json* choice) const {
    (*choice)["text"] = echoes_[prompt].text + (*choice)["text"].get_ref<const std::string&>();
    if (echo_logprobs_[prompt].is_null()) return;
    json lists = echo_logprobs_[prompt];
    if (!(*choice)["logprobs"].is_null()) Append((*choice)["logprobs"], &lists);
    (*choice)["logprobs"] = std::move(lists);
  }

  const std::optional<uint32_t> logprobs_;
  const bool stream_;
  const std::vector<PromptEcho> echoes_;
  std::vector<json> echo_logprobs_;   // by prompt, once they have come
  std::map<size_t, size_t> offsets_;  // of the next token, by choice
};

}  // namespace

std::unique_ptr<Answer> MakeCompletionAnswer(AnswerHead head, const CompletionTerms& terms,
                                             std::vector<PromptEcho> echoes) {
  return std::make_unique<CompletionAnswer>(std::move(head), terms, std::move(echoes));
}

}  // namespace recurve::gateway
