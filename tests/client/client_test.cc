// SPDX-License-Identifier: Apache-2.0
// The client library against a service that says what the test wants.
#include "client/client.h"

#include <grpcpp/grpcpp.h>
#include <grpcpp/health_check_service_interface.h>

#include <atomic>
#include <chrono>
#include <future>
#include <mutex>
#include <thread>

#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "recurve/v1/generation.grpc.pb.h"

namespace recurve::client {
namespace {

using testing::HasSubstr;
using testing::Not;

// The request's text says what to do.
class FakeService final : public v1::GenerationService::Service {
 public:
  // One message and then nothing for "wait", otherwise many at once.
  grpc::Status Generate(grpc::ServerContext* context, const v1::GenerateRequest* request,
                        grpc::ServerWriter<v1::GenerateResponse>* writer) override {
    Note(*context);
    v1::GenerateResponse message;
    message.set_text("text");
    if (request->text() == "wait") {
      writer->Write(message);
      return WaitForCancellation(*context);
    }
    for (int i = 0; i < 1000 && writer->Write(message); ++i) continue;
    return grpc::Status::OK;
  }

  // "busy..." is refused twice, "wait" never answered, "full" and others are too much.
  grpc::Status Complete(grpc::ServerContext* context, const v1::GenerateRequest* request,
                        v1::CompleteResponse* /*response*/) override {
    const int call = Note(*context);
    const std::string& text = request->text();
    const bool busy = text.starts_with("busy");
    if (text == "stop") return {grpc::StatusCode::UNAVAILABLE, "shutting down"};
    if (text == "wait") return WaitForCancellation(*context);
    if (busy && call > 2) return grpc::Status::OK;
    if (busy || text == "full") context->AddTrailingMetadata("grpc-retry-pushback-ms", "7");
    return {grpc::StatusCode::RESOURCE_EXHAUSTED, "no"};
  }

  int calls() const { return calls_; }
  // Of the last call; "none" if it had none.
  std::string request_id() const {
    const std::lock_guard<std::mutex> lock(mutex_);
    return request_id_;
  }
  // Of the last call.
  std::string metadata(const std::string& name) const {
    const std::lock_guard<std::mutex> lock(mutex_);
    const auto found = metadata_.find(name);
    return found == metadata_.end() ? "none" : found->second;
  }

 private:
  // The call's number, from 1.
  int Note(const grpc::ServerContext& context) {
    const auto& metadata = context.client_metadata();
    const auto id = metadata.find("x-request-id");
    const std::lock_guard<std::mutex> lock(mutex_);
    metadata_.clear();
    for (const auto& [name, value] : metadata) {
      metadata_.emplace(std::string(name.data(), name.size()),
                        std::string(value.data(), value.size()));
    }
    request_id_ = id == metadata.end() ? "none" : std::string(id->second.data(), id->second.size());
    return ++calls_;
  }

  static grpc::Status WaitForCancellation(const grpc::ServerContext& context) {
    while (!context.IsCancelled()) std::this_thread::sleep_for(std::chrono::milliseconds(1));
    return grpc::Status::CANCELLED;
  }

  mutable std::mutex mutex_;
  std::string request_id_;  // guarded by mutex_, as the next
  std::map<std::string, std::string> metadata_;
  std::atomic<int> calls_ = 0;
};

class ClientTest : public testing::Test {
 protected:
  // Points options_ at it.
  std::unique_ptr<grpc::Server> Serve(FakeService& service) {
    grpc::EnableDefaultHealthCheckService(true);
    grpc::ServerBuilder builder;
    int port = 0;
    builder.AddListeningPort("127.0.0.1:0", grpc::InsecureServerCredentials(), &port);
    builder.RegisterService(&service);
    auto server = builder.BuildAndStart();
    options_.servers = {absl::StrCat("127.0.0.1:", port)};
    return server;
  }

