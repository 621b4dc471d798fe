// SPDX-License-Identifier: Apache-2.0
// Quotas as clients see them, and what the log has of calls.
#include <string>
#include <thread>

#include "gmock/gmock.h"
#include "inference/inference.grpc.pb.h"
#include "tests/server/security_fixture.h"
#include "vllm/grpc/engine/vllm_engine.grpc.pb.h"

namespace recurve {
namespace {

using testing::AllOf;
using testing::HasSubstr;
using testing::Not;

TEST_F(SecurityTest, AnEmptyBucketSaysWhenToComeBack) {
  directory_.Write("access.json", R"({"quotas": {"alice": {"tokens_per_minute": 600}}})");
  options_.access.file = Path("access.json");
  engine_ = std::make_unique<FakeEngine>();
  Start();
  v1::GenerateRequest request = TextRequest();
  request.mutable_stop()->set_max_tokens(500);
  grpc::ClientContext first;
  first.AddMetadata("x-recurve-tenant", "alice");
  const auto stub = NewStub();
  const auto reader = stub->Generate(&first, request);
  engine_->WaitForRequest(0);
  EXPECT_EQ(MetricValue(MetricsPage(), "recurve_tenants_tracked"), 1);
  grpc::ClientContext second;
  second.AddMetadata("x-recurve-tenant", "alice");
  const grpc::Status refused = Generate(request, &second).status;
  EXPECT_EQ(refused.error_code(), grpc::StatusCode::RESOURCE_EXHAUSTED);
  EXPECT_THAT(refused.error_message(), AllOf(HasSubstr("tenant 'alice'"), HasSubstr("of 600;")));
  const auto& trailers = second.GetServerTrailingMetadata();
  const auto pushback = trailers.find("grpc-retry-pushback-ms");
  ASSERT_NE(pushback, trailers.end());
  const int milliseconds = std::stoi(std::string(pushback->second.data(), pushback->second.size()));
  EXPECT_GT(milliseconds, 0);  // 410 of 600 are missing, less what has come since
  EXPECT_LE(milliseconds, 41000);
  EXPECT_TRUE(second.GetServerInitialMetadata().empty());  // trailers alone, for retries
  EXPECT_EQ(
      MetricValue(MetricsPage(), "recurve_admission_rejections_total{reason=\"quota_tokens\"}"), 1);
  engine_->End(1, {});
  EXPECT_TRUE(ReadAll(reader.get()).status.ok());
}

TEST_F(SecurityTest, QuotasAreReloaded) {
  directory_.Write("access.json", R"({"quotas": {"*": {"requests": 0}}})");
  options_.access.file = Path("access.json");
  options_.access.reload_interval = Milliseconds(10);
  Start();
  EXPECT_EQ(Complete(NewChannel(), {}).error_code(), grpc::StatusCode::RESOURCE_EXHAUSTED);
  directory_.Write("access.json", R"({"quotas": {"*": {"requests": 9}}})");
  while (!Complete(NewChannel(), {}).ok()) {
    std::this_thread::sleep_for(std::chrono::milliseconds(2));
  }
}

class LogTest : public SecurityTest, public testing::WithParamInterface<bool> {};

TEST_P(LogTest, HasNoPromptUnlessAskedFor) {
  options_.log.format = LogFormat::kJson;
  options_.log.prompts = GetParam();
  UseTokens();
  Start();
  const auto channel = NewChannel();
  const auto call = [&](const v1::GenerateRequest& request, const Sent& sent) {
    grpc::ClientContext context;
    Fill(sent, &context);
    context.AddMetadata("traceparent", "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01");
    v1::CompleteResponse response;
    const auto stub = v1::GenerationService::NewStub(channel);
    return stub->Complete(&context, request, &response).error_code();
  };
  const Sent alice{.authorization = "Bearer alice-1.s3cret"};
  v1::GenerateRequest request = TextRequest("the MARKER of a prompt");
  request.mutable_stop()->add_stop_strings("MARKER at the end");
  EXPECT_EQ(call(request, alice), grpc::StatusCode::OK);
  EXPECT_EQ(call(request, {}), grpc::StatusCode::UNAUTHENTICATED);
  request.mutable_stop()->add_stop_strings("MARKER " + std::string(kMaxStopStringBytes, 'x'));
  EXPECT_EQ(call(request, alice), grpc::StatusCode::INVALID_ARGUMENT);
  request.mutable_stop()->set_stop_strings(1, "");
  EXPECT_EQ(call(request, alice), grpc::StatusCode::INVALID_ARGUMENT);
  request.mutable_stop()->mutable_stop_strings()->Clear();
  request.mutable_sampling()->set_top_p(7);
  EXPECT_EQ(call(request, alice), grpc::StatusCode::INVALID_ARGUMENT);
  request = TextRequest("MARKER " + std::string(600, 'x'));
  call(request, alice);
  engine_->RefuseWith(absl::ResourceExhaustedError("queue full"));
  EXPECT_EQ(call(request, alice), grpc::StatusCode::RESOURCE_EXHAUSTED);
  {
    grpc::ClientContext context;
    Fill(alice, &context);
    v1::TokenizeRequest tokenize;
    tokenize.set_text("MARKER");
    v1::TokenizeResponse response;
    v1::GenerationService::NewStub(channel)->Tokenize(&context, tokenize, &response);
  }
  // The other services say what they are asked no more than that.
  {
    grpc::ClientContext context;
    Fill(alice, &context);
    vllm::grpc::engine::GenerateRequest vllm_request;
    vllm_request.set_text("MARKER");
    vllm_request.mutable_sampling_params()->add_stop("MARKER" +
                                                     std::string(kMaxStopStringBytes, 'x'));
    const auto reader =
        vllm::grpc::engine::VllmEngine::NewStub(channel)->Generate(&context, vllm_request);
    EXPECT_EQ(reader->Finish().error_code(), grpc::StatusCode::INVALID_ARGUMENT);
  }
  for (const char* parameters : {R"({"stop": [{"text": "MARKER"}]})", R"({"stop": "MARKER)"}) {
    grpc::ClientContext context;
    Fill(alice, &context);
    inference::ModelInferRequest infer;
    infer.set_model_name(engine_->Info().model_name);
    for (const auto& [name, text] :
         {std::pair("text_input", "MARKER"), std::pair("sampling_parameters", parameters)}) {
      inference::ModelInferRequest::InferInputTensor* input = infer.add_inputs();
      input->set_name(name);
      input->set_datatype("BYTES");
      input->add_shape(1);
      input->mutable_contents()->add_bytes_contents(text);
    }
    inference::ModelInferResponse response;
    const auto stub = inference::GRPCInferenceService::NewStub(channel);
    EXPECT_EQ(stub->ModelInfer(&context, infer, &response).error_code(),
              grpc::StatusCode::INVALID_ARGUMENT);
  }
  Stop();
  const std::vector<std::string> lines = LogLines();
  int marked = 0;
  for (const std::string& line : lines) {
    marked += line.find("MARKER") != line.npos;
    EXPECT_THAT(line, Not(HasSubstr("s3cret")));
  }
  EXPECT_EQ(marked, GetParam() ? 9 : 0);
  ASSERT_GE(lines.size(), 7U);
  EXPECT_THAT(lines[0], AllOf(HasSubstr("\"event\":\"request\""), HasSubstr("\"tenant\":\"alice\""),
                              HasSubstr("\"trace_id\":\"4bf92f3577b34da6a3ce929d0e0e4736\""),
                              HasSubstr("\"generated_tokens\":1"), HasSubstr("\"total_ms\":")));
  EXPECT_THAT(lines[1],
              AllOf(HasSubstr("\"refused\":\"unauthenticated\""), Not(HasSubstr("MARKER"))));
}

INSTANTIATE_TEST_SUITE_P(Prompts, LogTest, testing::Bool());

}  // namespace
}  // namespace recurve
