// SPDX-License-Identifier: Apache-2.0
#include "client/gateway/extension.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "client/gateway/api_error.h"
#include "client/gateway/json_values.h"
#include "client/gateway/token_logprobs.h"
#include "engine/base/quotable.h"
#include "engine/base/status_macros.h"

namespace recurve::gateway {

using nlohmann::json;

namespace {

absl::Status ReadMember(const std::string& key, const std::string& path, const json& value,
                        Terms* terms) {
  v1::RecursionParams* const recursion = terms->request.mutable_recursion();
  if (key == "depths") {
    ASSIGN_OR_RETURN(terms->depths, Boolean(path, value));
  } else if (key == "max_recursions") {
    ASSIGN_OR_RETURN(const uint32_t number, WholeNumber(path, value));
    recursion->set_max_recursions(number);
  } else if (key == "router_threshold") {
    ASSIGN_OR_RETURN(const double number, Number(path, value));
    recursion->set_router_threshold(static_cast<float>(number));
  } else if (key == "adaptive_min") {
    ASSIGN_OR_RETURN(const uint32_t number, WholeNumber(path, value));
    recursion->set_adaptive_min(number);
  } else {
    return ParamError(path, absl::StrCat(path, " is not known here"), "unknown_parameter");
  }
  return absl::OkStatus();
}

}  // namespace

absl::Status ReadExtension(const std::string& name, const json& value, Terms* terms) {
  if (!value.is_object()) return WrongValue(name, value, "an object");
  for (const auto& [key, member] : value.items()) {
    const std::string path = absl::StrCat(name, ".", Quotable(key));
    if (!member.is_null()) RETURN_IF_ERROR(ReadMember(key, path, member, terms));
  }
  return absl::OkStatus();
}

json ExtensionOf(const v1::GenerateResponse& message) {
  json tokens = json::array();
  size_t at = 0;
  for (const v1::Token& token : message.tokens()) {
    const size_t begin = std::min(at, message.text().size());
    at += token.text_bytes();
    json& one = tokens.emplace_back(json{{"id", token.id()},
                                         {"text", message.text().substr(begin, token.text_bytes())},
                                         {"depth", token.depth()}});
    if (token.has_logprobs()) one["logprob"] = FiniteLogprob(token.logprobs().logprob());
  }
  return {{"tokens", std::move(tokens)}};
}

void AppendExtension(const json& more, json* extension) {
  if (extension->is_null()) *extension = {{"tokens", json::array()}};
  const json& tokens = more["tokens"];
  json& all = (*extension)["tokens"];
  all.insert(all.end(), tokens.begin(), tokens.end());
}

}  // namespace recurve::gateway
