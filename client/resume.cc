// SPDX-License-Identifier: Apache-2.0
#include "client/resume.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "client/hash.h"

namespace recurve::client {
namespace {

constexpr uint64_t kGoldenGamma = 0x9E3779B97F4A7C15;

uint64_t Microseconds(std::chrono::nanoseconds time) {
  return static_cast<uint64_t>(std::chrono::duration_cast<std::chrono::microseconds>(time).count());
}

// Tokens by depth and their mean, with some tokens added or taken away.
class Depths {
 public:
  explicit Depths(v1::DepthStats* stats) : stats_(stats) {}

  void Add(uint32_t depth, int64_t tokens) {
    auto& counts = *stats_->mutable_tokens_by_depth();
    if (depth == 0 || depth > static_cast<uint32_t>(counts.size())) return;
    uint64_t& count = counts[static_cast<int>(depth) - 1];
    count = static_cast<uint64_t>(std::max<int64_t>(0, static_cast<int64_t>(count) + tokens));
  }

  // Of the tokens but one of depth `without`; 0 leaves none out.
  void SetMean(uint32_t without) {
    uint64_t tokens = 0, recursions = 0;
    for (int i = 0; i < stats_->tokens_by_depth_size(); ++i) {
      tokens += stats_->tokens_by_depth(i);
      recursions += stats_->tokens_by_depth(i) * (static_cast<uint64_t>(i) + 1);
    }
    if (without > 0 && tokens > 0) {
      --tokens;
      recursions -= without;
    }
    stats_->set_mean_depth(
        tokens == 0 ? 0 : static_cast<double>(recursions) / static_cast<double>(tokens));
  }

