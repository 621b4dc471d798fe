// SPDX-License-Identifier: Apache-2.0
#include "client/load/recurve_target.h"

#include <chrono>
#include <utility>

namespace recurve::client {
namespace {

constexpr std::chrono::seconds kAskTimeout(5);  // a server that hangs takes nobody's report

}  // namespace

absl::StatusOr<TargetInfo> RecurveTarget::Describe() {
  const auto info = client_.GetModelInfo(call_);
  if (!info.ok()) return info.status();
  if (info->vocab_size() == 0) {
    return absl::InternalError("the server tells a vocabulary of no tokens");
  }
  return TargetInfo{info->model_name(), info->vocab_size(), info->max_context(),
                    info->num_recursions()};
}

std::unique_ptr<Stream> RecurveTarget::Start(const v1::GenerateRequest& request,
                                             const CallOptions& call, OnMessage on_message,
                                             OnEnd on_end) {
  return client_.StartGenerate(
      request, call,
      [on_message = std::move(on_message)](const v1::GenerateResponse& message,
                                           MessageReader& reader) {
        return on_message(HeardOf(message), reader);
      },
      std::move(on_end));
}

absl::StatusOr<uint32_t> RecurveTarget::CountTokens(const std::string& text, bool add_special) {
  v1::TokenizeRequest request;
  request.set_text(text);
  request.set_add_special_tokens(add_special);
  const auto response = client_.Tokenize(request, call_);
  if (!response.ok()) return response.status();
  return static_cast<uint32_t>(response->ids_size());
}

std::optional<v1::GetLoadResponse> RecurveTarget::AskLoad() {
  if (!is_one_server_) return std::nullopt;
  CallOptions call = call_;
  call.timeout = kAskTimeout;
  auto load = client_.GetLoad(call);
  return load.ok() ? std::make_optional(*std::move(load)) : std::nullopt;
}

Heard HeardOf(const v1::GenerateResponse& message) {
  Heard heard;
  heard.tokens = static_cast<uint32_t>(message.tokens_size());
  heard.prompt_tokens = message.usage().prompt_tokens();
  heard.generated_tokens = message.usage().generated_tokens();
  if (!message.has_final()) return heard;
  heard.cached_tokens = message.final().cached_tokens();
  heard.drained = message.final().finish_reason() == v1::FINISH_REASON_DRAINED;
  if (*heard.generated_tokens > 0) {
    heard.mean_depth = message.final().generated_depth().mean_depth();
    heard.generated_rows = *heard.generated_tokens - 1;  // the last token never becomes a row
  }
  return heard;
}

}  // namespace recurve::client
