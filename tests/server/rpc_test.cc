// SPDX-License-Identifier: Apache-2.0
// Every method of the service, what it passes on, and how calls are refused.
#include <google/protobuf/util/message_differencer.h>

#include <thread>

#include "gmock/gmock.h"
#include "tests/server/server_fixture.h"

namespace recurve {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

class RpcTest : public ServerTest {
 protected:
  void StartScripted(std::vector<OwnedToken> tokens, EndReason reason = EndReason::kLength) {
    engine_ = std::make_unique<FakeEngine>(FakeEngine::Script{std::move(tokens), reason});
    Start();
  }
};

TEST_F(RpcTest, GenerateStreamsTokensAndThenHowItEnded) {
  StartScripted(MakeTokens({"one", " two", "", " three"}));
  v1::GenerateRequest request = TextRequest();
  request.mutable_sampling()->set_seed(77);
  const StreamEnd end = Generate(request);
  ASSERT_TRUE(end.status.ok()) << end.status.error_message();
  EXPECT_EQ(end.text(), "one two three");

  std::vector<uint32_t> ids, depths;
  for (size_t i = 0; i < end.messages.size(); ++i) {
    const auto& message = end.messages[i];
    EXPECT_EQ(message.has_final(), i + 1 == end.messages.size());
    size_t bytes = 0;
    for (const auto& token : message.tokens()) {
      ids.push_back(token.id());
      depths.push_back(token.depth());
      bytes += token.text_bytes();
      EXPECT_FALSE(token.has_logprobs());
    }
    EXPECT_EQ(bytes, message.text().size());
    EXPECT_EQ(message.usage().generated_tokens(), ids.size());
  }
  EXPECT_THAT(ids, ElementsAre(0, 1, 2, 3));
  EXPECT_THAT(depths, ElementsAre(1, 2, 3, 1));
  const auto& last = end.messages.back();
  EXPECT_EQ(last.usage().prompt_tokens(), 5U);
  EXPECT_EQ(last.final().finish_reason(), v1::FINISH_REASON_LENGTH);
  EXPECT_EQ(last.final().seed(), 77U);
  EXPECT_THAT(last.final().prompt_depth().tokens_by_depth(), ElementsAre(1, 0, 1));
  EXPECT_EQ(last.final().prompt_depth().mean_depth(), 2.0);
  EXPECT_EQ(last.final().generated_depth().mean_depth(), 2.0);
  EXPECT_GT(last.final().timings().total_us(), 0U);
}

TEST_F(RpcTest, CompleteIsTheConcatenationOfGenerate) {
  StartScripted(MakeTokens({"a", "bc", "", "\xC3\xA4", " d"}), EndReason::kEndOfSequence);
  v1::GenerateRequest request = TextRequest();
  request.mutable_sampling()->set_seed(5);
  const StreamEnd streamed = Generate(request);
  ASSERT_TRUE(streamed.status.ok());

  grpc::ClientContext context;
  v1::CompleteResponse whole;
  ASSERT_TRUE(NewStub()->Complete(&context, request, &whole).ok());
  v1::CompleteResponse joined;
  for (const auto& message : streamed.messages) {
    joined.mutable_text()->append(message.text());
    joined.mutable_tokens()->MergeFrom(message.tokens());
    *joined.mutable_usage() = message.usage();
    if (message.has_final()) *joined.mutable_final() = message.final();
  }
  whole.mutable_final()->clear_timings();
  joined.mutable_final()->clear_timings();
  EXPECT_TRUE(google::protobuf::util::MessageDifferencer::Equals(whole, joined))
      << whole.DebugString() << joined.DebugString();
  EXPECT_EQ(whole.tokens_size(), 5);
}

TEST_F(RpcTest, EveryFinishReasonIsTold) {
  Start();
  const std::pair<EndReason, v1::FinishReason> kReasons[] = {
      {EndReason::kEndOfSequence, v1::FINISH_REASON_END_OF_SEQUENCE},
      {EndReason::kStopString, v1::FINISH_REASON_STOP_STRING},
      {EndReason::kStopToken, v1::FINISH_REASON_STOP_TOKEN},
      {EndReason::kLength, v1::FINISH_REASON_LENGTH},
      {EndReason::kContextLimit, v1::FINISH_REASON_CONTEXT_LIMIT},
      {EndReason::kTimeLimit, v1::FINISH_REASON_TIME_LIMIT},
      {EndReason::kDrained, v1::FINISH_REASON_DRAINED}};
  Engine::SampleId id = 0;
  for (const auto& [reason, expected] : kReasons) {
    std::thread engine_side([&, reason = reason] {
      engine_->WaitForRequest(id++);
      engine_->Emit(id, MakeTokens({"x"}));
      Finish finish;
      finish.reason = reason;
      finish.preemptions = 2;
      finish.cached_tokens = 4;
      finish.recomputed_tokens = 30;
      finish.recompute_time = std::chrono::milliseconds(4);
      if (reason == EndReason::kLength) {
        finish.lowered_tokens = 5;
        finish.lowest_cap = 2;
      }
      if (reason == EndReason::kStopString) finish.stop_string = "END";
      if (reason == EndReason::kStopToken) finish.stop_token_id = 9;
      engine_->End(id, finish);
    });
    const StreamEnd end = Generate(TextRequest());
    engine_side.join();
    ASSERT_TRUE(end.status.ok());
    const v1::FinalInfo& info = end.messages.back().final();
    EXPECT_EQ(info.finish_reason(), expected);
    EXPECT_EQ(info.has_stop_string(), reason == EndReason::kStopString);
    EXPECT_EQ(info.stop_token_id(), reason == EndReason::kStopToken ? 9U : 0U);
    EXPECT_EQ(info.preemptions(), 2U);
    EXPECT_EQ(info.cached_tokens(), 4U);
    EXPECT_EQ(info.recomputed_tokens(), 30U);
    EXPECT_EQ(info.recompute_us(), 4000U);
    EXPECT_EQ(info.has_lowered_depth(), reason == EndReason::kLength);
    EXPECT_EQ(info.lowered_depth().tokens(), reason == EndReason::kLength ? 5U : 0U);
    EXPECT_EQ(info.lowered_depth().lowest_cap(), reason == EndReason::kLength ? 2U : 0U);
    EXPECT_EQ(end.text(), "x");
    EXPECT_EQ(MetricValue(MetricsPage(), "recurve_request_finished_total{reason=\"" +
                                             std::string(EndReasonName(reason)) + "\"}"),
              1.0);
  }
}

// As the engine tells of tokens within a stop string: in its counts alone.
TEST_F(RpcTest, TokensWithoutTextCountAsGenerated) {
  Start();
  std::thread engine_side([&] {
    engine_->WaitForRequest(0);
    engine_->Emit(1, MakeTokens({"a"}));
    engine_->HoldBack(1, 2);
    Finish finish;
    finish.reason = EndReason::kStopString;
    engine_->End(1, finish);
  });
  const StreamEnd end = Generate(TextRequest());
  engine_side.join();
  ASSERT_TRUE(end.status.ok());
  EXPECT_EQ(end.text(), "a");
  EXPECT_EQ(end.messages.back().usage().generated_tokens(), 3U);
}

TEST_F(RpcTest, LogprobsAreTranslated) {
  Start();
  std::thread engine_side([&] {
    engine_->WaitForRequest(0);
    engine_->EmitPromptLogprobs(1, {{-0.5F, {{65, -0.5F}}}, {-1.0F, {}}});
    std::vector<OwnedToken> tokens = MakeTokens({"x"});
    tokens[0].logprobs = PositionLogprobs{-0.25F, {{66, -0.25F}, {67, -2.0F}}};
    engine_->Emit(1, tokens);
    Finish finish;
    finish.prompt_token_depths = {3, 1, 2};
    engine_->End(1, finish);
  });
  const StreamEnd end = Generate(TextRequest());
  engine_side.join();
  ASSERT_TRUE(end.status.ok());
  v1::GenerateResponse all;  // how many messages they came in is the writer's affair
  for (const auto& message : end.messages) all.MergeFrom(message);
  ASSERT_EQ(all.prompt_logprobs_size(), 2);
  EXPECT_EQ(all.prompt_logprobs(0).logprob(), -0.5F);
  EXPECT_EQ(all.prompt_logprobs(0).top(0).text(), "A");
  EXPECT_EQ(all.prompt_logprobs(1).top_size(), 0);
  ASSERT_EQ(all.tokens_size(), 1);
  EXPECT_EQ(all.tokens(0).logprobs().logprob(), -0.25F);
  EXPECT_EQ(all.tokens(0).logprobs().top(1).id(), 67U);
  EXPECT_EQ(all.tokens(0).logprobs().top(1).text(), "C");
  EXPECT_THAT(all.final().prompt_token_depths(), ElementsAre(3, 1, 2));
}

TEST_F(RpcTest, DeadlineAndTimeLimitReachTheEngine) {
  StartScripted(MakeTokens({"x"}));
  v1::GenerateRequest request = TextRequest();
  request.set_time_limit_ms(1500);
  grpc::ClientContext context;
  context.set_deadline(std::chrono::system_clock::now() + std::chrono::seconds(60));
  ASSERT_TRUE(Generate(request, &context).status.ok());
  ASSERT_TRUE(Generate(TextRequest()).status.ok());

  const Request limited = engine_->WaitForRequest(0);
  ASSERT_TRUE(limited.deadline.has_value());
  EXPECT_LE(*limited.deadline - limited.arrival, std::chrono::seconds(61));
  EXPECT_GT(*limited.deadline - limited.arrival, std::chrono::seconds(20));
  EXPECT_EQ(*limited.time_limit - limited.arrival, std::chrono::milliseconds(1500));
  const Request free = engine_->WaitForRequest(1);
  EXPECT_FALSE(free.deadline.has_value());
  EXPECT_FALSE(free.time_limit.has_value());
}

TEST_F(RpcTest, TenantAndRequestIdArePassedOnAndTheIdIsEchoedOrMade) {
  StartScripted(MakeTokens({"x"}));
  grpc::ClientContext named;
  named.AddMetadata("x-request-id", "client 42");
  named.AddMetadata("x-recurve-tenant", "acme");
  ASSERT_TRUE(Generate(TextRequest(), &named).status.ok());
  EXPECT_EQ(engine_->WaitForRequest(0).id, "client 42");
  EXPECT_EQ(engine_->WaitForRequest(0).tenant, "acme");
  EXPECT_EQ(MetadataValue(named.GetServerInitialMetadata(), "x-request-id"), "client 42");

  grpc::ClientContext unnamed;
  v1::CompleteResponse response;
  ASSERT_TRUE(NewStub()->Complete(&unnamed, TextRequest(), &response).ok());
  const std::string made = engine_->WaitForRequest(1).id;
  EXPECT_EQ(made.size(), 16U);
  EXPECT_EQ(MetadataValue(unnamed.GetServerInitialMetadata(), "x-request-id"), made);
}

TEST_F(RpcTest, NamesThatAreTooLongOrEmptyAreRefused) {
  StartScripted(MakeTokens({"x"}));
  const std::pair<std::pair<const char*, size_t>, const char*> names[] = {
      {{"x-request-id", 129}, "x-request-id has 129 characters; it must have from 1 to 128"},
      {{"x-recurve-tenant", 129},
       "x-recurve-tenant has 129 characters; it must have from 1 to 128"},
      {{"x-recurve-tenant", 0}, "x-recurve-tenant has 0 characters; it must have from 1 to 128"}};
  for (const auto& [name, message] : names) {
    grpc::ClientContext context;
    context.AddMetadata(name.first, std::string(name.second, 'n'));
    const StreamEnd end = Generate(TextRequest(), &context);
    EXPECT_EQ(end.status.error_code(), grpc::StatusCode::INVALID_ARGUMENT);
    EXPECT_THAT(end.status.error_message(), HasSubstr(message));
  }
  EXPECT_EQ(engine_->num_accepted(), 0U);
}

TEST_F(RpcTest, RefusalsOfTheEngineAreToldBeforeAnyInitialMetadata) {
  Start();
  const std::pair<absl::Status, grpc::StatusCode> kRefusals[] = {
      {absl::InvalidArgumentError("prompt: 600 tokens; limit 512"),
       grpc::StatusCode::INVALID_ARGUMENT},
      {absl::ResourceExhaustedError("queue full"), grpc::StatusCode::RESOURCE_EXHAUSTED},
      {absl::UnavailableError("draining"), grpc::StatusCode::UNAVAILABLE},
      {absl::InternalError("broken"), grpc::StatusCode::INTERNAL}};
  for (const auto& [refusal, code] : kRefusals) {
    engine_->RefuseWith(refusal);
    grpc::ClientContext context;
    context.AddMetadata("x-request-id", "refused");
    const StreamEnd end = Generate(TextRequest(), &context);
    EXPECT_EQ(end.status.error_code(), code);
    EXPECT_EQ(end.status.error_message(), std::string(refusal.message()));
    EXPECT_TRUE(end.messages.empty());
    EXPECT_EQ(MetadataValue(context.GetServerInitialMetadata(), "x-request-id"), "");
    EXPECT_EQ(MetadataValue(context.GetServerTrailingMetadata(), "x-request-id"), "refused");
    EXPECT_EQ(MetadataValue(context.GetServerTrailingMetadata(), "grpc-retry-pushback-ms"),
              code == grpc::StatusCode::RESOURCE_EXHAUSTED ? "1000" : "");

    grpc::ClientContext unary;
    v1::CompleteResponse response;
    EXPECT_EQ(NewStub()->Complete(&unary, TextRequest(), &response).error_code(), code);
  }
  const std::string page = MetricsPage();
  EXPECT_EQ(MetricValue(page, "recurve_admission_rejections_total{reason=\"queue_full\"}"), 2.0);
  EXPECT_EQ(MetricValue(page, "recurve_admission_rejections_total{reason=\"engine_failed\"}"), 2.0);
  EXPECT_EQ(MetricValue(page, "recurve_admission_rejections_total{reason=\"invalid\"}"), 4.0);
}

// gRPC's own client retries after the pushback; it would not if initial metadata had been sent.
TEST_F(RpcTest, ClientLibraryRetriesAfterPushback) {
  options_.admission.retry_pushback = Milliseconds(1);
  engine_ = std::make_unique<FakeEngine>(FakeEngine::Script{MakeTokens({"x"}), {}});
  Start();
  engine_->RefuseWith(absl::ResourceExhaustedError("queue full"));
  grpc::ChannelArguments arguments;
  arguments.SetServiceConfigJSON(R"({"methodConfig": [{"name": [{}], "retryPolicy": {
      "maxAttempts": 2, "initialBackoff": "600s", "maxBackoff": "600s", "backoffMultiplier": 1,
      "retryableStatusCodes": ["RESOURCE_EXHAUSTED"]}}]})");
  const auto stub = v1::GenerationService::NewStub(NewChannel(arguments));
  grpc::ClientContext context;
  const StreamEnd end = ReadAll(stub->Generate(&context, TextRequest()).get());
  EXPECT_EQ(end.status.error_code(), grpc::StatusCode::RESOURCE_EXHAUSTED);
  EXPECT_EQ(MetricValue(MetricsPage(), "recurve_admission_rejections_total{reason=\"queue_full\"}"),
            2.0);
}

