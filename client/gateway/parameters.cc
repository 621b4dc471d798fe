// SPDX-License-Identifier: Apache-2.0
#include "client/gateway/parameters.h"

#include <functional>
#include <initializer_list>
#include <map>
#include <utility>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "client/gateway/api_error.h"
#include "client/gateway/extension.h"
#include "client/gateway/json_values.h"
#include "engine/base/json_error.h"
#include "engine/base/parse_json.h"
#include "engine/base/quotable.h"
#include "engine/base/status_macros.h"

namespace recurve::gateway {
namespace {

using nlohmann::json;

constexpr int kMostLevels = 16;             // messages have parts, which have members
constexpr uint32_t kDefaultMaxTokens = 16;  // of a completion; a chat's are the server's
constexpr float kDefaultTemperature = 1;

// Reads the parameter `name`.
template <typename T>
using Reader = std::function<absl::Status(const std::string& name, const json& value, T* terms)>;
template <typename T>
using Readers = std::map<std::string, Reader<T>, std::less<>>;

// Parameters of OpenAI and of others for which there is nothing here, each with the value by which
// nothing is asked for; routers write out what their clients left out.
const std::map<std::string, json, std::less<>>& NotImplemented() {
  static const auto* const values =
      new std::map<std::string, json, std::less<>>{{"audio", nullptr},
                                                   {"best_of", 1},
                                                   {"continue_final_message", false},
                                                   {"function_call", "none"},
                                                   {"functions", json::array()},
                                                   {"include_reasoning", true},
                                                   {"metadata", nullptr},
                                                   {"modalities", json::array({"text"})},
                                                   {"no_stop_trim", false},
                                                   {"parallel_tool_calls", nullptr},
                                                   {"prediction", nullptr},
                                                   {"prompt_cache_key", nullptr},
                                                   {"reasoning_effort", nullptr},
                                                   {"response_format", {{"type", "text"}}},
                                                   {"return_hidden_states", false},
                                                   {"safety_identifier", nullptr},
                                                   {"separate_reasoning", true},
                                                   {"service_tier", nullptr},
                                                   {"store", false},
                                                   {"stream_reasoning", true},
                                                   {"suffix", nullptr},
                                                   {"tool_choice", "none"},
                                                   {"tools", json::array()},
                                                   {"verbosity", nullptr},
                                                   {"web_search_options", nullptr}};
  return *values;
}

absl::StatusOr<json> ParseObject(const std::string& body) {
  absl::StatusOr<json> object = ParseJson(body, kMostLevels);
  if (!object.ok()) {
    return absl::InvalidArgumentError(
        absl::StrCat("the request's body: ", object.status().message()));
  }
  if (object->is_object()) return object;
  const std::string what = "the request's body is not a JSON object";
  return WithLogText(absl::InvalidArgumentError(absl::StrCat(what, ": ", DescribeJsonError(body))),
                     what);
}

// Of each member the reader; null is as good as left out. `accept` lists what may be asked for.
template <typename T>
absl::Status ReadMembers(const json& object, std::initializer_list<const Readers<T>*> accept,
                         T* terms) {
  for (const auto& [name, value] : object.items()) {
    const Reader<T>* reader = nullptr;
    for (const Readers<T>* readers : accept) {
      const auto found = readers->find(name);
      if (found != readers->end()) reader = &found->second;
    }
    const auto missing = NotImplemented().find(name);
    if (reader == nullptr && missing != NotImplemented().end()) {
      if (value.is_null() || value == missing->second) continue;
      return ParamError(name, absl::StrCat(name, " is not implemented here; leave it out"),
                        "unsupported_parameter");
    }
    if (reader == nullptr) {
      return ParamError(Quotable(name), absl::StrCat(Quotable(name), " is not known here"),
                        "unknown_parameter");
    }
    if (!value.is_null()) RETURN_IF_ERROR((*reader)(name, value, terms));
  }
  return absl::OkStatus();
}

// ---- Of both ways to generate ----

using Sampling = v1::SamplingParams;
using Stop = v1::StopParams;

template <typename T>
Reader<T> Float(void (Sampling::*set)(float)) {
  return [set](const std::string& name, const json& value, T* terms) -> absl::Status {
    ASSIGN_OR_RETURN(const double number, Number(name, value));
    (terms->request.mutable_sampling()->*set)(static_cast<float>(number));
    return absl::OkStatus();
  };
}

template <typename T>
Reader<T> Count(const std::function<void(uint32_t, T*)>& set) {
  return [set](const std::string& name, const json& value, T* terms) -> absl::Status {
    ASSIGN_OR_RETURN(const uint32_t number, WholeNumber(name, value));
    set(number, terms);
    return absl::OkStatus();
  };
}

template <typename T>
Reader<T> Flag(const std::function<void(bool, T*)>& set) {
  return [set](const std::string& name, const json& value, T* terms) -> absl::Status {
    ASSIGN_OR_RETURN(const bool flag, Boolean(name, value));
    set(flag, terms);
    return absl::OkStatus();
  };
}

template <typename T>
Reader<T> String(std::string T::*member) {
  return [member](const std::string& name, const json& value, T* terms) -> absl::Status {
    ASSIGN_OR_RETURN(terms->*member, Text(name, value));
    return absl::OkStatus();
  };
}

absl::Status ReadSeed(const std::string& name, const json& value, Terms* terms) {
  if (!value.is_number_integer()) return WrongValue(name, value, "a whole number");
  const uint64_t seed = value.is_number_unsigned() ? value.get<uint64_t>()
                                                   : static_cast<uint64_t>(value.get<int64_t>());
  terms->request.mutable_sampling()->set_seed(seed);
  return absl::OkStatus();
}

// A string or a list of them.
absl::Status ReadStop(const std::string& name, const json& value, Terms* terms) {
  const json list = value.is_string() ? json::array({value}) : value;
  if (!list.is_array()) return WrongValue(name, value, "a string or a list of strings");
  for (size_t i = 0; i < list.size(); ++i) {
    ASSIGN_OR_RETURN(std::string text, Text(absl::StrCat(name, "[", i, "]"), list[i]));
    terms->request.mutable_stop()->add_stop_strings(std::move(text));
  }
  return absl::OkStatus();
}

absl::Status ReadStopIds(const std::string& name, const json& value, Terms* terms) {
  ASSIGN_OR_RETURN(const TokenIds ids, Ids(name, value));
  terms->request.mutable_stop()->mutable_stop_token_ids()->Assign(ids.begin(), ids.end());
  return absl::OkStatus();
}

absl::Status ReadBiases(const std::string& name, const json& value, Terms* terms) {
  if (!value.is_object()) return WrongValue(name, value, "an object of token ids and biases");
  for (const auto& [key, bias] : value.items()) {
    uint32_t id = 0;
    if (!absl::SimpleAtoi(key, &id)) return WrongValue(name, json(key), "token ids and biases");
    ASSIGN_OR_RETURN(const double number, Number(absl::StrCat(name, "[", id, "]"), bias));
    (*terms->request.mutable_sampling()->mutable_logit_bias())[id] = static_cast<float>(number);
  }
  return absl::OkStatus();
}

// vLLM's -1 is "all tokens", which is our 0.
absl::Status ReadTopK(const std::string& name, const json& value, Terms* terms) {
  if (value.is_number_integer() && value.get<int64_t>() == -1) return absl::OkStatus();
  ASSIGN_OR_RETURN(const uint32_t number, WholeNumber(name, value));
  terms->request.mutable_sampling()->set_top_k(number);
  return absl::OkStatus();
}

absl::Status ReadStreamOptions(const std::string& name, const json& value, Terms* terms) {
  if (!value.is_object()) return WrongValue(name, value, "an object");
  for (const auto& [key, option] : value.items()) {
    const std::string path = absl::StrCat(name, ".", Quotable(key));
    const bool is_usage = key == "include_usage";
    if (!is_usage && key != "continuous_usage_stats") {
      return ParamError(path, absl::StrCat(path, " is not known here"), "unknown_parameter");
    }
    if (option.is_null()) continue;
    ASSIGN_OR_RETURN(const bool wanted, Boolean(path, option));
    (is_usage ? terms->include_usage : terms->usage_in_each_chunk) = wanted;
  }
  return absl::OkStatus();
}

// For T, which is a Terms. Beside OpenAI's own those of vLLM that evaluation harnesses and load
// tools send.
template <typename T>
const Readers<T>& CommonReaders() {
  static const auto* const readers = new Readers<T>{
      {"model", String<T>(&T::model)},
      {"user", String<T>(&T::user)},
      {"temperature", Float<T>(&Sampling::set_temperature)},
      {"top_p", Float<T>(&Sampling::set_top_p)},
      {"min_p", Float<T>(&Sampling::set_min_p)},
      {"presence_penalty", Float<T>(&Sampling::set_presence_penalty)},
      {"frequency_penalty", Float<T>(&Sampling::set_frequency_penalty)},
      {"repetition_penalty", Float<T>(&Sampling::set_repetition_penalty)},
      {"top_k", ReadTopK},
      {"seed", ReadSeed},
      {"stop", ReadStop},
      {"stop_token_ids", ReadStopIds},
      {"logit_bias", ReadBiases},
      {"stream_options", ReadStreamOptions},
      {"recurve", ReadExtension},
      {"n", Count<T>([](uint32_t n, T* terms) { terms->request.set_samples(n); })},
      {"max_tokens",
       Count<T>([](uint32_t n, T* terms) { terms->request.mutable_stop()->set_max_tokens(n); })},
      {"min_tokens",
       Count<T>([](uint32_t n, T* terms) { terms->request.mutable_stop()->set_min_tokens(n); })},
      {"ignore_eos",
       Flag<T>([](bool yes, T* terms) { terms->request.mutable_stop()->set_ignore_eos(yes); })},
      {"skip_special_tokens", Flag<T>([](bool yes, T* terms) {
         terms->request.mutable_output()->set_skip_special_tokens(yes);
       })},
      {"include_stop_str_in_output", Flag<T>([](bool yes, T* terms) {
         terms->request.mutable_stop()->set_include_stop_string(yes);
       })},
      {"stream", Flag<T>([](bool yes, T* terms) { terms->stream = yes; })}};
  return *readers;
}

absl::Status CheckTerms(const Terms& terms) {
  if ((terms.include_usage || terms.usage_in_each_chunk) && !terms.stream) {
    return ParamError("stream_options", "stream_options is for streams; set stream to true");
  }
  return absl::OkStatus();
}

// ---- Completions ----

// A text, a list of texts, a list of ids or a list of lists of ids.
absl::Status ReadPrompt(const std::string& name, const json& value, CompletionTerms* terms) {
  if (value.is_string()) {
    terms->prompts.emplace_back(value.get<std::string>());
    return absl::OkStatus();
  }
  if (!value.is_array() || value.empty()) {
    return WrongValue(name, value, "a string, a list of strings, or token ids");
  }
  if (value[0].is_number()) {
    ASSIGN_OR_RETURN(terms->prompts.emplace_back(), Ids(name, value));
    return absl::OkStatus();
  }
  for (size_t i = 0; i < value.size(); ++i) {
    const std::string path = absl::StrCat(name, "[", i, "]");
    if (value[0].is_string()) {
      ASSIGN_OR_RETURN(terms->prompts.emplace_back(), Text(path, value[i]));
    } else {
      ASSIGN_OR_RETURN(terms->prompts.emplace_back(), Ids(path, value[i]));
    }
  }
  return absl::OkStatus();
}

const Readers<CompletionTerms>& CompletionReaders() {
  using T = CompletionTerms;
  static const auto* const readers = new Readers<T>{
      {"prompt", ReadPrompt},
      {"echo", Flag<T>([](bool yes, T* terms) { terms->echo = yes; })},
      {"logprobs", Count<T>([](uint32_t n, T* terms) { terms->logprobs = n; })},
      {"add_special_tokens",
       Flag<T>([](bool yes, T* terms) { terms->request.set_add_special_tokens(yes); })}};
  return *readers;
}

absl::Status CheckCompletion(const CompletionTerms& terms) {
  RETURN_IF_ERROR(CheckTerms(terms));
  if (terms.prompts.empty()) return ParamError("prompt", "prompt is missing", "missing_parameter");
  if (terms.stream && terms.echo && terms.logprobs && terms.request.samples() > 1) {
    return ParamError("n", absl::StrCat("n is ", terms.request.samples(),
                                        "; a stream with echo and logprobs has one sample"));
  }
  return absl::OkStatus();
}

// ---- Chat ----

// A message's parts as the one text that templates expect; parts of other kinds are not for models
// of text.
absl::StatusOr<json> JoinParts(const std::string& name, const json& content) {
  if (content.is_string() || content.is_null()) return content;
  if (!content.is_array()) return WrongValue(name, content, "a string or a list of parts");
  std::string text;
  for (size_t i = 0; i < content.size(); ++i) {
    const std::string path = absl::StrCat(name, "[", i, "]");
    const json& part = content[i];
    if (!part.is_object()) return WrongValue(path, part, "an object");
    if (part.value("type", json()) != "text") {
      return ParamError("messages",
                        absl::StrCat(path,
                                     " has another type than text, which is all "
                                     "that is implemented"),
                        "unsupported_parameter");
    }
    ASSIGN_OR_RETURN(const std::string one,
                     Text(absl::StrCat(path, ".text"), part.value("text", json())));
    absl::StrAppend(&text, i == 0 ? "" : "\n", one);
  }
  return json(text);
}

absl::StatusOr<json> ReadMessages(const std::string& name, const json& value) {
  if (!value.is_array() || value.empty()) {
    return WrongValue(name, value, "a list of messages, with one at least");
  }
  json messages = value;
  for (size_t i = 0; i < messages.size(); ++i) {
    const std::string path = absl::StrCat(name, "[", i, "]");
    json& message = messages[i];
    if (!message.is_object()) return WrongValue(path, message, "an object");
    RETURN_IF_ERROR(Text(absl::StrCat(path, ".role"), message.value("role", json())).status());
    if (message.contains("content")) {
      ASSIGN_OR_RETURN(message["content"],
                       JoinParts(absl::StrCat(path, ".content"), message["content"]));
    }
  }
  return messages;
}

const Readers<ChatTerms>& ChatReaders() {
  using T = ChatTerms;
  static const auto* const readers = new Readers<T>{
      {"messages",
       [](const std::string& name, const json& value, T* terms) -> absl::Status {
         ASSIGN_OR_RETURN(terms->messages, ReadMessages(name, value));
         return absl::OkStatus();
       }},
      {"max_completion_tokens",
       Count<T>([](uint32_t n, T* terms) { terms->request.mutable_stop()->set_max_tokens(n); })},
      {"add_generation_prompt",
       Flag<T>([](bool yes, T* terms) { terms->add_generation_prompt = yes; })},
      {"logprobs", Flag<T>([](bool yes, T* terms) { terms->logprobs = yes; })},
      {"top_logprobs", Count<T>([](uint32_t n, T* terms) {
         terms->request.mutable_output()->set_top_logprobs(n);
       })}};
  return *readers;
}

absl::Status CheckChat(const ChatTerms& terms, const json& object) {
  RETURN_IF_ERROR(CheckTerms(terms));
  if (terms.messages.is_null()) {
    return ParamError("messages", "messages is missing", "missing_parameter");
  }
  if (terms.request.output().has_top_logprobs() && !terms.logprobs) {
    return ParamError("top_logprobs", "top_logprobs needs logprobs to be true");
  }
  const json none;
  if (!object.value("max_tokens", none).is_null() &&
      !object.value("max_completion_tokens", none).is_null()) {
    return ParamError("max_tokens", "max_tokens and max_completion_tokens are one; give one");
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<CompletionTerms> ParseCompletion(const std::string& body) {
  ASSIGN_OR_RETURN(const json object, ParseObject(body));
  CompletionTerms terms;
  terms.request.mutable_sampling()->set_temperature(kDefaultTemperature);
  terms.request.mutable_stop()->set_max_tokens(kDefaultMaxTokens);
  RETURN_IF_ERROR(
      ReadMembers(object, {&CommonReaders<CompletionTerms>(), &CompletionReaders()}, &terms));
  RETURN_IF_ERROR(CheckCompletion(terms));
  if (terms.logprobs) {
    terms.request.mutable_output()->set_logprobs(true);
    terms.request.mutable_output()->set_top_logprobs(*terms.logprobs);
  }
  return terms;
}

absl::StatusOr<ChatTerms> ParseChat(const std::string& body) {
  ASSIGN_OR_RETURN(const json object, ParseObject(body));
  ChatTerms terms;
  terms.request.mutable_sampling()->set_temperature(kDefaultTemperature);
  RETURN_IF_ERROR(ReadMembers(object, {&CommonReaders<ChatTerms>(), &ChatReaders()}, &terms));
  RETURN_IF_ERROR(CheckChat(terms, object));
  // The template has written the special tokens.
  terms.request.set_add_special_tokens(false);
  if (terms.logprobs) terms.request.mutable_output()->set_logprobs(true);
  return terms;
}

absl::StatusOr<TokenizeTerms> ParseTokenize(const std::string& body) {
  using T = TokenizeTerms;
  static const auto* const readers = new Readers<T>{
      {"model", String<T>(&T::model)},
      {"prompt",
       [](const std::string& name, const json& value, T* terms) -> absl::Status {
         ASSIGN_OR_RETURN(terms->prompt, Text(name, value));
         return absl::OkStatus();
       }},
      {"messages",
       [](const std::string& name, const json& value, T* terms) -> absl::Status {
         ASSIGN_OR_RETURN(terms->messages, ReadMessages(name, value));
         return absl::OkStatus();
       }},
      {"add_generation_prompt",
       Flag<T>([](bool yes, T* terms) { terms->add_generation_prompt = yes; })},
      {"add_special_tokens", Flag<T>([](bool yes, T* terms) { terms->add_special_tokens = yes; })},
      {"return_token_strs", Flag<T>([](bool yes, T* terms) { terms->return_token_strs = yes; })}};
  ASSIGN_OR_RETURN(const json object, ParseObject(body));
  TokenizeTerms terms;
  RETURN_IF_ERROR(ReadMembers(object, {readers}, &terms));
  if (terms.prompt.has_value() == terms.messages.has_value()) {
    return ParamError("prompt", "either prompt or messages must be there", "missing_parameter");
  }
  return terms;
}

absl::StatusOr<DetokenizeTerms> ParseDetokenize(const std::string& body) {
  using T = DetokenizeTerms;
  static const auto* const readers = new Readers<T>{
      {"model", String<T>(&T::model)},
      {"tokens", [](const std::string& name, const json& value, T* terms) -> absl::Status {
         ASSIGN_OR_RETURN(terms->tokens, Ids(name, value));
         return absl::OkStatus();
       }}};
  ASSIGN_OR_RETURN(const json object, ParseObject(body));
  DetokenizeTerms terms;
  RETURN_IF_ERROR(ReadMembers(object, {readers}, &terms));
  if (object.value("tokens", json()).is_null()) {
    return ParamError("tokens", "tokens is missing", "missing_parameter");
  }
  return terms;
}

}  // namespace recurve::gateway
