// SPDX-License-Identifier: Apache-2.0
#include "engine/sample_output.h"

#include <algorithm>
#include <utility>

#include "engine/base/check.h"
#include "engine/base/status_macros.h"

namespace recurve {
namespace {

// The entries of one position: the token that stands there, then the most likely ones.
void Fill(std::span<const TokenLogprob> entries, PositionLogprobs& position) {
  position.logprob = entries.empty() ? 0.0F : entries.front().value;
  position.top.clear();
  for (size_t i = 1; i < entries.size(); ++i) {
    position.top.push_back({entries[i].id, entries[i].value});
  }
}

// Tokens for which memory is taken at the beginning: those of one step, and some that a character
// or a stop string holds back.
constexpr size_t kUsuallyHeld = 8;

class DeafSink final : public RequestSink {
 public:
  void OnPromptLogprobs(uint32_t /*sample*/, std::vector<PositionLogprobs> /*told*/) override {}
  void OnTokens(uint32_t /*sample*/, std::span<const TokenEvent> /*told*/,
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
      cumulative_(request.cumulative_logprob),
      held_(kUsuallyHeld) {
  for (Held& held : held_) held.logprobs.top.reserve(request.top_logprobs);
  events_.reserve(kUsuallyHeld);
}

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
    Fill(prompt.logprobs.subspan(begin, end - begin), prompt_logprobs_so_far_.emplace_back());
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
  Hold(token);
  if (!text_) {
    events_.emplace_back();
    SendEvents();
    return false;
  }
  Send(text_->Push(token.token));
  return text_->stopped();
}

void SampleOutput::Hold(const TokenOutput& token) {
  if (held_count_ == held_.size()) held_.emplace_back();
  Held& held = held_[held_count_++];
  held.id = token.token;
  held.depth = token.depth;
  if (logprobs_) Fill(token.logprobs, held.logprobs);
}

void SampleOutput::Send(std::span<const TextStream::Released> released) {
  if (released.empty()) return;
  for (const TextStream::Released& token : released) {
    // Every one, in order.
    RECURVE_CHECK(token.token == first_held_ + static_cast<int64_t>(events_.size()));
    events_.emplace_back().text = token.text;
  }
  SendEvents();
}

void SampleOutput::SendEvents() {
  const size_t count = events_.size();
  RECURVE_CHECK(count <= held_count_);
  for (size_t i = 0; i < count; ++i) {
    events_[i].id = held_[i].id;
    events_[i].depth = held_[i].depth;
    if (logprobs_) events_[i].logprobs = &held_[i].logprobs;
  }
  sink_->OnTokens(sample_, events_, generated_tokens_);
  events_.clear();
  const auto held = held_.begin();
  std::rotate(held, held + static_cast<ptrdiff_t>(count),
              held + static_cast<ptrdiff_t>(held_count_));
  held_count_ -= count;
  first_held_ += static_cast<int64_t>(count);
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