// The bytes that others get, C-core's clients do not show; tests/e2e/load_report_test.py has them.
TEST_F(RpcTest, LoadIsToldAsTextWhereTheClientAsksForThat) {
  StartScripted(MakeTokens({"x"}));
  const std::pair<const char*, const char*> kForms[] = {
      {"TEXT", "TEXT application_utilization="}, {"JSON", "JSON {\"application_utilization\":"}};
  for (const auto& [format, beginning] : kForms) {
    grpc::ClientContext stream, unary, refused;
    for (grpc::ClientContext* context : {&stream, &unary, &refused}) {
      context->AddMetadata("endpoint-load-metrics-format", format);
    }
    v1::CompleteResponse response;
    EXPECT_TRUE(Generate(TextRequest(), &stream).status.ok());
    EXPECT_TRUE(NewStub()->Complete(&unary, TextRequest(), &response).ok());
    v1::GenerateRequest bad = TextRequest();
    bad.mutable_sampling()->set_temperature(-1);
    EXPECT_FALSE(Generate(bad, &refused).status.ok());
    for (grpc::ClientContext* context : {&stream, &unary, &refused}) {
      const std::string load =
          MetadataValue(context->GetServerTrailingMetadata(), "endpoint-load-metrics");
      EXPECT_THAT(load, testing::StartsWith(beginning));
      EXPECT_THAT(load, HasSubstr("waiting_tokens"));
    }
    EXPECT_TRUE(refused.GetServerInitialMetadata().empty());  // it may be retried
  }
  grpc::ClientContext other;
  other.AddMetadata("endpoint-load-metrics-format", "XML");
  EXPECT_TRUE(Generate(TextRequest(), &other).status.ok());
  EXPECT_EQ(MetadataValue(other.GetServerTrailingMetadata(), "endpoint-load-metrics"), "");
}