  ClientOptions options_;
  FakeService service_;
  std::unique_ptr<grpc::Server> server_ = Serve(service_);
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

TEST_F(ClientTest, RequestIdsAreSent) {
  Client client(options_);
  const auto hear = [](const v1::GenerateResponse&) { return true; };
  EXPECT_EQ(client.Generate({}, {}, hear), absl::OkStatus());
  EXPECT_EQ(service_.request_id(), "none");
  CallOptions call;
  call.request_id = "night run ~7";
  EXPECT_EQ(client.Generate({}, call, hear), absl::OkStatus());
  EXPECT_EQ(service_.request_id(), call.request_id);
  call.request_id = std::string(kMaxRequestIdBytes, 'x');
  client.Complete({}, call).IgnoreError();
  EXPECT_EQ(service_.request_id(), call.request_id);
}

TEST_F(ClientTest, MetadataIsSentAndWhatCannotBeSentIsRefused) {
  Client client(options_);
  const auto hear = [](const v1::GenerateResponse&) { return true; };
  CallOptions call;
  call.metadata = {{"authorization", "Bearer a.b"}, {"traceparent", "00-1-2-3"}};
  EXPECT_EQ(client.Generate({}, call, hear), absl::OkStatus());
  EXPECT_EQ(service_.metadata("authorization"), "Bearer a.b");
  EXPECT_EQ(service_.metadata("traceparent"), "00-1-2-3");
  for (const char* name : {"", "Upper", "grpc-timeout", "x-bin", "a b"}) {
    call.metadata = {{name, "v"}};
    EXPECT_TRUE(absl::IsInvalidArgument(client.Generate({}, call, hear))) << name;
  }
  call.metadata = {{"authorization", "secret\n"}};
  const absl::Status refused = client.Generate({}, call, hear);
  EXPECT_TRUE(absl::IsInvalidArgument(refused));
  EXPECT_THAT(std::string(refused.message()), Not(HasSubstr("secret")));
}

TEST_F(ClientTest, AStreamGoesNoFasterThanItsMessagesAreDoneWith) {
  Client client(options_);
  std::promise<MessageReader*> first;
  std::atomic<int> heard = 0;
  std::promise<absl::Status> ended;
  const auto stream = client.StartGenerate(
      {}, {},
      [&](const v1::GenerateResponse&, MessageReader& reader) {
        if (++heard > 1) return true;
        first.set_value(&reader);
        return false;
      },
      [&ended](const absl::Status& status) { ended.set_value(status); });
  MessageReader* const reader = first.get_future().get();
  EXPECT_EQ(heard, 1);
  reader->Done();
  EXPECT_EQ(ended.get_future().get(), absl::OkStatus());
  EXPECT_EQ(heard, 1000);
}

TEST_F(ClientTest, TimeoutsEndCalls) {
  Client client(options_);
  v1::GenerateRequest request;
  request.set_text("wait");
  CallOptions call;
  call.timeout = std::chrono::milliseconds(200);
  const absl::Status complete = client.Complete(request, call).status();
  EXPECT_TRUE(absl::IsDeadlineExceeded(complete)) << complete;
  const absl::Status stream =
      client.Generate(request, call, [](const v1::GenerateResponse&) { return true; });
  EXPECT_TRUE(absl::IsDeadlineExceeded(stream)) << stream;
}

TEST_F(ClientTest, StreamsEndOnceWithWhatEndedThem) {
  Client client(options_);
  v1::GenerateRequest request;
  std::atomic<int> heard = 0;
  std::promise<absl::Status> ended;  // a second end would throw
  const auto stream = client.StartGenerate(
      request, {}, [&heard](const v1::GenerateResponse&) { ++heard; },
      [&ended](const absl::Status& status) { ended.set_value(status); });
  EXPECT_EQ(ended.get_future().get(), absl::OkStatus());
  EXPECT_EQ(heard, 1000);
  stream->Cancel();  // of no effect
}

TEST_F(ClientTest, CancelEndsAStream) {
  Client client(options_);
  v1::GenerateRequest request;
  request.set_text("wait");
  std::promise<void> heard;
  std::promise<absl::Status> ended;
  const auto stream = client.StartGenerate(
      request, {}, [&heard](const v1::GenerateResponse&) { heard.set_value(); },
      [&ended](const absl::Status& status) { ended.set_value(status); });
  heard.get_future().get();
  stream->Cancel();
  const absl::Status status = ended.get_future().get();
  EXPECT_TRUE(absl::IsCancelled(status)) << status;
}

TEST_F(ClientTest, DestroyingAStreamEndsIt) {
  Client client(options_);
  v1::GenerateRequest request;
  request.set_text("wait");
  absl::Status ended;
  client
      .StartGenerate(
          request, {}, [](const v1::GenerateResponse&) {},
          [&ended](const absl::Status& status) { ended = status; })
      .reset();
  EXPECT_TRUE(absl::IsCancelled(ended)) << ended;
}

TEST_F(ClientTest, HealthIsTheServersAnswer) {
  Client client(options_);
  grpc::HealthCheckServiceInterface* const health = server_->GetHealthCheckService();
  health->SetServingStatus("ready", true);
  health->SetServingStatus("loading", false);
  EXPECT_EQ(client.CheckHealth("", {}), absl::OkStatus());
  EXPECT_EQ(client.CheckHealth("ready", {}), absl::OkStatus());
  const absl::Status loading = client.CheckHealth("loading", {});
  EXPECT_TRUE(absl::IsUnavailable(loading)) << loading;
  EXPECT_THAT(std::string(loading.message()), HasSubstr("NOT_SERVING"));
  EXPECT_FALSE(loading.GetPayload(kNotReachedPayload).has_value());
  const absl::Status unknown = client.CheckHealth("no.such", {});
  EXPECT_TRUE(absl::IsNotFound(unknown)) << unknown;
}

// However large the prompt is: gRPC keeps small requests alone for another try unless told.
TEST_F(ClientTest, RefusedCallsAreTriedAgain) {
  v1::GenerateRequest request;
  for (const size_t bytes : {size_t{4}, size_t{2} << 20}) {
    request.set_text("busy" + std::string(bytes, 'x'));
    for (const int attempts : {1, 2, 3}) {
      SCOPED_TRACE(absl::StrCat(bytes, " bytes, ", attempts, " attempts"));
      FakeService service;
      const auto server = Serve(service);
      options_.attempts = attempts;
      const absl::Status status = Client(options_).Complete(request, {}).status();
      EXPECT_EQ(status.code(),
                attempts < 3 ? absl::StatusCode::kResourceExhausted : absl::StatusCode::kOk)
          << status;
      EXPECT_EQ(service.calls(), attempts);
    }
  }
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
