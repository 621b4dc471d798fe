// SPDX-License-Identifier: Apache-2.0
#include "client/gateway/answer.h"

#include "client/gateway/extension.h"

namespace recurve::gateway {

using nlohmann::json;

namespace {

// "stop", "length", or null before the end.
json FinishReason(const v1::GenerateResponse& message) {
  if (!message.has_final()) return nullptr;
  switch (message.final().finish_reason()) {
    case v1::FINISH_REASON_END_OF_SEQUENCE:
    case v1::FINISH_REASON_STOP_STRING:
    case v1::FINISH_REASON_STOP_TOKEN:
      return "stop";
    default:
      return "length";
  }
}

std::string Print(const json& value) {
  return value.dump(-1, ' ', false, json::error_handler_t::replace);
}

}  // namespace

json Answer::Take(size_t prompt, const v1::GenerateResponse& message) {
  const size_t choice = prompt * samples_ + message.sample();
  if (message.has_usage()) usages_[choice] = message.usage();
  if (message.has_final() && message.sample() == 0) {
    cached_[prompt] = message.final().cached_tokens();
  }
  json delta = Delta(choice, message);
  if (delta.is_null()) return nullptr;
  delta["index"] = choice;
  delta["finish_reason"] = FinishReason(message);
  if (depths_) delta["recurve"] = ExtensionOf(message);
  return delta;
}

std::string Answer::Chunk(json choices, bool with_usage) const {
  json object = Object(/*is_chunk=*/true, std::move(choices));
  if (with_usage) object["usage"] = Usage();
  return Print(object);
}

void Answer::Add(const json& delta) {
  json& choice = whole_[delta["index"].get<size_t>()];
  Merge(delta, &choice);
  choice["index"] = delta["index"];
  choice["finish_reason"] = delta["finish_reason"];
  if (depths_) AppendExtension(delta["recurve"], &choice["recurve"]);
}

std::string Answer::Whole() const {
  json choices = json::array();
  for (const auto& [index, choice] : whole_) Complete(&choices.emplace_back(choice));
  json object = Object(/*is_chunk=*/false, std::move(choices));
  object["usage"] = Usage();
  return Print(object);
}

uint64_t Answer::prompt_tokens() const {
  uint64_t tokens = 0;
  for (auto usage = usages_.begin(); usage != usages_.end();) {
    tokens += usage->second.prompt_tokens();
    // Samples of one prompt share it.
    usage = usages_.lower_bound((usage->first / samples_ + 1) * samples_);
  }
  return tokens;
}

uint64_t Answer::generated_tokens() const {
  uint64_t tokens = 0;
  for (const auto& [choice, usage] : usages_) tokens += usage.generated_tokens();
  return tokens;
}

json Answer::Usage() const {
  uint64_t cached = 0;
  for (const auto& [prompt, tokens] : cached_) cached += tokens;
  return {{"prompt_tokens", prompt_tokens()},
          {"completion_tokens", generated_tokens()},
          {"total_tokens", prompt_tokens() + generated_tokens()},
          {"prompt_tokens_details", {{"cached_tokens", cached}}}};
}

json Answer::Object(bool is_chunk, json choices) const {
  return {{"id", head_.id},
          {"object", Object(is_chunk)},
          {"created", head_.created},
          {"model", head_.model},
          {"system_fingerprint", head_.fingerprint},
          {"choices", std::move(choices)}};
}

}  // namespace recurve::gateway
