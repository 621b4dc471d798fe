// SPDX-License-Identifier: Apache-2.0
// Calls by their bytes, which no stub would make.
#include <grpcpp/generic/generic_stub.h>

#include "gmock/gmock.h"
#include "tests/server/server_fixture.h"

namespace recurve {
namespace {

using testing::HasSubstr;

class RawRpcTest : public ServerTest {};

// gRPC refuses them before the service hears of the call; docs/api.md says so.
TEST_F(RawRpcTest, StringsThatAreNotUtf8AreRefusedByGrpc) {
  Start();
  for (const std::string method : {"Generate", "Complete", "Tokenize"}) {
    // GenerateRequest{text: "\xE9"} or TokenizeRequest{text: "\xE9"}: stubs would complain.
    const grpc::Slice bytes("\x0A\x01\xE9");
    grpc::ByteBuffer request(&bytes, 1), response;
    grpc::GenericStub stub(NewChannel());
    grpc::ClientContext context;
    grpc::CompletionQueue queue;
    const auto call =
        stub.PrepareUnaryCall(&context, "/recurve.v1.GenerationService/" + method, request, &queue);
    call->StartCall();
    grpc::Status status;
    call->Finish(&response, &status, nullptr);
    void* tag = nullptr;
    bool ok = false;
    ASSERT_TRUE(queue.Next(&tag, &ok));
    EXPECT_EQ(status.error_code(), grpc::StatusCode::UNIMPLEMENTED) << method;
    EXPECT_EQ(status.error_message(), "") << method;
  }
  EXPECT_EQ(engine_->num_accepted(), 0U);
}

TEST_F(RawRpcTest, ReflectionListsTheServices) {
  Start();
  // ServerReflectionRequest{list_services: "*"}, by its bytes: its stubs are not packaged.
  const grpc::Slice bytes("\x3A\x01*");
  grpc::ByteBuffer request(&bytes, 1), response;
  grpc::GenericStub stub(NewChannel());
  grpc::ClientContext context;
  grpc::CompletionQueue queue;
  const auto call = stub.PrepareCall(
      &context, "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo", &queue);
  void* tag = nullptr;
  bool ok = false;
  call->StartCall(nullptr);
  ASSERT_TRUE(queue.Next(&tag, &ok) && ok);
  call->Write(request, nullptr);
  ASSERT_TRUE(queue.Next(&tag, &ok) && ok);
  call->Read(&response, nullptr);
  ASSERT_TRUE(queue.Next(&tag, &ok) && ok);
  grpc::Slice answer;
  ASSERT_TRUE(response.DumpToSingleSlice(&answer).ok());
  const std::string text(reinterpret_cast<const char*>(answer.begin()), answer.size());
  EXPECT_THAT(text, HasSubstr("recurve.v1.GenerationService"));
  EXPECT_THAT(text, HasSubstr("grpc.health.v1.Health"));
  context.TryCancel();
}

}  // namespace
}  // namespace recurve
