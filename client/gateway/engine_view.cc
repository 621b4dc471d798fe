// SPDX-License-Identifier: Apache-2.0
#include "client/gateway/engine_view.h"

#include <google/protobuf/util/json_util.h>

#include <nlohmann/json.hpp>

#include "absl/strings/str_cat.h"

namespace recurve::gateway {
namespace {

using nlohmann::json;

// Messages come from gRPC, so their strings are UTF-8, and they have no types that JSON lacks.
std::string Print(const google::protobuf::Message& message) {
  google::protobuf::util::JsonPrintOptions options;
  options.always_print_primitive_fields = true;
  options.preserve_proto_field_names = true;
  std::string text;
  const auto status = google::protobuf::util::MessageToJsonString(message, &text, options);
  return status.ok() ? text : "null";
}

std::string Quote(const std::string& text) {
  return json(text).dump(-1, ' ', false, json::error_handler_t::replace);
}

}  // namespace

absl::StatusOr<std::string> EngineView(const ModelInfo& model,
                                       const std::vector<client::ServerLoad>& loads) {
  ModelInfo named = model;
  for (auto& one : *named.mutable_chat_templates()) one.clear_text();
  std::string text = absl::StrCat("{\"model\":", Print(named), ",\"servers\":[");
  absl::Status error = absl::UnavailableError("there is no server");
  bool some_answer = false;
  const char* comma = "";
  for (const auto& [server, load] : loads) {
    absl::StrAppend(&text, comma, "{\"name\":", Quote(server));
    comma = ",";
    if (load.ok()) {
      some_answer = true;
      absl::StrAppend(&text, ",\"load\":", Print(*load), "}");
    } else {
      error = load.status();
      absl::StrAppend(&text, ",\"error\":", Quote(std::string(error.message())), "}");
    }
  }
  if (!some_answer) return error;
  return text + "]}";
}

}  // namespace recurve::gateway
