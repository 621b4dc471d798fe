// SPDX-License-Identifier: Apache-2.0
// Streams that break wherever they can, and go on: held against the stream that does not.
#include <google/protobuf/util/message_differencer.h>

#include <functional>
#include <map>

#include "absl/strings/str_cat.h"
#include "client/client.h"
#include "client/resume.h"
#include "gmock/gmock.h"
#include "tests/client/replicas/relay.h"

namespace recurve::client {
namespace {

using google::protobuf::util::MessageDifferencer;
using testing::HasSubstr;

constexpr char kPrompt[] = "def fibonacci(n):\n    ";

// All that a stream brought of one sample.
struct Whole {
  std::string text;
  std::vector<v1::Token> tokens;
  std::vector<v1::PositionLogprobs> prompt_logprobs;
  v1::Usage usage;
  v1::FinalInfo final;
  int finals = 0;

  // Expects that counts never fall and that each text is its tokens'.
  void Hear(const v1::GenerateResponse& message) {
    EXPECT_EQ(finals, 0) << "a message behind the last one";
    EXPECT_GE(message.usage().generated_tokens(), usage.generated_tokens());
    size_t bytes = 0;
    for (const v1::Token& token : message.tokens()) {
      bytes += token.text_bytes();
      tokens.push_back(token);
    }
    EXPECT_EQ(bytes, message.text().size());
    text += message.text();
    prompt_logprobs.insert(prompt_logprobs.end(), message.prompt_logprobs().begin(),
                           message.prompt_logprobs().end());
    usage = message.usage();
    if (!message.has_final()) return;
    final = message.final();
    ++finals;
  }
};

struct Result {
  absl::Status status;
  CallReport report;
  std::map<uint32_t, Whole> samples;
  int messages = 0;
};

template <typename Message>
void ExpectEqual(const Message& got, const Message& wanted, const char* what) {
  EXPECT_TRUE(MessageDifferencer::Equals(got, wanted))
      << what << ": " << got.ShortDebugString() << "\ninstead of " << wanted.ShortDebugString();
}

// But for what depends on when and where it was computed.
v1::FinalInfo Timeless(v1::FinalInfo final) {
  final.clear_timings();
  final.clear_cached_tokens();
  final.clear_preemptions();
  for (v1::DepthStats* depth : {final.mutable_prompt_depth(), final.mutable_generated_depth()}) {
    depth->set_mean_depth(std::round(depth->mean_depth() * 1e9) * 1e-9);
  }
  return final;
}

void ExpectSame(const Result& got, const Result& wanted) {
  ASSERT_EQ(got.status, absl::OkStatus());
  ASSERT_EQ(got.samples.size(), wanted.samples.size());
  for (const auto& [index, want] : wanted.samples) {
    SCOPED_TRACE(absl::StrCat("sample ", index));
    const Whole& have = got.samples.at(index);
    EXPECT_EQ(have.text, want.text);
    ASSERT_EQ(have.tokens.size(), want.tokens.size());
    for (size_t i = 0; i < want.tokens.size(); ++i) {
      ExpectEqual(have.tokens[i], want.tokens[i], "token");
    }
    ASSERT_EQ(have.prompt_logprobs.size(), want.prompt_logprobs.size());
    for (size_t i = 0; i < want.prompt_logprobs.size(); ++i) {
      ExpectEqual(have.prompt_logprobs[i], want.prompt_logprobs[i], "prompt");
    }
    ExpectEqual(have.usage, want.usage, "usage");
    EXPECT_EQ(have.finals, 1);
    ExpectEqual(Timeless(have.final), Timeless(want.final), "final");
  }
}

class ResumeTest : public testing::Test {
 protected:
  static void SetUpTestSuite() { server_ = new RealServer; }
  static void TearDownTestSuite() {
    delete server_;
    server_ = nullptr;
  }

  static Result Run(const std::vector<std::string>& servers, const v1::GenerateRequest& request,
                    bool resume = true, int attempts = 4) {
    ClientOptions options;
    options.servers = servers;
    options.attempts = attempts;
    Client client(options);
    CallOptions call;
    Result result;
    call.report = &result.report;
    call.resume = resume;
    result.status = client.Generate(request, call, [&](const v1::GenerateResponse& message) {
      result.samples[message.sample()].Hear(message);
      ++result.messages;
      return true;
    });
    return result;
  }
  static Result Unbroken(const v1::GenerateRequest& request) {
    Result result = Run({server_->address()}, request, /*resume=*/false);
    EXPECT_EQ(result.status, absl::OkStatus());
    return result;
  }

