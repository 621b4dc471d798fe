// SPDX-License-Identifier: Apache-2.0
#include "client/gateway/answer_stream.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "client/gateway/api_error.h"

namespace recurve::gateway {

void AnswerStream::SendEvent(const std::string& data, std::function<void()> on_written) {
  if (!call_->has_begun()) call_->BeginEvents();
  call_->writer().Write(absl::StrCat("data: ", data, "\n\n"), std::move(on_written));
}

bool AnswerStream::OnMessage(size_t prompt, const v1::GenerateResponse& message,
                             client::MessageReader& reader) {
  if (message.final().finish_reason() == v1::FINISH_REASON_DRAINED) was_drained_ = true;
  nlohmann::json delta = answer_->Take(prompt, message);
  if (delta.is_null() || was_drained_) return true;
  if (!is_stream_) {
    answer_->Add(delta);
    return true;
  }
  SendEvent(answer_->Chunk(nlohmann::json::array({std::move(delta)}), usage_in_each_chunk_),
            [&reader] { reader.Done(); });
  return false;
}

void AnswerStream::OnEnd(const absl::Status& ended) {
  absl::Status status = WithParamNames(ended);
  if (status.ok() && was_drained_) {
    status = absl::UnavailableError("the server stopped before the text was finished; try again");
  }
  CallEnd& end = call_->end();
  end.prompt_tokens = answer_->prompt_tokens();
  end.generated_tokens = answer_->generated_tokens();
  if (!call_->has_begun() && !status.ok()) return call_->SendError(status);
  if (!is_stream_) return call_->SendJson(answer_->Whole());
  if (!status.ok()) {
    end.error = status;
    SendEvent(ErrorJson(status), nullptr);
  } else if (include_usage_) {
    SendEvent(answer_->UsageChunk(), nullptr);
  }
  SendEvent("[DONE]", nullptr);
  call_->writer().End();
}

}  // namespace recurve::gateway
