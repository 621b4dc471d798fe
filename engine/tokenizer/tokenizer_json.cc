// SPDX-License-Identifier: Apache-2.0
#include "engine/tokenizer/tokenizer_json.h"

#include "absl/strings/str_cat.h"
#include "engine/tokenizer/tokenizer_config.h"

namespace recurve::tokenizer_json {

constexpr size_t kMaxPrinted = 2000;  // characters of a value in an error message

std::string Print(const Json& value) {
  std::string text = value.dump(-1, ' ', true, Json::error_handler_t::replace);
  if (text.size() > kMaxPrinted) text = absl::StrCat(text.substr(0, kMaxPrinted), "...");
  return text;
}

absl::Status Unexpected(const std::string& field, const std::string& found,
                        const std::string& expected) {
  return absl::InvalidArgumentError(
      absl::StrCat("tokenizer.json: ", field, " is ", found, ", expected ", expected));
}

absl::Status Unexpected(const std::string& field, const Json* found, const std::string& expected) {
  return Unexpected(field, found == nullptr ? "missing" : Print(*found), expected);
}

const Json* Find(const Json& object, const char* name) {
  const auto found = object.find(name);
  return found == object.end() ? nullptr : &*found;
}

std::string_view Type(const Json& component) {
  const Json* type = Find(component, "type");
  return type != nullptr && type->is_string()
             ? std::string_view(type->get_ref<const std::string&>())
             : std::string_view();
}

const Json& Unwrap(const Json& component, const char* list_name) {
  const Json* list = Type(component) == "Sequence" ? Find(component, list_name) : nullptr;
  return list != nullptr && list->is_array() && list->size() == 1 ? list->front() : component;
}

absl::StatusOr<bool> ReadBool(const Json& object, const char* name, const std::string& path,
                              std::optional<bool> absent) {
  const Json* value = Find(object, name);
  if (Absent(value) && absent.has_value()) return *absent;
  if (value == nullptr || !value->is_boolean()) {
    return Unexpected(absl::StrCat(path, ".", name), value, "true or false");
  }
  return value->get<bool>();
}

absl::StatusOr<TokenId> ReadId(const Json& value, const std::string& path) {
  if (!value.is_number_unsigned() || value.get<uint64_t>() > kMaxTokenId) {
    return Unexpected(path, &value, absl::StrCat("a token id from 0 to ", kMaxTokenId));
  }
  return static_cast<TokenId>(value.get<uint64_t>());
}

absl::StatusOr<std::string> ReadString(const Json& object, const char* name,
                                       const std::string& path) {
  const Json* value = Find(object, name);
  if (value == nullptr || !value->is_string()) {
    return Unexpected(absl::StrCat(path, ".", name), value, "a string");
  }
  return value->get<std::string>();
}

}  // namespace recurve::tokenizer_json
