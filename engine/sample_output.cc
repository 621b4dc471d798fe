// SPDX-License-Identifier: Apache-2.0
#include "engine/sample_output.h"

#include <algorithm>
#include <utility>

#include "engine/base/check.h"
#include "engine/base/status_macros.h"

namespace recurve {
namespace {

// The entries of one position: the token that stands there, then the most likely ones.
PositionLogprobs ToPosition(std::span<const TokenLogprob> entries) {
  PositionLogprobs position;
  if (entries.empty()) return position;
  position.logprob = entries.front().value;
  for (const TokenLogprob& entry : entries.subspan(1)) {
    position.top.push_back({entry.id, entry.value});
  }
  return position;
}

class DeafSink final : public RequestSink {
 public:
  void OnPromptLogprobs(uint32_t /*sample*/, std::vector<PositionLogprobs> /*told*/) override {}
  void OnTokens(uint32_t /*sample*/, std::vector<TokenEvent> /*told*/,
                uint32_t /*generated_tokens*/) override {}
  void OnFinished(uint32_t /*sample*/, Finish /*finish*/) override {}
};

}  // namespace

absl::StatusOr<std::unique_ptr<SampleOutput>> SampleOutput::Create(
    const Request& request, uint32_t sample, const Tokenizer* tokenizer,
    std::shared_ptr<RequestSink> sink) {
  std::unique_ptr<SampleOutput> output(new SampleOutput(request, sample, std::move(sink)));
  if (tokenizer != nullptr) {
    TextStreamOptions options;
    options.skip_special_tokens = request.skip_special_tokens;
    options.stop = request.stop_strings;
    options.include_stop = request.include_stop_string;
    // min_tokens counts the tokens of an earlier stream, this stream's tokens do not.
    const uint32_t missing =
        request.min_tokens - std::min(request.min_tokens, request.generated_prefix);
    options.first_stop_token = missing == 0 ? 0 : int64_t{missing} - 1;
    ASSIGN_OR_RETURN(TextStream text, TextStream::Create(tokenizer, options));
    output->text_.emplace(std::move(text));
  }
  return output;
}

SampleOutput::SampleOutput(const Request& request, uint32_t sample,
                           std::shared_ptr<RequestSink> sink)
    : sample_(sample),
      sink_(std::move(sink)),
      stop_strings_(request.stop_strings),
      logprobs_(request.logprobs || request.top_logprobs > 0),
      prompt_logprobs_(request.prompt_logprobs && sample == 0),
      prompt_depths_(request.prompt_depths),
      cumulative_(request.cumulative_logprob) {}

void SampleOutput::OnPrompt(const PromptOutput& prompt) {
  if (prompt_depths_) {
    prompt_token_depths_.insert(prompt_token_depths_.end(), prompt.depths.begin(),
                                prompt.depths.end());
  }
  if (!prompt_logprobs_) return;
  for (size_t begin = 0; begin < prompt.logprobs.size();) {
    size_t end = begin + 1;
    while (end < prompt.logprobs.size() &&
           prompt.logprobs[end].position == prompt.logprobs[begin].position) {
      ++end;
    }
    prompt_logprobs_so_far_.push_back(ToPosition(prompt.logprobs.subspan(begin, end - begin)));
    begin = end;
  }
}

void SampleOutput::SendPromptLogprobs() {
  if (!prompt_logprobs_ || prompt_logprobs_sent_) return;
  prompt_logprobs_sent_ = true;
  sink_->OnPromptLogprobs(sample_, std::move(prompt_logprobs_so_far_));
}

bool SampleOutput::OnToken(const TokenOutput& token) {
  SendPromptLogprobs();
  ++generated_tokens_;
  if (token.stop_id) stop_token_ = token.token;
  if (cumulative_) cumulative_logprob_ += token.logprobs.front().value;
  TokenEvent& event = held_.emplace_back();
  event.id = token.token;
  event.depth = token.depth;
  if (logprobs_) event.logprobs = ToPosition(token.logprobs);
  if (!text_) {
    SendAllWithoutText();
    return false;
  }
  Send(text_->Push(token.token));
  return text_->stopped();
}

void SampleOutput::Send(std::span<const TextStream::Released> released) {
  if (released.empty()) return;
  std::vector<TokenEvent> events;
  events.reserve(released.size());
  for (const TextStream::Released& token : released) {
    RECURVE_CHECK(token.token == first_held_ && !held_.empty());  // every one, in order
    events.push_back(std::move(held_.front()));
    events.back().text = token.text;
    held_.pop_front();
    ++first_held_;
  }
  sink_->OnTokens(sample_, std::move(events), generated_tokens_);
}

void SampleOutput::SendAllWithoutText() {
  std::vector<TokenEvent> events(std::make_move_iterator(held_.begin()),
                                 std::make_move_iterator(held_.end()));
  held_.clear();
  sink_->OnTokens(sample_, std::move(events), generated_tokens_);
}

void SampleOutput::OnEnded(Ending ending) {
  static_cast<Ending&>(finish_) = std::move(ending);
  finish_.prompt_token_depths = std::move(prompt_token_depths_);
  if (finish_.status.ok()) {
    // The log probabilities of half a prompt, cut short by a time limit or the drain, are not sent:
    // whoever adds them up would not notice. The first token has none.
    if (prompt_logprobs_so_far_.size() + 1 >= finish_.prompt_tokens) SendPromptLogprobs();
    // A drained text goes on in another server, after the tokens that were sent. What is held back
    // here may become a stop string or a whole character there, so it is not sent.
    const bool goes_on = finish_.reason == EndReason::kDrained;
    if (text_ && !text_->stopped() && !goes_on) Send(text_->Finish());
  }
  if (text_ && text_->stopped()) {
    // This includes a stop string that only Finish has found, in the characters held back last.
    if (finish_.status.ok()) finish_.reason = EndReason::kStopString;
    finish_.stop_string = stop_strings_[text_->stop_index()];
  } else {
    finish_.stop_token_id = stop_token_;
  }
  if (cumulative_) finish_.cumulative_logprob = cumulative_logprob_;
  on_ended_();
}

void SampleOutput::Abandon() { sink_ = std::make_shared<DeafSink>(); }

void SampleOutput::TellEnd() { sink_->OnFinished(sample_, std::move(finish_)); }

}  // namespace recurve
