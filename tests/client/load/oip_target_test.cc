// SPDX-License-Identifier: Apache-2.0
// Against a service that says what each test wants.
#include "client/load/oip_target.h"

#include <grpcpp/grpcpp.h>

#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/synchronization/notification.h"
#include "gmock/gmock.h"

namespace recurve::client {
namespace {

using inference::ModelInferRequest;
using inference::ModelStreamInferResponse;
using nlohmann::json;
using testing::ElementsAre;
using testing::HasSubstr;

const std::set<std::string> kVllmInputs = {"text_input", "stream", "sampling_parameters",
                                           "exclude_input_in_output"};

std::string Number(uint32_t number) {
  return {static_cast<char>(number), static_cast<char>(number >> 8), 0, 0};
}

void AddOutput(const char* name, const std::string& raw, ModelStreamInferResponse& message) {
  message.mutable_infer_response()->add_outputs()->set_name(name);
  message.mutable_infer_response()->add_raw_output_contents(raw);
}

ModelStreamInferResponse TextMessage(const std::string& text) {
  ModelStreamInferResponse message;
  AddOutput("text_output", Number(static_cast<uint32_t>(text.size())) + text, message);
  return message;
}

class FakeService final : public inference::GRPCInferenceService::Service {
 public:
  grpc::Status ModelMetadata(grpc::ServerContext* /*context*/,
                             const inference::ModelMetadataRequest* asked,
                             inference::ModelMetadataResponse* response) override {
    response->set_name(asked->name());
    for (const std::string& name : inputs) response->add_inputs()->set_name(name);
    return grpc::Status::OK;
  }

  grpc::Status ModelStreamInfer(
      grpc::ServerContext* context,
      grpc::ServerReaderWriter<ModelStreamInferResponse, ModelInferRequest>* stream) override {
    stream->Read(&request);
    wants_statuses = context->client_metadata().count("triton_grpc_error") > 0;
    for (const ModelStreamInferResponse& message : messages) stream->Write(message);
    if (!status.ok()) context->AddTrailingMetadata("grpc-retry-pushback-ms", "250");
    return status;
  }

  std::set<std::string> inputs = kVllmInputs;
  std::vector<ModelStreamInferResponse> messages;
  grpc::Status status;
  ModelInferRequest request;
  bool wants_statuses = false;
};

class OipTargetTest : public testing::Test {
 protected:
  OipTargetTest() {
    grpc::ServerBuilder builder;
    int port = 0;
    builder.AddListeningPort("127.0.0.1:0", grpc::InsecureServerCredentials(), &port);
    builder.RegisterService(&service_);
    server_ = builder.BuildAndStart();
    ConnectionFlags connection;
    connection.server = absl::StrCat("127.0.0.1:", port);
    target_.emplace(connection, "tiny", json::object());
  }

  absl::Status Generate() {
    v1::GenerateRequest request;
    request.set_text("say");
    request.mutable_stop()->set_max_tokens(4);
    absl::Status status;
    absl::Notification ended;
    const auto stream = target_->Start(
        request, {},
        [&](const Heard& heard, MessageReader& /*reader*/) {
          heard_.push_back(heard);
          return true;
        },
        [&](const absl::Status& with) {
          status = with;
          ended.Notify();
        });
    ended.WaitForNotification();
    return status;
  }

  FakeService service_;
  std::unique_ptr<grpc::Server> server_;
  std::optional<OipTarget> target_;
  std::vector<Heard> heard_;
};

TEST_F(OipTargetTest, OnlyTheModelsInputsAreSent) {
  ASSERT_TRUE(target_->Describe().ok());
  EXPECT_TRUE(Generate().ok());
  EXPECT_TRUE(service_.wants_statuses);
  EXPECT_EQ(service_.request.model_name(), "tiny");
  std::vector<std::string> names;
  for (const auto& input : service_.request.inputs()) names.push_back(input.name());
  EXPECT_THAT(
      names, ElementsAre("text_input", "stream", "sampling_parameters", "exclude_input_in_output"));
  EXPECT_EQ(service_.request.raw_input_contents(0), Number(3) + "say");
  EXPECT_EQ(service_.request.raw_input_contents(1), "\1");
  EXPECT_EQ(json::parse(service_.request.raw_input_contents(2).substr(4)),
            json({{"max_tokens", 4}, {"temperature", 0.0}}));
}

TEST_F(OipTargetTest, AModelOfOtherInputsIsRefused) {
  service_.inputs = {"text_input", "max_tokens"};
  const auto info = target_->Describe();
  EXPECT_TRUE(absl::IsInvalidArgument(info.status()));
  EXPECT_THAT(std::string(info.status().message()), HasSubstr("no input stream"));
}

TEST_F(OipTargetTest, CountsOfMessagesAddUp) {
  for (const uint32_t tokens : {2, 1}) {
    ModelStreamInferResponse message = TextMessage("ab");
    AddOutput("num_input_tokens", Number(300), message);
    AddOutput("num_output_tokens", Number(tokens), message);
    service_.messages.push_back(message);
  }
  EXPECT_TRUE(Generate().ok());
  ASSERT_EQ(heard_.size(), 2U);
  EXPECT_EQ(heard_[0].tokens, 2U);
  EXPECT_EQ(heard_[1].tokens, 1U);
  EXPECT_EQ(heard_[1].generated_tokens, 3U);
  EXPECT_EQ(heard_[1].prompt_tokens, 300U);
}

TEST_F(OipTargetTest, TextWithoutCountsIsOfUnknownTokens) {
  service_.messages = {TextMessage("ab"), TextMessage("")};
  EXPECT_TRUE(Generate().ok());
  ASSERT_EQ(heard_.size(), 2U);
  EXPECT_FALSE(heard_[0].tokens);
  EXPECT_EQ(heard_[1].tokens, 0U);  // the last one, that says that it is
  EXPECT_FALSE(heard_[1].generated_tokens);
}

TEST_F(OipTargetTest, ErrorsOfBothKindsEndTheRequest) {
  service_.status = {grpc::StatusCode::RESOURCE_EXHAUSTED, "full"};
  const absl::Status full = Generate();
  EXPECT_TRUE(absl::IsResourceExhausted(full));
  EXPECT_EQ(full.GetPayload(kRetryPushbackPayload), absl::Cord("250"));
  service_.status = grpc::Status::OK;
  ModelStreamInferResponse error;
  error.set_error_message("no such model");
  service_.messages = {error};
  EXPECT_EQ(Generate(), absl::UnknownError("no such model"));
  ModelStreamInferResponse odd;
  AddOutput("text_output", "abc", odd);
  service_.messages = {odd};
  EXPECT_TRUE(absl::IsInvalidArgument(Generate()));
}

}  // namespace
}  // namespace recurve::client
