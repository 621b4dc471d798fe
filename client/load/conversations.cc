// SPDX-License-Identifier: Apache-2.0
#include "client/load/conversations.h"

#include <nlohmann/json.hpp>
#include <optional>

#include "absl/strings/str_cat.h"

namespace recurve::client {
namespace {

using Json = nlohmann::json;

const Json* Find(const Json& json, const char* name) {
  const auto found = json.find(name);  // the end for what is no object
  return found == json.end() ? nullptr : &*found;
}

// The turn's text, if it is of a role of that name. None if there is none, or it is empty.
std::optional<std::string> TextOf(const Json& turn, const char* role, const char* other_name) {
  const Json *from = Find(turn, "from"), *value = Find(turn, "value");
  if (from == nullptr || value == nullptr || !value->is_string()) return std::nullopt;
  if (*from != role && *from != other_name) return std::nullopt;
  auto text = value->get<std::string>();
  return text.empty() ? std::nullopt : std::make_optional(std::move(text));
}

}  // namespace

absl::StatusOr<std::vector<Exchange>> ParseShareGpt(const std::string& text) {
  const Json json = Json::parse(text, nullptr, /*allow_exceptions=*/false);
  if (!json.is_array()) return absl::InvalidArgumentError("it is no JSON array of conversations");
  std::vector<Exchange> exchanges;
  for (const Json& entry : json) {
    const Json* const turns = Find(entry, "conversations");
    if (turns == nullptr || !turns->is_array() || turns->size() < 2) continue;
    auto prompt = TextOf((*turns)[0], "human", "user");
    auto reply = TextOf((*turns)[1], "gpt", "assistant");
    if (prompt && reply) exchanges.push_back({*std::move(prompt), *std::move(reply)});
  }
  if (exchanges.empty()) {
    return absl::InvalidArgumentError(
        absl::StrCat("none of its ", json.size(),
                     " entries has `conversations` that begin with a turn from "
                     "human and one from gpt"));
  }
  return exchanges;
}

}  // namespace recurve::client
