// SPDX-License-Identifier: Apache-2.0
#include "engine/model/json_fields.h"

#include <cmath>
#include <limits>
#include <string_view>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "engine/base/json_error.h"
#include "engine/base/parse_json.h"
#include "engine/base/status_macros.h"

namespace recurve {
namespace {

using Json = nlohmann::json;

constexpr int kMaxDepth = 32;
constexpr size_t kLongestValue = 80;

}  // namespace

absl::StatusOr<Json> ParseJsonObject(std::string_view text, absl::string_view what) {
  absl::StatusOr<Json> object = ParseJson(text, kMaxDepth);
  if (!object.ok()) {
    return absl::InvalidArgumentError(absl::StrCat(what, ": ", object.status().message()));
  }
  if (!object->is_object()) {
    return absl::InvalidArgumentError(
        absl::StrCat(what, ": not a JSON object: ", DescribeJsonError(text)));
  }
  return object;
}

std::string DescribeJson(const Json& value) {
  std::string text = value.dump(-1, ' ', /*ensure_ascii=*/true, Json::error_handler_t::replace);
  if (text.size() > kLongestValue) {
    text.resize(kLongestValue);
    text += "...";
  }
  return text;
}

const Json* JsonFields::Find(absl::string_view name) {
  read_.emplace(name);
  const auto member = object_.find(std::string(name));
  if (member == object_.end() || (null_is_absent_ && member->is_null())) return nullptr;
  return &*member;
}

absl::Status JsonFields::Require(absl::string_view name, absl::string_view expected) {
  return Find(name) != nullptr ? absl::OkStatus() : Unexpected(name, expected);
}

absl::Status JsonFields::ReadInteger(absl::string_view name, uint32_t least, uint32_t most,
                                     uint32_t* out) {
  const Json* value = Find(name);
  if (value == nullptr) return absl::OkStatus();
  if (!value->is_number_unsigned() || value->get<uint64_t>() < least ||
      value->get<uint64_t>() > most) {
    return Unexpected(name, absl::StrCat("an integer from ", least, " to ", most));
  }
  *out = value->get<uint32_t>();
  return absl::OkStatus();
}

absl::Status JsonFields::RequireInteger(absl::string_view name, uint32_t least, uint32_t most,
                                        uint32_t* out) {
  RETURN_IF_ERROR(Require(name, absl::StrCat("an integer from ", least, " to ", most)));
  return ReadInteger(name, least, most, out);
}

absl::Status JsonFields::ReadBool(absl::string_view name, bool* out) {
  const Json* value = Find(name);
  if (value == nullptr) return absl::OkStatus();
  if (!value->is_boolean()) return Unexpected(name, "true or false");
  *out = value->get<bool>();
  return absl::OkStatus();
}

absl::Status JsonFields::ReadPositive(absl::string_view name, float* out) {
  const Json* value = Find(name);
  if (value == nullptr) return absl::OkStatus();
  const double number = value->is_number() ? value->get<double>() : 0.0;
  constexpr double kLeast = std::numeric_limits<float>::min();
  constexpr double kMost = std::numeric_limits<float>::max();
  if (!(number >= kLeast && number <= kMost)) return Unexpected(name, "a number above 0");
  *out = static_cast<float>(number);
  return absl::OkStatus();
}

absl::Status JsonFields::ReadProbability(absl::string_view name, float* out) {
  const Json* value = Find(name);
  if (value == nullptr) return absl::OkStatus();
  const double number = value->is_number() ? value->get<double>() : -1.0;
  if (!(number >= 0.0 && number <= 1.0)) return Unexpected(name, "a number from 0 to 1");
  *out = static_cast<float>(number);
  return absl::OkStatus();
}

absl::Status JsonFields::Unexpected(absl::string_view name, absl::string_view expected) const {
  return absl::InvalidArgumentError(
      absl::StrCat(Name(name), " is ", Value(name), "; expected ", expected));
}

absl::Status JsonFields::Undefined(absl::string_view name, absl::string_view because) const {
  return absl::InvalidArgumentError(
      absl::StrCat(Name(name), " is ", Value(name), ", which is not defined ", because));
}

std::vector<std::string> JsonFields::Unread() const {
  std::vector<std::string> names;
  for (const auto& [name, value] : object_.items()) {
    if (read_.find(name) == read_.end()) names.push_back(name);
  }
  return names;
}

std::string JsonFields::OneOf(const std::vector<absl::string_view>& names) {
  return absl::StrCat(names.size() == 1 ? "" : "one of ", "\"", absl::StrJoin(names, "\", \""),
                      "\"");
}

std::string JsonFields::Name(absl::string_view name) const {
  return absl::StrCat(where_, prefix_, absl::CEscape(name));
}

std::string JsonFields::Value(absl::string_view name) const {
  const auto member = object_.find(std::string(name));
  return member == object_.end() ? "absent" : DescribeJson(*member);
}

}  // namespace recurve
