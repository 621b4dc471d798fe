// SPDX-License-Identifier: Apache-2.0
#include "client/gateway/json_values.h"

#include <limits>
#include <utility>

#include "absl/strings/str_cat.h"
#include "client/gateway/api_error.h"
#include "engine/base/quotable.h"
#include "engine/base/status_macros.h"

namespace recurve::gateway {

using nlohmann::json;

absl::Status WrongValue(const std::string& name, const json& value, const std::string& expected) {
  std::string shown;
  if (value.is_structured()) {  // which may be large
    shown = value.is_array() ? "a list" : "an object";
  } else {
    shown = Quotable(value.dump(-1, ' ', false, json::error_handler_t::replace));
  }
  const std::string param = name.substr(0, name.find('['));
  absl::Status error = ParamError(
      param, absl::StrCat(name, " is ", shown, "; it must be ", expected), "invalid_type");
  if (!value.is_string()) return error;
  return WithLogText(std::move(error), absl::StrCat(name, " is a string; it must be ", expected));
}

absl::StatusOr<double> Number(const std::string& name, const json& value) {
  if (!value.is_number()) return WrongValue(name, value, "a number");
  return value.get<double>();
}

absl::StatusOr<uint32_t> WholeNumber(const std::string& name, const json& value) {
  constexpr uint64_t kMost = std::numeric_limits<uint32_t>::max();
  if (value.is_number_unsigned() && value.get<uint64_t>() <= kMost) return value.get<uint32_t>();
  return WrongValue(name, value, absl::StrCat("a whole number from 0 to ", kMost));
}

absl::StatusOr<bool> Boolean(const std::string& name, const json& value) {
  if (!value.is_boolean()) return WrongValue(name, value, "true or false");
  return value.get<bool>();
}

absl::StatusOr<std::string> Text(const std::string& name, const json& value) {
  if (!value.is_string()) return WrongValue(name, value, "a string");
  return value.get<std::string>();
}

absl::StatusOr<std::vector<uint32_t>> Ids(const std::string& name, const json& value) {
  if (!value.is_array()) return WrongValue(name, value, "a list of token ids");
  std::vector<uint32_t> ids;
  ids.reserve(value.size());
  for (size_t i = 0; i < value.size(); ++i) {
    ASSIGN_OR_RETURN(const uint32_t id, WholeNumber(absl::StrCat(name, "[", i, "]"), value[i]));
    ids.push_back(id);
  }
  return ids;
}

}  // namespace recurve::gateway