TEST_F(RpcTest, InvalidRequestsNeverReachTheEngine) {
  StartScripted(MakeTokens({"x"}));
  v1::GenerateRequest request = TextRequest();
  request.mutable_sampling()->set_temperature(-1);
  const StreamEnd end = Generate(request);
  EXPECT_EQ(end.status.error_code(), grpc::StatusCode::INVALID_ARGUMENT);
  EXPECT_THAT(end.status.error_message(), HasSubstr("sampling.temperature is -1"));
  EXPECT_EQ(engine_->num_accepted(), 0U);
}

TEST_F(RpcTest, OversizeMessageIsRefused) {
  options_.listen.max_message_bytes = 2000;
  Start();
  const StreamEnd end = Generate(TextRequest(std::string(3000, 'x')));
  EXPECT_EQ(end.status.error_code(), grpc::StatusCode::RESOURCE_EXHAUSTED);
}

TEST_F(RpcTest, EverythingIsUnavailableWhileTheModelLoads) {
  Start(/*ready=*/false);
  const auto stub = NewStub();
  EXPECT_EQ(Generate(TextRequest()).status.error_code(), grpc::StatusCode::UNAVAILABLE);
  const auto unavailable = [](const auto& call) {
    grpc::ClientContext context;
    const grpc::Status status = call(&context);
    EXPECT_EQ(status.error_code(), grpc::StatusCode::UNAVAILABLE);
    EXPECT_THAT(status.error_message(), HasSubstr("loading"));
  };
  v1::CompleteResponse complete;
  v1::TokenizeResponse tokenize;
  v1::DetokenizeResponse detokenize;
  v1::GetModelInfoResponse info;
  v1::GetLoadResponse load;
  unavailable([&](auto* context) { return stub->Complete(context, TextRequest(), &complete); });
  unavailable([&](auto* context) { return stub->Tokenize(context, {}, &tokenize); });
  unavailable([&](auto* context) { return stub->Detokenize(context, {}, &detokenize); });
  unavailable([&](auto* context) { return stub->GetModelInfo(context, {}, &info); });
  unavailable([&](auto* context) { return stub->GetLoad(context, {}, &load); });
  EXPECT_EQ(MetricValue(MetricsPage(), "recurve_admission_rejections_total{reason=\"loading\"}"),
            2.0);
}