  // Through three relays, to which these fates happen; each may have a fingerprint of its own.
  Result Broken(const v1::GenerateRequest& request, const std::vector<Fate>& fates,
                bool own_fingerprints = false) {
    script_ = std::make_unique<Script>();
    for (const Fate& fate : fates) script_->Add(fate);
    std::vector<std::unique_ptr<Relay>> relays;
    std::vector<std::string> servers;
    for (int i = 0; i < 3; ++i) {
      relays.push_back(std::make_unique<Relay>(server_->address(), script_.get()));
      servers.push_back(relays.back()->address());
      if (own_fingerprints) relays.back()->set_fingerprint(servers.back());
    }
    return Run(servers, request);
  }

  // Breaks the stream behind each of its messages: by a lost connection, by the server's end, and
  // once more soon after it has gone on. How often it was resumed after the first of these.
  int BreakEverywhere(const v1::GenerateRequest& request) {
    const Result wanted = Unbroken(request);
    int resumes = 0;
    for (int messages = 0; messages <= wanted.messages + 1; ++messages) {
      SCOPED_TRACE(absl::StrCat("broken behind message ", messages));
      const Result lost = Broken(request, {{Fate::Kind::kBreak, messages}});
      ExpectSame(lost, wanted);
      resumes += lost.report.resumes;
      ExpectSame(Broken(request, {{Fate::Kind::kDrain, messages}}), wanted);
      ExpectSame(Broken(request, {{Fate::Kind::kBreak, messages}, {Fate::Kind::kBreak, 2}}),
                 wanted);
      if (HasFailure()) return resumes;
    }
    return resumes;
  }

  static v1::GenerateRequest Request(uint32_t max_tokens = 9) {
    v1::GenerateRequest request;
    request.set_text(kPrompt);
    request.mutable_stop()->set_max_tokens(max_tokens);
    request.mutable_stop()->set_ignore_eos(true);
    request.mutable_sampling()->set_seed(7);  // which every server tells
    request.mutable_output()->set_prompt_depths(true);
    return request;
  }
  static v1::GenerateRequest Sampled(uint64_t seed) {
    v1::GenerateRequest request = Request();
    request.mutable_sampling()->set_temperature(1.0F);
    request.mutable_sampling()->set_seed(seed);
    return request;
  }