 private:
  v1::DepthStats* const stats_;
};

}  // namespace

uint64_t SampleSeed(uint64_t seed, uint32_t sample) {
  return sample == 0 ? seed : MixBits(seed + kGoldenGamma * sample);
}

absl::Status CheckResumable(const v1::GenerateRequest& request) {
  if (!request.recursion().has_adaptive_min()) return absl::OkStatus();
  return absl::InvalidArgumentError(
      "recursion.adaptive_min lets the load of a server change the text, so that no other server "
      "could go on with it; leave it out, or do not ask for resumption");
}

absl::StatusOr<bool> SampleProgress::Take(Time now, v1::GenerateResponse& message) {
  message.set_sample(sample_);
  if (!prompt_tokens_) prompt_tokens_ = message.usage().prompt_tokens();
  if (absl::Status status = DropRepeated(message); !status.ok()) return status;
  Remember(now, message);
  if (has_prompt_logprobs_) {
    message.clear_prompt_logprobs();
  } else {
    has_prompt_logprobs_ = message.prompt_logprobs_size() > 0;
  }
  generated_tokens_ = std::max(generated_tokens_,
                               static_cast<uint32_t>(base_) + message.usage().generated_tokens());
  message.mutable_usage()->set_prompt_tokens(*prompt_tokens_);
  message.mutable_usage()->set_generated_tokens(generated_tokens_);
  if (message.has_final()) {
    MakeWhole(now, *message.mutable_final());
    if (message.final().finish_reason() == v1::FINISH_REASON_DRAINED) {
      v1::GenerateResponse& end = drained_.emplace();
      end.set_sample(sample_);
      *end.mutable_usage() = message.usage();
      *end.mutable_final() = std::move(*message.mutable_final());
      message.clear_final();
    } else {
      has_ended_ = true;
    }
  }
  return message.has_final() || message.tokens_size() > 0 || message.prompt_logprobs_size() > 0;
}

// Drops the tokens that were told before, with their text, and compares them.
absl::Status SampleProgress::DropRepeated(v1::GenerateResponse& message) {
  const size_t begin = base_ + came_;
  const auto tokens = static_cast<size_t>(message.tokens_size());
  came_ += tokens;
  if (begin >= ids_.size()) return absl::OkStatus();
  const size_t repeated = std::min(ids_.size() - begin, tokens);
  size_t bytes = 0;
  bool same = true;
  for (size_t i = 0; i < repeated; ++i) {
    const v1::Token& token = message.tokens(static_cast<int>(i));
    same = same && token.id() == ids_[begin + i] && token.depth() == depths_[begin + i];
    bytes += token.text_bytes();
  }
  same = same && last_text_.compare(std::min(repeated_text_, last_text_.size()), bytes,
                                    message.text(), 0, bytes) == 0;
  if (!same) {
    return absl::DataLossError(absl::StrCat(
        "the stream broke after ", ids_.size(),
        " tokens, and the server that was to go on with it did so with others, though it has the "
        "fingerprint of the first"));
  }
  repeated_text_ += bytes;
  message.mutable_tokens()->DeleteSubrange(0, static_cast<int>(repeated));
  message.mutable_text()->erase(0, bytes);
  return absl::OkStatus();
}

void SampleProgress::Remember(Time now, const v1::GenerateResponse& message) {
  if (message.tokens_size() == 0) return;
  last_begin_ = ids_.size();
  last_text_ = message.text();
  for (const v1::Token& token : message.tokens()) {
    ids_.push_back(token.id());
    depths_.push_back(token.depth());
  }
  if (!first_token_) first_token_ = now;
  last_token_ = now;
}

// Of a stream that went on: what an unbroken one would have said. Times are the client's.
void SampleProgress::MakeWhole(Time now, v1::FinalInfo& final) const {
  final.set_preemptions(preemptions_ + final.preemptions());
  final.set_recomputed_tokens(recomputed_tokens_ + final.recomputed_tokens());
  final.set_recompute_us(recompute_us_ + final.recompute_us());
  if (!resumed_) return;
  v1::Timings& timings = *final.mutable_timings();
  timings.set_queue_us(0);
  timings.set_prefill_us(Microseconds(first_token_.value_or(now)));
  timings.set_decode_us(first_token_ ? Microseconds(*last_token_ - *first_token_) : 0);
  timings.set_total_us(Microseconds(now));
  final.set_cached_tokens(std::min(final.cached_tokens(), *prompt_tokens_));
  auto& prompt_depths = *final.mutable_prompt_token_depths();
  prompt_depths.Truncate(std::min(prompt_depths.size(), static_cast<int>(*prompt_tokens_)));
  MakeDepthsWhole(final);
}

// Tokens before base_ were generated, and were prompt to the stream that went on. A token has the
// depth of the row before it: so the rows of the prompt and those of generated tokens are counted
// anew.
void SampleProgress::MakeDepthsWhole(v1::FinalInfo& final) const {
  if (base_ == 0) return;
  Depths prompt(final.mutable_prompt_depth());
  const size_t rows = std::min(base_ + (came_ > 0 ? 1 : 0), depths_.size());
  for (size_t i = 1; i < rows; ++i) prompt.Add(depths_[i], -1);
  prompt.SetMean(0);
  Depths generated(final.mutable_generated_depth());
  for (size_t i = 0; i < base_; ++i) generated.Add(depths_[i], 1);
  generated.SetMean(depths_.front());
}

v1::GenerateRequest SampleProgress::Resume(const v1::GenerateRequest& original,
                                           const google::protobuf::RepeatedField<uint32_t>& prompt,
                                           Time now) {
  if (drained_) {  // its figures are of all streams so far
    preemptions_ = drained_->final().preemptions();
    recomputed_tokens_ = drained_->final().recomputed_tokens();
    recompute_us_ = drained_->final().recompute_us();
  }
  resumed_ = true;
  base_ = last_begin_;
  came_ = repeated_text_ = 0;

  v1::GenerateRequest request = original;
  request.clear_add_special_tokens();
  request.clear_samples();
  auto& ids = *request.mutable_tokens()->mutable_ids();
  ids = prompt;
  ids.Add(ids_.begin(), ids_.begin() + static_cast<ptrdiff_t>(base_));
  if (base_ > 0) {
    request.set_generated_prefix(original.generated_prefix() + static_cast<uint32_t>(base_));
  }
  request.mutable_sampling()->set_seed(seed_);
  const v1::StopParams& stop = original.stop();
  if (stop.has_max_tokens() && base_ > 0) {
    request.mutable_stop()->set_max_tokens(stop.max_tokens() - static_cast<uint32_t>(base_));
  }
  // They come before the first token, or not at all, as where the prompt has one token. Without new
  // tokens they are all that can be asked for; they then come again, and are dropped.
  const bool nothing_else = stop.has_max_tokens() && stop.max_tokens() == 0;
  if ((has_prompt_logprobs_ || base_ > 0 || sample_ > 0) && !nothing_else) {
    request.mutable_output()->clear_prompt_logprobs();
  }
  if (original.has_time_limit_ms()) {
    const auto gone = std::chrono::duration_cast<std::chrono::milliseconds>(now).count();
    const auto limit = static_cast<int64_t>(original.time_limit_ms());
    request.set_time_limit_ms(static_cast<uint32_t>(std::max<int64_t>(1, limit - gone)));
  }
  return request;
}

}  // namespace recurve::client
