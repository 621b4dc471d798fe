// SPDX-License-Identifier: Apache-2.0
#include "engine/sample_output.h"

#include <memory>
#include <string>
#include <vector>

#include "gtest/gtest.h"
#include "tests/engine/owned_token.h"

namespace recurve {
namespace {

// Letters a to e, and the three bytes of U+20AC one by one; "<end>" is special.
constexpr char kTokenizer[] = R"({
  "version": "1.0", "truncation": null, "padding": null,
  "added_tokens": [{"id": 8, "content": "<end>", "single_word": false, "lstrip": false,
                    "rstrip": false, "normalized": false, "special": true}],
  "normalizer": null,
  "pre_tokenizer": {"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": true},
  "post_processor": null,
  "decoder": {"type": "ByteLevel", "add_prefix_space": true, "trim_offsets": true, "use_regex": true},
  "model": {"type": "BPE", "dropout": null, "unk_token": null, "continuing_subword_prefix": null,
            "end_of_word_suffix": null, "fuse_unk": false, "byte_fallback": false,
            "vocab": {"a": 0, "b": 1, "c": 2, "d": 3, "e": 4, "â": 5, "Ĥ": 6, "¬": 7},
            "merges": []}})";
constexpr uint32_t kA = 0, kB = 1, kC = 2, kEuro0 = 5, kEuro1 = 6, kEuro2 = 7, kEnd = 8;

constexpr uint32_t kSample = 0;  // which alone has the prompt's log probabilities

struct Sink final : public RequestSink {
  void OnPromptLogprobs(uint32_t, std::vector<PositionLogprobs> logprobs) override {
    EXPECT_TRUE(tokens.empty());
    prompt_logprobs = std::move(logprobs);
    ++prompt_logprobs_told;
  }
  void OnTokens(uint32_t sample, std::span<const TokenEvent> more, uint32_t generated) override {
    EXPECT_EQ(sample, kSample);
    EXPECT_FALSE(more.empty());
    for (const TokenEvent& token : more) {
      text += token.text;
      tokens.push_back(OwnedToken::Of(token));
    }
    generated_tokens = generated;
  }
  void OnFinished(uint32_t sample, Finish how) override {
    EXPECT_EQ(sample, kSample);
    finish = std::move(how);
    ++finished;
  }
  std::string text;
  std::vector<OwnedToken> tokens;
  uint32_t generated_tokens = 0;
  std::vector<PositionLogprobs> prompt_logprobs;
  int prompt_logprobs_told = 0;
  Finish finish;
  int finished = 0;
};

class SampleOutputTest : public testing::Test {
 protected:
  void Make(const Request& request, bool with_tokenizer = true) {
    auto output =
        SampleOutput::Create(request, kSample, with_tokenizer ? tokenizer_.get() : nullptr, sink_);
    ASSERT_TRUE(output.ok()) << output.status();
    output_ = *std::move(output);
    output_->WhenEnded([this] { ++ended_; });
  }
  bool Push(uint32_t token, uint32_t depth = 1, bool stop_id = false) {
    return output_->OnToken({token, position_++, depth, stop_id, {}});
  }
  void End(EndReason reason, const absl::Status& status = absl::OkStatus(),
           uint32_t prompt_tokens = 0) {
    Ending ending;
    ending.prompt_tokens = prompt_tokens;
    ending.reason = reason;
    ending.status = StatusOf(reason, status);
    const int finished = sink_->finished;
    output_->OnEnded(std::move(ending));
    EXPECT_EQ(sink_->finished, finished);
    output_->TellEnd();
  }

  const std::unique_ptr<Tokenizer> tokenizer_ = *Tokenizer::Parse(kTokenizer);
  const std::shared_ptr<Sink> sink_ = std::make_shared<Sink>();
  std::unique_ptr<SampleOutput> output_;
  uint32_t position_ = 5;
  int ended_ = 0;
};