  static RealServer* server_;
  std::unique_ptr<Script> script_;
};

RealServer* ResumeTest::server_ = nullptr;

TEST_F(ResumeTest, Greedy) { EXPECT_GT(BreakEverywhere(Request()), 2); }

TEST_F(ResumeTest, SampledWithPenaltiesAndLogprobs) {
  v1::GenerateRequest request = Sampled(3);
  request.mutable_sampling()->set_presence_penalty(0.4F);
  request.mutable_sampling()->set_frequency_penalty(0.3F);
  request.mutable_sampling()->set_repetition_penalty(1.1F);
  request.mutable_output()->set_top_logprobs(2);
  BreakEverywhere(request);
}

// Of random bytes: characters are cut, and tokens wait for each other.
TEST_F(ResumeTest, Noise) {
  v1::GenerateRequest request = Sampled(2);
  request.mutable_sampling()->set_temperature(50.0F);
  request.mutable_stop()->set_max_tokens(14);
  BreakEverywhere(request);
}

TEST_F(ResumeTest, PromptLogprobsComeOnce) {
  v1::GenerateRequest request = Request(6);
  request.mutable_output()->set_prompt_logprobs(true);
  request.mutable_output()->set_top_logprobs(1);
  BreakEverywhere(request);
  request.mutable_stop()->set_max_tokens(0);
  BreakEverywhere(request);
}

// Of one token: it has no log probability, and the generated ones are not of the prompt.
TEST_F(ResumeTest, PromptLogprobsThatThereAreNone) {
  v1::GenerateRequest request = Request(6);
  request.mutable_tokens()->add_ids(5);
  request.mutable_output()->set_prompt_logprobs(true);
  BreakEverywhere(request);
}

TEST_F(ResumeTest, SeveralSamples) {
  v1::GenerateRequest request = Sampled(8);
  request.mutable_stop()->set_max_tokens(5);
  request.set_samples(3);
  request.mutable_output()->set_prompt_logprobs(true);
  BreakEverywhere(request);
}

TEST_F(ResumeTest, StopStringsThatStraddleTheBreak) {
  const std::string text = Unbroken(Request(20)).samples.at(0).text;
  ASSERT_GT(text.size(), 20U);
  for (const size_t length : {1U, 9U}) {
    for (const bool included : {false, true}) {
      v1::GenerateRequest request = Request(20);
      request.mutable_stop()->add_stop_strings(text.substr(text.size() / 2, length));
      request.mutable_stop()->add_stop_strings(text.substr(text.size() / 2 - 3, length) + "?");
      request.mutable_stop()->set_include_stop_string(included);
      BreakEverywhere(request);
    }
  }
}

TEST_F(ResumeTest, StopsWithMinTokens) {
  const Whole whole = Unbroken(Request()).samples.at(0);
  v1::GenerateRequest request = Request();
  request.mutable_stop()->add_stop_token_ids(whole.tokens[5].id());
  BreakEverywhere(request);
  request.mutable_stop()->set_min_tokens(7);
  request.mutable_stop()->add_stop_strings(whole.text.substr(2, 2));
  BreakEverywhere(request);
}

TEST_F(ResumeTest, TokenPromptsAndEarlierStreams) {
  const Whole whole = Unbroken(Sampled(4)).samples.at(0);
  v1::GenerateRequest request = Sampled(4);
  for (const v1::Token& token : whole.tokens) request.mutable_tokens()->add_ids(token.id());
  request.set_generated_prefix(3);
  request.mutable_sampling()->set_presence_penalty(1.5F);
  BreakEverywhere(request);
}

TEST_F(ResumeTest, LengthsThatTheServerChooses) {
  v1::GenerateRequest request = Request();
  request.mutable_stop()->clear_max_tokens();
  const Result wanted = Unbroken(request);
  EXPECT_EQ(wanted.samples.at(0).tokens.size(), 10U);
  BreakEverywhere(request);
}

TEST_F(ResumeTest, BudgetsThatForget) {
  v1::GenerateRequest request = Request();
  request.mutable_kv()->set_eviction("attention");
  request.mutable_kv()->set_budget("1:50%,2:50%,3:50%");
  BreakEverywhere(request);
}

// Where every group has a budget the context does not end a stream, and so no resumption either.
TEST_F(ResumeTest, StreamsBeyondTheContext) {
  EngineOptions engine;
  engine.memory.max_context = 16;
  engine.eviction.every = 4;
  const RealServer small(engine);
  v1::GenerateRequest request = Request(40);
  request.mutable_kv()->set_eviction("window");
  request.mutable_kv()->set_budget("entry:8,1:8,2:8,3:8,exit:8");
  request.mutable_kv()->set_sinks(1);
  request.mutable_kv()->set_recent(4);
  const Result wanted = Run({small.address()}, request, /*resume=*/false);
  ASSERT_EQ(wanted.status, absl::OkStatus());
  ASSERT_GT(wanted.samples.at(0).final.beyond_context(), 16U);
  Script script;
  Relay first(small.address(), &script), second(small.address(), &script);
  script.Add({Fate::Kind::kBreak, wanted.messages * 3 / 4});
  const Result broken = Run({first.address(), second.address()}, request);
  ExpectSame(broken, wanted);
  EXPECT_EQ(broken.report.resumes, 1);
}

TEST_F(ResumeTest, SeedsThatNobodyGave) {
  v1::GenerateRequest request = Sampled(0);
  request.mutable_sampling()->clear_seed();
  request.set_samples(2);
  const Result broken = Broken(request, {{Fate::Kind::kBreak, 2}});
  ASSERT_EQ(broken.status, absl::OkStatus());
  request.mutable_sampling()->set_seed(broken.samples.at(0).final.seed());
  ExpectSame(broken, Unbroken(request));
}

TEST_F(ResumeTest, TheReportSaysWhatHappened) {
  const Result result = Broken(Request(), {{Fate::Kind::kBreak, 1}});
  EXPECT_EQ(result.report.tries, 2);
  EXPECT_EQ(result.report.resumes, 1);
  EXPECT_EQ(result.report.last_server, script_->relays().back());
  EXPECT_NE(result.report.last_server, script_->relays().front());
  const v1::Timings& timings = result.samples.at(0).final.timings();
  EXPECT_GT(timings.prefill_us(), 0U);
  EXPECT_LE(timings.prefill_us() + timings.decode_us(), timings.total_us());
  EXPECT_EQ(Broken(Request(), {{Fate::Kind::kDrain, 1}}).samples.at(0).final.preemptions(), 1U);
}

TEST_F(ResumeTest, WithoutResumptionABrokenStreamEnds) {
  script_ = std::make_unique<Script>();
  script_->Add({Fate::Kind::kBreak, 1});
  script_->Add({Fate::Kind::kDrain, 1});
  const Relay first(server_->address(), script_.get());
  const Relay second(server_->address(), script_.get());
  const Result lost = Run({first.address(), second.address()}, Request(), /*resume=*/false);
  EXPECT_TRUE(absl::IsUnavailable(lost.status)) << lost.status;
  EXPECT_EQ(lost.report.tries, 1);
  const Result drained = Run({first.address(), second.address()}, Request(), /*resume=*/false);
  EXPECT_EQ(drained.status, absl::OkStatus());
  EXPECT_EQ(drained.samples.at(0).final.finish_reason(), v1::FINISH_REASON_DRAINED);
}

TEST_F(ResumeTest, OnlyAServerWithTheSameFingerprintGoesOn) {
  const Result lost = Broken(Request(), {{Fate::Kind::kBreak, 1}}, /*own_fingerprints=*/true);
  EXPECT_TRUE(absl::IsUnavailable(lost.status)) << lost.status;
  EXPECT_THAT(std::string(lost.status.message()),
              HasSubstr("cannot go on with it: its fingerprint is"));
  EXPECT_EQ(lost.samples.at(0).finals, 0);
  const Result drained = Broken(Request(), {{Fate::Kind::kDrain, 1}}, /*own_fingerprints=*/true);
  EXPECT_EQ(drained.status, absl::OkStatus()) << "it ends as it would have";
  EXPECT_EQ(drained.samples.at(0).final.finish_reason(), v1::FINISH_REASON_DRAINED);
  EXPECT_EQ(drained.samples.at(0).finals, 1);
}

TEST_F(ResumeTest, OtherTokensThanBeforeAreNoticed) {
  const Result altered = Broken(Request(), {{Fate::Kind::kBreak, 1}, {Fate::Kind::kAlter}});
  EXPECT_EQ(altered.status.code(), absl::StatusCode::kDataLoss) << altered.status;
}

TEST_F(ResumeTest, TriesAreBounded) {
  const std::vector<Fate> fates(10, {Fate::Kind::kBreak, 1});
  const Result result = Broken(Request(), fates);
  EXPECT_TRUE(absl::IsUnavailable(result.status)) << result.status;
  EXPECT_EQ(result.report.tries, 4);
}

TEST_F(ResumeTest, RequestsThatCannotBeResumedAreRefused) {
  v1::GenerateRequest request = Request();
  request.mutable_recursion()->set_adaptive_min(1);
  const Result adaptive = Run({server_->address()}, request);
  EXPECT_EQ(adaptive.status.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(std::string(adaptive.status.message()), HasSubstr("recursion.adaptive_min"));
  const Result once = Run({server_->address()}, Request(), /*resume=*/true, /*attempts=*/1);
  EXPECT_EQ(once.status.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(std::string(once.status.message()), HasSubstr("attempts is 1"));
}

TEST_F(ResumeTest, TimeLimitsGoOn) {
  v1::GenerateRequest request = Request();
  request.set_time_limit_ms(60000);
  ASSERT_EQ(Broken(request, {{Fate::Kind::kBreak, 1}}).status, absl::OkStatus());
  const auto requests = script_->requests();
  ASSERT_EQ(requests.size(), 2U);
  EXPECT_LE(requests[1].time_limit_ms(), requests[0].time_limit_ms());
  EXPECT_GT(requests[1].time_limit_ms(), 0U);
}

TEST_F(ResumeTest, CancelledStreamsDoNotGoOn) {
  Script script;
  script.Add({Fate::Kind::kBreak, 3});
  const Relay relay(server_->address(), &script);
  ClientOptions options;
  options.servers = {relay.address()};
  options.attempts = 5;
  Client client(options);
  CallOptions call;
  call.resume = true;
  int heard = 0;
  const absl::Status status = client.Generate(
      Request(), call, [&heard](const v1::GenerateResponse&) { return ++heard < 2; });
  EXPECT_FALSE(status.ok());
  EXPECT_EQ(heard, 2);
}

// The other precisions, whose products and entries are rounded in ways of their own.
class ResumeInt8Test : public ResumeTest {
 protected:
  static void SetUpTestSuite() {
    EngineOptions options;
    options.model.precision = "int8";
    options.model.kv_precision = "int8";
    server_ = new RealServer(options);
  }
};

TEST_F(ResumeInt8Test, Greedy) { EXPECT_GT(BreakEverywhere(Request()), 2); }

TEST_F(ResumeInt8Test, Sampled) {
  v1::GenerateRequest request = Sampled(12);
  request.mutable_output()->set_logprobs(true);
  EXPECT_GT(BreakEverywhere(request), 2);
}

}  // namespace
}  // namespace recurve::client
