// SPDX-License-Identifier: Apache-2.0
// What the log says of calls.
#include "gmock/gmock.h"
#include "tests/server/server_fixture.h"

namespace recurve {
namespace {

using testing::HasSubstr;
using testing::Not;

class RpcLogTest : public ServerTest {};

TEST_F(RpcLogTest, OneLineARequestAndNeverItsText) {
  engine_ = std::make_unique<FakeEngine>(
      FakeEngine::Script{MakeTokens({"secret-answer"}), EndReason::kLength});
  Start();
  grpc::ClientContext context;
  context.AddMetadata("x-request-id", "a b\" code=OK");
  ASSERT_TRUE(Generate(TextRequest("secret-question"), &context).status.ok());
  engine_->RefuseWith(absl::ResourceExhaustedError("queue full"));
  Generate(TextRequest("secret-question"));
  Stop();
  const std::vector<std::string> lines = LogLines();
  ASSERT_EQ(lines.size(), 2U);
  EXPECT_THAT(lines[0], HasSubstr(" request id=\"a b\\\" code=OK\" method=Generate code=OK "
                                  "reason=length prompt_tokens=15 generated_tokens=1 "
                                  "mean_depth=2 preemptions=0 queue_ms="));
  EXPECT_THAT(lines[0], HasSubstr(" ttft_ms="));
  EXPECT_THAT(lines[0], HasSubstr(" total_ms="));
  EXPECT_THAT(lines[1],
              HasSubstr("code=RESOURCE_EXHAUSTED refused=queue_full error=\"queue full\""));
  for (const std::string& line : lines) EXPECT_THAT(line, Not(HasSubstr("secret")));
}

TEST_F(RpcLogTest, ALineOfTokenizeAndDetokenizeWithoutTheirText) {
  options_.log.prompts = true;
  Start();
  const auto stub = NewStub();
  const auto ask = [](const std::string& id, const auto& call) {
    grpc::ClientContext context;
    context.AddMetadata("x-request-id", id);
    const grpc::Status status = call(&context);
    EXPECT_EQ(MetadataValue(status.ok() ? context.GetServerInitialMetadata()
                                        : context.GetServerTrailingMetadata(),
                            "x-request-id"),
              id);
  };
  v1::TokenizeRequest text;
  text.set_text("secret");
  v1::TokenizeResponse ids;
  ask("first", [&](auto* context) { return stub->Tokenize(context, text, &ids); });
  v1::DetokenizeRequest bad;
  bad.add_ids(300);
  v1::DetokenizeResponse read;
  ask("second", [&](auto* context) { return stub->Detokenize(context, bad, &read); });
  Stop();
  const std::vector<std::string> lines = LogLines();
  ASSERT_EQ(lines.size(), 2U);
  EXPECT_THAT(lines[0], HasSubstr(" request id=first method=Tokenize code=OK total_ms="));
  EXPECT_THAT(lines[1],
              HasSubstr(" request id=second method=Detokenize code=INVALID_ARGUMENT error="));
  for (const std::string& line : lines) EXPECT_THAT(line, Not(HasSubstr("secret")));
}

TEST_F(RpcLogTest, NoLineOfCallsThatAskHowThingsAre) {
  Start();
  const auto stub = NewStub();
  {
    grpc::ClientContext context;
    v1::GetLoadResponse load;
    EXPECT_TRUE(stub->GetLoad(&context, {}, &load).ok());
  }
  {
    grpc::ClientContext context;
    v1::GetModelInfoResponse info;
    EXPECT_TRUE(stub->GetModelInfo(&context, {}, &info).ok());
  }
  EXPECT_EQ(MetricValue(MetricsPage(), "recurve_requests_total{code=\"OK\",method=\"GetLoad\"}"),
            1.0);
  Stop();
  EXPECT_THAT(LogLines(), testing::IsEmpty());
}

}  // namespace
}  // namespace recurve
