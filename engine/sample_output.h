// SPDX-License-Identifier: Apache-2.0
// Turns what the schedule tells of one sample into the events of its sink: text, depths, log
// probabilities, and one end.
#ifndef RECURVE_ENGINE_SAMPLE_OUTPUT_H_
#define RECURVE_ENGINE_SAMPLE_OUTPUT_H_

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "engine/api/output.h"
#include "engine/api/request.h"
#include "engine/schedule/sample.h"
#include "engine/tokenizer/text_stream.h"
#include "engine/tokenizer/tokenizer.h"

namespace recurve {

// Of one sample. Tokens allocate nothing, unless more are held back than ever before.
// Thread-compatible: from the sample's acceptance on the engine's loop has it alone.
class SampleOutput final : public SampleObserver {
 public:
  // `tokenizer` may be null: then tokens have no text. `request` is read during the call alone.
  // INVALID_ARGUMENT for stop strings that cannot be matched.
  static absl::StatusOr<std::unique_ptr<SampleOutput>> Create(const Request& request,
                                                              uint32_t sample,
                                                              const Tokenizer* tokenizer,
                                                              std::shared_ptr<RequestSink> sink);

  // Calls `on_ended` at the end of OnEnded.
  void WhenEnded(std::function<void()> on_ended) { on_ended_ = std::move(on_ended); }

  void OnStarted() override { sink_->OnStarted(sample_); }
  void OnPrompt(const PromptOutput& prompt) override;
  bool OnToken(const TokenOutput& token) override;
  // Tells the sink of what is left but not of the end, which TellEnd does.
  void OnEnded(Ending ending) override;

  // The sink's OnFinished; once, after OnEnded.
  void TellEnd();

  // The sink hears nothing more, not even of the end.
  void Abandon();

 private:
  SampleOutput(const Request& request, uint32_t sample, std::shared_ptr<RequestSink> sink);

  // A token whose text is not certain.
  struct Held {
    TokenId id = 0;
    uint32_t depth = 0;
    PositionLogprobs logprobs;  // iff logprobs_
  };

  void SendPromptLogprobs();  // at most once
  void Hold(const TokenOutput& token);
  // Sends the held tokens that the stream released, with their texts.
  void Send(std::span<const TextStream::Released> released);
  // Sends the first tokens that are held, of which events_ holds the texts.
  void SendEvents();

  const uint32_t sample_;
  std::shared_ptr<RequestSink> sink_;
  std::function<void()> on_ended_;
  const std::vector<std::string> stop_strings_;
  const bool logprobs_;
  const bool prompt_logprobs_;
  const bool prompt_depths_;
  const bool cumulative_;

  std::optional<TextStream> text_;  // none without a tokenizer
  // The first held_count_ are held, oldest first; the memory of the others is kept for more.
  std::vector<Held> held_;
  size_t held_count_ = 0;
  int64_t first_held_ = 0;          // index of held_.front() among the generated tokens
  std::vector<TokenEvent> events_;  // being sent
  uint32_t generated_tokens_ = 0;
  std::vector<PositionLogprobs> prompt_logprobs_so_far_;
  bool prompt_logprobs_sent_ = false;
  std::vector<uint32_t> prompt_token_depths_;
  std::optional<uint32_t> stop_token_;
  double cumulative_logprob_ = 0.0;
  Finish finish_;  // from OnEnded on
};

}  // namespace recurve

#endif  // RECURVE_ENGINE_SAMPLE_OUTPUT_H_
