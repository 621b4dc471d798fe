// SPDX-License-Identifier: Apache-2.0
// Calls of vllm.grpc.engine.VllmEngine, as gateways see them.
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "gmock/gmock.h"
#include "server/grpc/tokenizer_stream.h"
#include "tests/server/server_fixture.h"
#include "vllm/grpc/engine/vllm_engine.grpc.pb.h"

namespace recurve {
namespace {

namespace pb = vllm::grpc::engine;
using testing::ElementsAre;
using testing::HasSubstr;

pb::GenerateRequest TokensRequest(const std::string& id) {
  pb::GenerateRequest request;
  request.set_request_id(id);
  request.set_stream(true);
  for (const uint32_t token : {7, 8, 9}) request.mutable_tokenized()->add_input_ids(token);
  return request;
}

class VllmRpcTest : public ServerTest {
 protected:
  struct End {
    std::vector<pb::GenerateResponse> messages;
    grpc::Status status;
  };

  std::unique_ptr<pb::VllmEngine::Stub> NewVllmStub() {
    return pb::VllmEngine::NewStub(NewChannel());
  }
  // Reads a call to its end.
  End Call(const pb::GenerateRequest& request, const std::string& tenant = "") {
    grpc::ClientContext context;
    if (!tenant.empty()) context.AddMetadata("x-recurve-tenant", tenant);
    const auto stub = NewVllmStub();
    const auto reader = stub->Generate(&context, request);
    End end;
    pb::GenerateResponse message;
    while (reader->Read(&message)) end.messages.push_back(message);
    end.status = reader->Finish();
    return end;
  }
  struct TokenizerEnd {
    std::vector<pb::GetTokenizerChunk> chunks;
    grpc::Status status;
  };
  TokenizerEnd GetTokenizer() {
    grpc::ClientContext context;
    const auto stub = NewVllmStub();
    const auto reader = stub->GetTokenizer(&context, {});
    TokenizerEnd end;
    pb::GetTokenizerChunk chunk;
    while (reader->Read(&chunk)) end.chunks.push_back(chunk);
    end.status = reader->Finish();
    return end;
  }
  void AbortById(const std::string& id, const std::string& tenant = "") {
    grpc::ClientContext context;
    if (!tenant.empty()) context.AddMetadata("x-recurve-tenant", tenant);
    pb::AbortRequest request;
    request.add_request_ids("nobody's");
    request.add_request_ids(id);
    pb::AbortResponse response;
    EXPECT_TRUE(NewVllmStub()->Abort(&context, request, &response).ok());
  }
};

TEST_F(VllmRpcTest, AStreamHasItsTokensInOrderAndItsIdInTheLog) {
  engine_ = std::make_unique<FakeEngine>(
      FakeEngine::Script{MakeTokens({"a", "b", "c"}), EndReason::kLength});
  Start();
  const End end = Call(TokensRequest("gateway-1"));
  ASSERT_TRUE(end.status.ok()) << end.status.error_message();
  std::vector<uint32_t> ids;
  for (const pb::GenerateResponse& message : end.messages) {
    for (const uint32_t id : message.chunk().token_ids()) ids.push_back(id);
  }
  EXPECT_THAT(ids, ElementsAre(0, 1, 2));
  EXPECT_THAT(end.messages.back().complete().output_ids(), ElementsAre(0, 1, 2));
  EXPECT_EQ(end.messages.back().complete().finish_reason(), "length");
  EXPECT_EQ(engine_->WaitForRequest(0).id, "gateway-1");
  Stop();
  EXPECT_THAT(LogLines(), testing::Contains(testing::AllOf(HasSubstr("gateway-1"),
                                                           HasSubstr("VllmEngine.Generate"))));
}

TEST_F(VllmRpcTest, WithoutStreamOneMessageASample) {
  engine_ = std::make_unique<FakeEngine>(
      FakeEngine::Script{MakeTokens({"a", "b"}), EndReason::kEndOfSequence});
  Start();
  pb::GenerateRequest request = TokensRequest("x");
  request.set_stream(false);
  request.mutable_sampling_params()->set_n(3);
  const End end = Call(request);
  ASSERT_TRUE(end.status.ok()) << end.status.error_message();
  ASSERT_EQ(end.messages.size(), 3);
  std::vector<uint32_t> samples;
  for (const pb::GenerateResponse& message : end.messages) {
    EXPECT_THAT(message.complete().output_ids(), ElementsAre(0, 1));
    samples.push_back(message.complete().index());
  }
  EXPECT_THAT(samples, testing::UnorderedElementsAre(0, 1, 2));
}

TEST_F(VllmRpcTest, AbortEndsACallOfItsTenantAlone) {
  Start();
  End end;
  std::thread caller([&] { end = Call(TokensRequest("mine"), "alice"); });
  engine_->WaitForRequest(0);
  AbortById("mine");
  AbortById("mine", "bob");
  engine_->Emit(1, MakeTokens({"a"}));
  EXPECT_EQ(engine_->num_running(), 1);
  AbortById("mine", "alice");
  caller.join();
  EXPECT_EQ(end.status.error_code(), grpc::StatusCode::CANCELLED);
  engine_->WaitUntilEnded(1);
  AbortById("mine", "alice");  // is unknown now
  Stop();
  EXPECT_THAT(LogLines(), testing::Contains(HasSubstr("reason=cancelled")));
}

TEST_F(VllmRpcTest, ABadIdIsRefused) {
  Start();
  const End end = Call(TokensRequest(std::string(129, 'x')));
  EXPECT_EQ(end.status.error_code(), grpc::StatusCode::INVALID_ARGUMENT);
  EXPECT_THAT(end.status.error_message(), HasSubstr("request_id has 129 characters"));
}

TEST_F(VllmRpcTest, RefusalsNameTheProtocolsFields) {
  Start();
  pb::GenerateRequest request = TokensRequest("x");
  request.mutable_sampling_params()->set_top_p(3);
  const End end = Call(request);
  EXPECT_EQ(end.status.error_code(), grpc::StatusCode::INVALID_ARGUMENT);
  EXPECT_THAT(end.status.error_message(), HasSubstr("sampling_params.top_p is 3"));
}

TEST_F(VllmRpcTest, QuestionsAreAnswered) {
  options_.engine.model.directory = "models/demo";
  Start();
  const auto stub = NewVllmStub();
  {
    grpc::ClientContext context;
    pb::HealthCheckResponse response;
    EXPECT_TRUE(stub->HealthCheck(&context, {}, &response).ok());
    EXPECT_TRUE(response.healthy());
  }
  {
    grpc::ClientContext context;
    pb::GetModelInfoResponse response;
    EXPECT_TRUE(stub->GetModelInfo(&context, {}, &response).ok());
    EXPECT_EQ(response.max_context_length(), engine_->Info().max_context);
    EXPECT_TRUE(response.is_generation());
    EXPECT_EQ(response.model_path()[0], '/') << "a gateway beside the server reads the tokenizer";
  }
  {
    grpc::ClientContext context;
    pb::GetServerInfoResponse response;
    EXPECT_TRUE(stub->GetServerInfo(&context, {}, &response).ok());
    EXPECT_EQ(response.server_type(), "vllm-grpc");
  }
  {
    grpc::ClientContext context;
    pb::GetLoadsResponse response;
    EXPECT_TRUE(stub->GetLoads(&context, {}, &response).ok());
    ASSERT_EQ(response.loads_size(), 1);
    EXPECT_EQ(response.loads(0).num_running_reqs(), 0);
  }
}

TEST_F(VllmRpcTest, TheTokenizerIsHandedOverInPieces) {
  options_.engine.model.directory = RECURVE_SOURCE_DIR "/models/demo";
  Start();
  const TokenizerEnd end = GetTokenizer();
  EXPECT_TRUE(end.status.ok()) << end.status.error_message();
  ASSERT_GT(end.chunks.size(), 1);
  std::string zip;
  for (const pb::GetTokenizerChunk& chunk : end.chunks) {
    EXPECT_EQ(chunk.sha256().empty(), &chunk != &end.chunks.back());
    zip += chunk.data();
  }
  const auto bundle = BundleTokenizer(options_.engine.model.directory);
  ASSERT_TRUE(bundle.ok()) << bundle.status();
  EXPECT_TRUE(zip == bundle->zip);
  EXPECT_EQ(end.chunks.back().sha256(), bundle->sha256);
}

TEST_F(VllmRpcTest, AModelWithoutATokenizerSaysSo) {
  options_.engine.model.directory = "/nowhere";
  Start();
  const TokenizerEnd end = GetTokenizer();
  EXPECT_EQ(end.status.error_code(), grpc::StatusCode::NOT_FOUND);
  EXPECT_THAT(end.status.error_message(), HasSubstr("tokenizer.json"));
}

TEST_F(VllmRpcTest, TheTokenizerIsSentABoundedNumberOfTimesAtOnce) {
  TokenizerBundles bundles;
  for (int i = 0; i < TokenizerBundles::kMaxStreams; ++i) EXPECT_TRUE(bundles.Enter());
  EXPECT_FALSE(bundles.Enter());
  bundles.Leave();
  EXPECT_TRUE(bundles.Enter());
}

TEST_F(VllmRpcTest, WhileTheModelLoadsHealthSaysSo) {
  Start(/*ready=*/false);
  grpc::ClientContext context;
  pb::HealthCheckResponse response;
  EXPECT_TRUE(NewVllmStub()->HealthCheck(&context, {}, &response).ok());
  EXPECT_FALSE(response.healthy());
  EXPECT_EQ(response.message(), "loading");
  EXPECT_EQ(Call(TokensRequest("x")).status.error_code(), grpc::StatusCode::UNAVAILABLE);
  EXPECT_EQ(GetTokenizer().status.error_code(), grpc::StatusCode::UNAVAILABLE);
}

}  // namespace
}  // namespace recurve