TEST_F(SampleOutputTest, ADrainedTextKeepsBackWhatIsNotCertain) {
  // The client goes on elsewhere after the tokens that it got, so half a character must not be sent
  // as a whole one.
  Make(Request());
  Push(kA);
  Push(kEuro0);
  End(EndReason::kDrained);
  EXPECT_EQ(sink_->text, "a");
  EXPECT_EQ(sink_->tokens.size(), 1U);
  EXPECT_EQ(sink_->finish.reason, EndReason::kDrained);
}

TEST_F(SampleOutputTest, TokensCarryTheirOwnTextAndDepth) {
  Make(Request());
  EXPECT_FALSE(Push(kA, 2));
  EXPECT_FALSE(Push(kEuro0, 1));
  EXPECT_FALSE(Push(kEuro1, 3));
  EXPECT_EQ(sink_->tokens.size(), 1U) << "half a character was sent";
  EXPECT_FALSE(Push(kEuro2, 2));
  ASSERT_EQ(sink_->tokens.size(), 4U);
  EXPECT_EQ(sink_->tokens[1].text, "");
  EXPECT_EQ(sink_->tokens[3].text, "\xe2\x82\xac");
  EXPECT_EQ(sink_->tokens[2].depth, 3U);
  End(EndReason::kLength);
  EXPECT_EQ(sink_->text, "a\xe2\x82\xac");
  EXPECT_EQ(sink_->finish.reason, EndReason::kLength);
  EXPECT_EQ(sink_->finished, 1);
  EXPECT_EQ(ended_, 1);
}

TEST_F(SampleOutputTest, TheEndReleasesWhatWasHeld) {
  Request request;
  request.stop_strings = {"abc"};
  Make(request);
  Push(kA);
  Push(kB);
  EXPECT_EQ(sink_->tokens.size(), 0U);
  End(EndReason::kLength);
  EXPECT_EQ(sink_->text, "ab");
  EXPECT_EQ(sink_->generated_tokens, 2U);
}

TEST_F(SampleOutputTest, StopStringIsCutOffButItsTokensCount) {
  Request request;
  request.stop_strings = {"zz", "bc"};
  Make(request);
  EXPECT_FALSE(Push(kA));
  EXPECT_FALSE(Push(kB));
  EXPECT_TRUE(Push(kC));
  End(EndReason::kStopString);
  EXPECT_EQ(sink_->text, "a");
  EXPECT_EQ(sink_->tokens.size(), 1U);
  EXPECT_EQ(sink_->finish.stop_string, "bc");
  EXPECT_EQ(sink_->finish.reason, EndReason::kStopString);
}

TEST_F(SampleOutputTest, MinTokensOfABrokenStreamCountItsPrefix) {
  Request request;
  request.stop_strings = {"b"};
  request.min_tokens = 4;
  request.generated_prefix = 2;  // two of the four were generated before
  Make(request);
  EXPECT_FALSE(Push(kB));  // the third
  EXPECT_TRUE(Push(kB));
  End(EndReason::kStopString);
  EXPECT_EQ(sink_->text, "b");
}

TEST_F(SampleOutputTest, SpecialTokensHaveNoText) {
  Make(Request());
  Push(kA);
  Push(kEnd, 1, /*stop_id=*/true);
  End(EndReason::kEndOfSequence);
  EXPECT_EQ(sink_->text, "a");
  EXPECT_EQ(sink_->tokens.size(), 2U);
  EXPECT_EQ(sink_->finish.stop_token_id, kEnd);
  EXPECT_FALSE(sink_->finish.stop_string.has_value());
}

TEST_F(SampleOutputTest, WithoutATokenizerTokensComeAtOnce) {
  Make(Request(), /*with_tokenizer=*/false);
  EXPECT_FALSE(Push(kEuro0));
  EXPECT_EQ(sink_->tokens.size(), 1U);
  EXPECT_EQ(sink_->text, "");
  End(EndReason::kLength);
  EXPECT_EQ(sink_->finished, 1);
}

