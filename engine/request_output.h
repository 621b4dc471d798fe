// SPDX-License-Identifier: Apache-2.0
// Turns what the schedule tells of one request into the events of its sink: text, depths, log
// probabilities, and one end.
#ifndef RECURVE_ENGINE_REQUEST_OUTPUT_H_
#define RECURVE_ENGINE_REQUEST_OUTPUT_H_

#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "engine/api/output.h"
#include "engine/api/request.h"
#include "engine/schedule/request.h"
#include "engine/tokenizer/text_stream.h"
#include "engine/tokenizer/tokenizer.h"

namespace recurve {

// Not thread-safe: the schedule's caller serializes all calls.
class RequestOutput final : public RequestObserver {
 public:
  // `tokenizer` may be null: then tokens have no text. `request` is read during the call alone.
  // `on_ended` is called last, after the sink's OnFinished; it may destroy this object.
  // INVALID_ARGUMENT for stop strings that cannot be matched.
  static absl::StatusOr<std::unique_ptr<RequestOutput>> Create(const Request& request,
                                                               const Tokenizer* tokenizer,
                                                               std::shared_ptr<RequestSink> sink,
                                                               std::function<void()> on_ended);

  void OnPrompt(const PromptOutput& prompt) override;
  bool OnToken(const TokenOutput& token) override;
  void OnEnded(Ending ending) override;

 private:
  RequestOutput(const Request& request, std::shared_ptr<RequestSink> sink,
                std::function<void()> on_ended);

  void SendPromptLogprobs();  // at most once
  // Sends the held tokens that the stream released, with their texts.
  void Send(std::span<const TextStream::Released> released);
  void SendAllWithoutText();

  const std::shared_ptr<RequestSink> sink_;
  const std::function<void()> on_ended_;
  const std::vector<std::string> stop_strings_;
  const bool logprobs_;
  const bool prompt_logprobs_;
  const bool prompt_depths_;
  const bool cumulative_;

  std::optional<TextStream> text_;  // none without a tokenizer
  std::deque<TokenEvent> held_;     // tokens whose text is not certain, oldest first
  int64_t first_held_ = 0;          // index of held_.front() among the generated tokens
  uint32_t generated_tokens_ = 0;
  std::vector<PositionLogprobs> prompt_logprobs_so_far_;
  bool prompt_logprobs_sent_ = false;
  std::vector<uint32_t> prompt_token_depths_;
  std::optional<uint32_t> stop_token_;
  double cumulative_logprob_ = 0.0;
};

}  // namespace recurve

#endif  // RECURVE_ENGINE_REQUEST_OUTPUT_H_
