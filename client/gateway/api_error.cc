// SPDX-License-Identifier: Apache-2.0
#include "client/gateway/api_error.h"

#include <algorithm>
#include <map>
#include <nlohmann/json.hpp>
#include <optional>

#include "absl/strings/cord.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "client/client.h"

namespace recurve::gateway {
namespace {

constexpr char kParamPayload[] = "recurve/param";
constexpr char kCodePayload[] = "recurve/code";
constexpr char kLogPayload[] = "recurve/log";

// By the server's names for what a request can ask for.
const std::map<std::string, std::string, std::less<>>& ParamNames() {
  static const auto* const names = new std::map<std::string, std::string, std::less<>>{
      {"samples", "n"},
      {"stop_strings", "stop"},
      {"text", "prompt"},
      {"prompt", "prompt"},
      {"tokens", "prompt"},
      {"top_logprobs", "logprobs"},
      {"max_tokens", "max_tokens"},
      {"min_tokens", "min_tokens"},
      {"temperature", "temperature"},
      {"top_p", "top_p"},
      {"top_k", "top_k"},
      {"min_p", "min_p"},
      {"presence_penalty", "presence_penalty"},
      {"frequency_penalty", "frequency_penalty"},
      {"repetition_penalty", "repetition_penalty"},
      {"logit_bias", "logit_bias"},
      {"stop_token_ids", "stop_token_ids"},
      {"max_recursions", "recurve.max_recursions"},
      {"router_threshold", "recurve.router_threshold"},
      {"adaptive_min", "recurve.adaptive_min"}};
  return *names;
}

const char* TypeOf(int http_status) {
  switch (http_status) {
    case 400:
    case 404:
    case 405:
    case 413:
      return "invalid_request_error";
    case 401:
      return "authentication_error";
    case 403:
      return "permission_error";
    case 429:
      return "rate_limit_error";
    case 503:
      return "service_unavailable_error";
    default:
      return "server_error";
  }
}

nlohmann::json PayloadOrNull(const absl::Status& status, const char* name) {
  const auto payload = status.GetPayload(name);
  return payload ? nlohmann::json(std::string(*payload)) : nlohmann::json();
}

}  // namespace

absl::Status ParamError(const std::string& param, const std::string& message,
                        const std::string& code) {
  return WithParam(absl::InvalidArgumentError(message), param, code);
}

absl::Status WithParam(absl::Status status, const std::string& param, const std::string& code) {
  status.SetPayload(kParamPayload, absl::Cord(param));
  status.SetPayload(kCodePayload, absl::Cord(code));
  return status;
}

absl::Status WithParamNames(const absl::Status& status) {
  if (!absl::IsInvalidArgument(status) || status.GetPayload(kParamPayload)) return status;
  const std::string message(status.message());
  // "sampling.temperature is -5; ...", "stop_strings[3] is empty; ..."
  const size_t end = std::min(message.find_first_of(" ["), message.size());
  const std::string path = message.substr(0, end);
  const auto name = ParamNames().find(path.substr(path.rfind('.') + 1));
  if (name == ParamNames().end()) return status;
  return ParamError(name->second, absl::StrCat(name->second, message.substr(end)));
}

absl::Status WithLogText(absl::Status status, const std::string& text) {
  status.SetPayload(kLogPayload, absl::Cord(text));
  return status;
}

std::string LogTextOf(const absl::Status& status) {
  const auto text = status.GetPayload(kLogPayload);
  return text ? std::string(*text) : std::string(status.message());
}

int HttpStatusOf(const absl::Status& status) {
  switch (status.code()) {
    case absl::StatusCode::kInvalidArgument:
    case absl::StatusCode::kOutOfRange:
    case absl::StatusCode::kFailedPrecondition:
      return 400;
    case absl::StatusCode::kUnauthenticated:
      return 401;
    case absl::StatusCode::kPermissionDenied:
      return 403;
    case absl::StatusCode::kNotFound:
      return 404;
    case absl::StatusCode::kResourceExhausted:  // without a time to come again it was too large
      return status.GetPayload(client::kRetryPushbackPayload) ? 429 : 413;
    case absl::StatusCode::kCancelled:
      return 499;
    case absl::StatusCode::kUnimplemented:
      return 501;
    case absl::StatusCode::kUnavailable:
      return 503;
    case absl::StatusCode::kDeadlineExceeded:
      return 504;
    default:
      return 500;
  }
}

std::string ErrorJson(const absl::Status& status) {
  const nlohmann::json error = {{"message", std::string(status.message())},
                                {"type", TypeOf(HttpStatusOf(status))},
                                {"param", PayloadOrNull(status, kParamPayload)},
                                {"code", PayloadOrNull(status, kCodePayload)}};
  return nlohmann::json{{"error", error}}.dump(-1, ' ', false,
                                               nlohmann::json::error_handler_t::replace);
}

HttpResponse ErrorResponse(const absl::Status& status) {
  HttpResponse response{.status = HttpStatusOf(status),
                        .content_type = "application/json",
                        .body = ErrorJson(status)};
  const auto pushback = status.GetPayload(client::kRetryPushbackPayload);
  int64_t milliseconds = 0;
  if (pushback && absl::SimpleAtoi(std::string(*pushback), &milliseconds) && milliseconds >= 0) {
    const int64_t seconds = std::max<int64_t>(1, (milliseconds + 999) / 1000);
    response.headers = {{"Retry-After", absl::StrCat(seconds)},
                        {"Retry-After-Ms", absl::StrCat(milliseconds)}};
  }
  if (response.status == 401) response.headers.emplace_back("WWW-Authenticate", "Bearer");
  return response;
}

}  // namespace recurve::gateway