TEST_F(SampleOutputTest, PromptLogprobsComeOnceBeforeTheFirstToken) {
  Request request;
  request.prompt_logprobs = true;
  request.prompt_depths = true;
  Make(request);
  const std::vector<uint32_t> depths = {2, 1};
  const std::vector<TokenLogprob> logprobs = {
      {0, 1, kB, -1.5F}, {0, 1, kA, -0.5F}, {0, 2, kC, -0.25F}, {0, 2, kC, -0.25F}};
  output_->OnPrompt({0, depths, logprobs});
  EXPECT_EQ(sink_->prompt_logprobs_told, 0);
  Push(kA);
  EXPECT_EQ(sink_->prompt_logprobs_told, 1);
  ASSERT_EQ(sink_->prompt_logprobs.size(), 2U);
  EXPECT_EQ(sink_->prompt_logprobs[0].logprob, -1.5F);
  ASSERT_EQ(sink_->prompt_logprobs[0].top.size(), 1U);
  EXPECT_EQ(sink_->prompt_logprobs[0].top[0].id, kA);
  End(EndReason::kLength);
  EXPECT_EQ(sink_->prompt_logprobs_told, 1);
  EXPECT_EQ(sink_->finish.prompt_token_depths, depths);
}

TEST_F(SampleOutputTest, PromptLogprobsOfHalfAPromptAreNotSent) {
  const uint32_t depths[] = {2, 1};
  const TokenLogprob logprobs[] = {{0, 1, kB, -1.5F}, {0, 2, kC, -0.25F}};
  for (const EndReason reason : {EndReason::kTimeLimit, EndReason::kDrained, EndReason::kLength}) {
    for (const uint32_t prompt_tokens : {3U, 4U}) {
      sink_->prompt_logprobs_told = 0;
      Request request;
      request.prompt_logprobs = true;
      Make(request);
      output_->OnPrompt({0, depths, logprobs});
      End(reason, absl::OkStatus(), prompt_tokens);
      EXPECT_TRUE(sink_->finish.status.ok());
      EXPECT_EQ(sink_->prompt_logprobs_told, prompt_tokens == 3 ? 1 : 0);
    }
  }
}

TEST_F(SampleOutputTest, CumulativeLogprobHasTokensThatAreNeverSent) {
  Request request;
  request.stop_strings = {"bc"};
  request.cumulative_logprob = true;
  Make(request);
  uint32_t position = 1;
  for (const uint32_t token : {kA, kB, kC}) {
    const TokenLogprob logprob{0, position, token, -0.5F};
    output_->OnToken({token, position++, 1, false, {&logprob, 1}});
  }
  End(EndReason::kStopString);
  EXPECT_EQ(sink_->tokens.size(), 1U);
  EXPECT_FALSE(sink_->tokens[0].logprobs.has_value());
  EXPECT_EQ(sink_->finish.cumulative_logprob, -1.5);
}

TEST_F(SampleOutputTest, EveryReasonHasItsOwnEnd) {
  for (const EndReason reason :
       {EndReason::kEndOfSequence, EndReason::kStopToken, EndReason::kLength,
        EndReason::kContextLimit, EndReason::kTimeLimit, EndReason::kDrained}) {
    Make(Request());
    End(reason);
    EXPECT_TRUE(sink_->finish.status.ok());
    EXPECT_EQ(sink_->finish.reason, reason);
  }
  const std::vector<std::pair<EndReason, absl::StatusCode>> badly = {
      {EndReason::kCancelled, absl::StatusCode::kCancelled},
      {EndReason::kDeadline, absl::StatusCode::kDeadlineExceeded},
      {EndReason::kQueueTimeout, absl::StatusCode::kResourceExhausted},
      {EndReason::kFailed, absl::StatusCode::kUnavailable}};
  for (const auto& [reason, expected] : badly) {
    Make(Request());
    End(reason, reason == EndReason::kFailed ? absl::UnavailableError("broken") : absl::OkStatus());
    EXPECT_EQ(sink_->finish.status.code(), expected);
  }
}

TEST_F(SampleOutputTest, AFailedStreamReleasesNothingMore) {
  Request request;
  request.stop_strings = {"ab"};
  Make(request);
  Push(kA);
  End(EndReason::kCancelled);
  EXPECT_EQ(sink_->text, "");
}

}  // namespace
}  // namespace recurve