TEST_F(RpcTest, TokenizeAndDetokenize) {
  Start();
  const auto stub = NewStub();
  {
    grpc::ClientContext context;
    v1::TokenizeRequest request;
    request.set_text("AB");
    v1::TokenizeResponse response;
    ASSERT_TRUE(stub->Tokenize(&context, request, &response).ok());
    EXPECT_THAT(response.ids(), ElementsAre(256, 65, 66));
    EXPECT_EQ(response.texts_size(), 0);
  }
  {
    grpc::ClientContext context;
    v1::TokenizeRequest request;
    request.set_text("AB");
    request.set_add_special_tokens(false);
    request.set_with_text(true);
    v1::TokenizeResponse response;
    ASSERT_TRUE(stub->Tokenize(&context, request, &response).ok());
    EXPECT_THAT(response.ids(), ElementsAre(65, 66));
    EXPECT_THAT(response.texts(), ElementsAre("A", "B"));
  }
  v1::DetokenizeRequest request;
  for (const uint32_t id : {256, 67, 68}) request.add_ids(id);
  for (const bool skip : {true, false}) {
    grpc::ClientContext context;
    if (!skip) request.set_skip_special_tokens(false);
    v1::DetokenizeResponse response;
    ASSERT_TRUE(stub->Detokenize(&context, request, &response).ok());
    EXPECT_EQ(response.text(), skip ? "CD" : "<s>CD");
  }
  {
    grpc::ClientContext context;
    request.set_with_text(true);
    v1::DetokenizeResponse response;
    ASSERT_TRUE(stub->Detokenize(&context, request, &response).ok());
    EXPECT_THAT(response.texts(), ElementsAre("<s>", "C", "D"));
  }
  grpc::ClientContext context;
  request.add_ids(300);
  v1::DetokenizeResponse response;
  EXPECT_EQ(stub->Detokenize(&context, request, &response).error_code(),
            grpc::StatusCode::INVALID_ARGUMENT);
}

