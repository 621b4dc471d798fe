// SPDX-License-Identifier: Apache-2.0
#include "client/load/openai_messages.h"

#include "absl/strings/cord.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "client/client.h"
#include "client/load/sampling_json.h"

namespace recurve::client {
namespace {

using nlohmann::json;

constexpr int kMostLevels = 32;
constexpr size_t kMostShown = 200;          // bytes of a body that is no JSON
constexpr uint64_t kMostRetryAfter = 3600;  // seconds; longer ones are no pushback

// A server's JSON, without what lies deeper than kMostLevels; "discarded" where it is none.
json Parse(const std::string& text) {
  return json::parse(
      text,
      [](int depth, json::parse_event_t /*event*/, const json& /*value*/) {
        return depth < kMostLevels;
      },
      /*allow_exceptions=*/false);
}

// The member, or null.
const json& Member(const json& object, const char* name) {
  static const json* const null = new json();
  const auto found = object.is_object() ? object.find(name) : object.end();
  return found != object.end() ? *found : *null;
}

const json& First(const json& list) {
  return list.is_array() && !list.empty() ? list.front() : Member(list, "");
}

std::optional<uint64_t> Count(const json& object, const char* name) {
  const json& value = Member(object, name);
  return value.is_number_unsigned() ? std::make_optional(value.get<uint64_t>()) : std::nullopt;
}

// As OpenAI's API, FastAPI and others say what went wrong; empty if they do not.
std::string ErrorMessage(const json& body) {
  for (const json* place : {&Member(body, "error"), &body}) {
    if (place->is_string()) return place->get<std::string>();
    for (const char* name : {"message", "detail"}) {
      const json& message = Member(*place, name);
      if (message.is_string()) return message.get<std::string>();
      if (!message.is_null()) return message.dump(-1, ' ', false, json::error_handler_t::replace);
    }
  }
  return "";
}

absl::StatusCode CodeOf(int http) {
  switch (http) {
    case 401:
      return absl::StatusCode::kUnauthenticated;
    case 403:
      return absl::StatusCode::kPermissionDenied;
    case 404:
      return absl::StatusCode::kNotFound;
    case 408:
    case 504:
      return absl::StatusCode::kDeadlineExceeded;
    case 429:
      return absl::StatusCode::kResourceExhausted;
    case 501:
      return absl::StatusCode::kUnimplemented;
    case 502:
    case 503:
      return absl::StatusCode::kUnavailable;
    default:
      if (http >= 400 && http < 500) return absl::StatusCode::kInvalidArgument;
      return http >= 500 ? absl::StatusCode::kInternal : absl::StatusCode::kUnknown;
  }
}

}  // namespace

std::string CompletionBody(const v1::GenerateRequest& request, const std::string& model,
                           const json& extra) {
  json body = SamplingJson(request);
  body["model"] = model;
  body["stream"] = true;
  body["stream_options"] = {{"include_usage", true}, {"continuous_usage_stats", true}};
  if (request.has_tokens()) {
    body["prompt"] = request.tokens().ids();
  } else {
    body["prompt"] = request.text();
  }
  body.merge_patch(extra);
  return body.dump(-1, ' ', false, json::error_handler_t::replace);
}

absl::StatusOr<CompletionChunk> ParseChunk(const std::string& data) {
  CompletionChunk chunk;
  if (data == "[DONE]") {
    chunk.is_last = true;
    return chunk;
  }
  const json body = Parse(data);
  if (!body.is_object()) {
    return absl::InvalidArgumentError("an event of the stream is not a JSON object");
  }
  if (!Member(body, "error").is_null()) return absl::InternalError(ErrorMessage(body));
  const json& choice = First(Member(body, "choices"));
  const json& text = Member(choice, "text");
  chunk.has_choice = choice.is_object();
  chunk.has_text = text.is_string() && !text.get_ref<const std::string&>().empty();
  const json& usage = Member(body, "usage");
  chunk.prompt_tokens = Count(usage, "prompt_tokens");
  chunk.generated_tokens = Count(usage, "completion_tokens");
  chunk.cached_tokens = Count(Member(usage, "prompt_tokens_details"), "cached_tokens");
  return chunk;
}

absl::StatusOr<std::string> FirstModel(const std::string& body) {
  const json models = Parse(body);
  const json& id = Member(First(Member(models, "data")), "id");
  if (id.is_string()) return id.get<std::string>();
  return absl::InvalidArgumentError("the answer of /v1/models names no model: give --model");
}

absl::Status StatusOfAnswer(int code, const std::string& retry_after, const std::string& body) {
  std::string message = ErrorMessage(Parse(body));
  if (message.empty()) message = body.substr(0, kMostShown);
  absl::Status status(CodeOf(code), absl::StrCat("HTTP ", code, ": ", message));
  uint64_t seconds = 0;
  if (absl::SimpleAtoi(retry_after, &seconds) && seconds <= kMostRetryAfter) {
    status.SetPayload(kRetryPushbackPayload, absl::Cord(absl::StrCat(seconds * 1000)));
  }
  return status;
}

}  // namespace recurve::client
