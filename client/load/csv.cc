// SPDX-License-Identifier: Apache-2.0
#include "client/load/csv.h"

#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"

namespace recurve::client {

std::string CsvCell(const nlohmann::ordered_json& value) {
  if (value.is_null()) return "";
  if (!value.is_string()) return value.dump();
  const auto& text = value.get_ref<const std::string&>();
  if (text.find_first_of(",\"\r\n") == std::string::npos) return text;
  return absl::StrCat("\"", absl::StrReplaceAll(text, {{"\"", "\"\""}}), "\"");
}

}  // namespace recurve::client
