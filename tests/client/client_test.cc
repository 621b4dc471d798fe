// SPDX-License-Identifier: Apache-2.0
// The client library against a service that says what the test wants.
#include "client/client.h"

#include <grpcpp/grpcpp.h>

#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "recurve/v1/generation.grpc.pb.h"

namespace recurve::client {
namespace {

using testing::HasSubstr;

class FakeService final : public v1::GenerationService::Service {
 public:
  // Many messages at once.
  grpc::Status Generate(grpc::ServerContext* /*context*/, const v1::GenerateRequest* /*request*/,
                        grpc::ServerWriter<v1::GenerateResponse>* writer) override {
    v1::GenerateResponse message;
    message.set_text("text");
    for (int i = 0; i < 1000 && writer->Write(message); ++i) continue;
    return grpc::Status::OK;
  }

  // Full if asked nicely, otherwise out of bounds.
  grpc::Status Complete(grpc::ServerContext* context, const v1::GenerateRequest* request,
                        v1::CompleteResponse* /*response*/) override {
    if (request->text() == "stop") return {grpc::StatusCode::UNAVAILABLE, "shutting down"};
    if (request->text() == "full") context->AddTrailingMetadata("grpc-retry-pushback-ms", "7");
    return {grpc::StatusCode::RESOURCE_EXHAUSTED, "no"};
  }
};

class ClientTest : public testing::Test {
 protected:
  ClientTest() {
    grpc::ServerBuilder builder;
    int port = 0;
    builder.AddListeningPort("127.0.0.1:0", grpc::InsecureServerCredentials(), &port);
    builder.RegisterService(&service_);
    server_ = builder.BuildAndStart();
    options_.server = absl::StrCat("127.0.0.1:", port);
  }

  FakeService service_;
  std::unique_ptr<grpc::Server> server_;
  ClientOptions options_;
};

TEST_F(ClientTest, NothingIsHeardAfterAStreamWasRefused) {
  Client client(options_);
  int heard = 0;
  const absl::Status status =
      client.Generate({}, {}, [&heard](const v1::GenerateResponse&) { return ++heard < 3; });
  EXPECT_EQ(heard, 3);
  EXPECT_TRUE(status.ok() || absl::IsCancelled(status)) << status;  // it may have been over
}

TEST_F(ClientTest, FullIsToldFromTooLarge) {
  Client client(options_);
  v1::GenerateRequest request;
  request.set_text("full");
  const absl::Status full = client.Complete(request, {}).status();
  EXPECT_TRUE(absl::IsResourceExhausted(full));
  EXPECT_EQ(full.GetPayload(kRetryPushbackPayload), absl::Cord("7"));
  request.set_text("large");
  EXPECT_FALSE(client.Complete(request, {}).status().GetPayload(kRetryPushbackPayload).has_value());
}

TEST_F(ClientTest, AServerThatIsNotReadyIsToldFromNone) {
  v1::GenerateRequest request;
  request.set_text("stop");
  for (const int attempts : {1, 2}) {
    options_.attempts = attempts;
    const absl::Status refused = Client(options_).Complete(request, {}).status();
    EXPECT_TRUE(absl::IsUnavailable(refused)) << refused;
    EXPECT_FALSE(refused.GetPayload(kNotReachedPayload).has_value()) << refused;
  }
  server_->Shutdown();
  for (const int attempts : {1, 2}) {
    options_.attempts = attempts;
    const absl::Status nobody = Client(options_).Complete(request, {}).status();
    EXPECT_TRUE(absl::IsUnavailable(nobody)) << nobody;
    EXPECT_TRUE(nobody.GetPayload(kNotReachedPayload).has_value()) << nobody;
  }
}

// gRPC aborts the process for a header that is not printable.
TEST_F(ClientTest, RequestIdsThatCannotBeSentAreRefused) {
  Client client(options_);
  for (const std::string& id : {std::string("a\nb"), std::string("caf\xC3\xA9"), std::string(1, 0),
                                std::string(kMaxRequestIdBytes + 1, 'x')}) {
    SCOPED_TRACE(id);
    CallOptions call;
    call.request_id = id;
    absl::Status ended;
    const auto stream = client.StartGenerate(
        {}, call, [](const v1::GenerateResponse&) {},
        [&ended](const absl::Status& status) { ended = status; });
    stream->Cancel();
    for (const absl::Status& status :
         {ended, client.Generate({}, call, [](const v1::GenerateResponse&) { return true; }),
          client.Complete({}, call).status(), client.CheckHealth("", call)}) {
      EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument) << status;
      EXPECT_THAT(std::string(status.message()), HasSubstr("request_id"));
    }
  }
}

}  // namespace
}  // namespace recurve::client