TEST_F(RpcTest, ModelInfo) {
  options_.listen.max_message_bytes = 12345;
  Start();
  grpc::ClientContext context;
  v1::GetModelInfoResponse info;
  ASSERT_TRUE(NewStub()->GetModelInfo(&context, {}, &info).ok());
  EXPECT_EQ(info.model_name(), "fake");
  EXPECT_EQ(info.num_recursions(), 3U);
  EXPECT_EQ(info.server_version().empty(), false);
  EXPECT_THAT(info.eos_token_ids(), ElementsAre(0, 7));
  EXPECT_EQ(info.limits().max_message_bytes(), 12345U);
  EXPECT_EQ(info.limits().max_top_logprobs(), kMaxTopLogprobs);
  EXPECT_EQ(info.limits().max_samples(), kMaxSamples);
  EXPECT_EQ(info.limits().max_queued_requests(), 256U);
  EXPECT_TRUE(info.has_tokenizer());
  ASSERT_EQ(info.chat_templates_size(), 1);
  EXPECT_EQ(info.chat_templates(0).name(), "default");
  EXPECT_EQ(info.chat_templates(0).text(), "{{ messages }}");
  EXPECT_EQ(info.special_tokens().at("bos_token"), "<s>");
}

TEST_F(RpcTest, TokenizeRefusesAnIdThatNoCallCanHave) {
  Start();
  grpc::ClientContext context;
  context.AddMetadata("x-request-id", std::string(kMaxRequestIdBytes + 1, 'x'));
  v1::TokenizeResponse response;
  const grpc::Status status = NewStub()->Tokenize(&context, {}, &response);
  EXPECT_EQ(status.error_code(), grpc::StatusCode::INVALID_ARGUMENT);
  EXPECT_THAT(status.error_message(), HasSubstr("x-request-id has 129 characters"));
}

}  // namespace
}  // namespace recurve
