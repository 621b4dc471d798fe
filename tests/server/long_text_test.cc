// SPDX-License-Identifier: Apache-2.0
// Long texts hold up neither short ones nor each other's kind.
#include <atomic>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "gmock/gmock.h"
#include "server/call/intake.h"
#include "tests/server/server_fixture.h"

namespace recurve {
namespace {

using testing::HasSubstr;

class LongTextTest : public ServerTest {};

// Such prompts are refused where they arrive, and neither wait nor are waited for: here every
// thread that tokenizes is held.
TEST_F(LongTextTest, APromptThatCannotFitIsRefusedWithoutATurn) {
  engine_->SetMaxPromptBytes(2000);
  Start();
  engine_->HoldTokenize();
  const auto stub = NewStub();
  std::vector<std::thread> callers;
  // The thread of long texts must be held first, or it could take the short one.
  for (const size_t bytes : {Intake::kShortBytes + 1, size_t{1}}) {
    callers.emplace_back([&stub, bytes] {
      grpc::ClientContext context;
      v1::TokenizeRequest request;
      request.set_text(std::string(bytes, ' '));
      v1::TokenizeResponse response;
      EXPECT_TRUE(stub->Tokenize(&context, request, &response).ok());
    });
    engine_->WaitForTokenize(static_cast<int>(callers.size()));
  }
  const StreamEnd text = Generate(TextRequest(std::string(2001, ' ')));
  EXPECT_EQ(text.status.error_code(), grpc::StatusCode::INVALID_ARGUMENT);
  EXPECT_THAT(text.status.error_message(), HasSubstr("text has 2001 bytes"));
  v1::GenerateRequest request;
  for (uint32_t i = 0; i <= engine_->Info().max_context; ++i) request.mutable_tokens()->add_ids(1);
  const StreamEnd tokens = Generate(request);
  EXPECT_EQ(tokens.status.error_code(), grpc::StatusCode::INVALID_ARGUMENT);
  EXPECT_THAT(tokens.status.error_message(), HasSubstr("tokens has 513 ids"));
  EXPECT_EQ(MetricValue(MetricsPage(), "recurve_admission_rejections_total{reason=\"invalid\"}"),
            2.0);
  engine_->ReleaseTokenize();
  for (std::thread& caller : callers) caller.join();
}

TEST_F(LongTextTest, LongTokenizeCallsDoNotHoldUpGenerateAndHaveABoundOfTheirOwn) {
  options_.engine.schedule.max_queued_requests = 2;
  engine_ = std::make_unique<FakeEngine>(FakeEngine::Script{MakeTokens({"x"}), {}});
  Start();
  engine_->HoldTokenize();
  const auto stub = NewStub();
  v1::TokenizeRequest request;
  request.set_text(std::string(Intake::kShortBytes + 1, ' '));
  std::atomic<int> refused = 0;
  std::vector<std::thread> callers;
  for (int i = 0; i < 4; ++i) {
    callers.emplace_back([&] {
      grpc::ClientContext context;
      v1::TokenizeResponse response;
      const grpc::Status status = stub->Tokenize(&context, request, &response);
      if (status.ok()) return;
      EXPECT_EQ(status.error_code(), grpc::StatusCode::RESOURCE_EXHAUSTED);
      EXPECT_THAT(status.error_message(), HasSubstr("allows, 2 calls or 268435456 bytes"));
      EXPECT_EQ(context.GetServerTrailingMetadata().count("grpc-retry-pushback-ms"), 1U);
      ++refused;
    });
    if (i == 0) engine_->WaitForTokenize(1);
  }
  while (refused == 0) std::this_thread::yield();  // two wait: one more was refused
  EXPECT_EQ(MetricValue(MetricsPage(), "recurve_texts_waiting{kind=\"tool\"}"), 2.0);
  EXPECT_TRUE(Generate(TextRequest()).status.ok());
  EXPECT_EQ(MetricValue(MetricsPage(), "recurve_texts_waiting{kind=\"tool\"}"), 2.0);
  engine_->ReleaseTokenize();
  for (std::thread& caller : callers) caller.join();
  EXPECT_EQ(refused, 1);
}

}  // namespace
}  // namespace recurve
