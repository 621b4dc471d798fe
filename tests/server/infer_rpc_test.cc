// SPDX-License-Identifier: Apache-2.0
// Calls of inference.GRPCInferenceService, as clients of the Open Inference Protocol see them.
#include <map>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "gmock/gmock.h"
#include "inference/inference.grpc.pb.h"
#include "server/grpc/infer_stream.h"
#include "tests/server/server_fixture.h"

namespace recurve {
namespace {

using inference::GRPCInferenceService;
using inference::ModelInferRequest;
using inference::ModelInferResponse;
using inference::ModelStreamInferResponse;
using testing::HasSubstr;
using Stream = grpc::ClientReaderWriter<ModelInferRequest, ModelStreamInferResponse>;

std::string TextOf(const ModelInferResponse& response) {
  return response.raw_output_contents(0).substr(4);  // behind its length
}

class InferRpcTest : public ServerTest {
 protected:
  ModelInferRequest Ask(const std::string& id, bool stream, const std::string& parameters = "{}") {
    ModelInferRequest request;
    request.set_model_name(engine_->Info().model_name);
    request.set_id(id);
    const auto add = [&](const char* name, const char* type) {
      ModelInferRequest::InferInputTensor* input = request.add_inputs();
      input->set_name(name);
      input->set_datatype(type);
      input->add_shape(1);
      return input->mutable_contents();
    };
    add("text_input", "BYTES")->add_bytes_contents("hello");
    add("sampling_parameters", "BYTES")->add_bytes_contents(parameters);
    add("stream", "BOOL")->add_bool_contents(stream);
    add("exclude_input_in_output", "BOOL")->add_bool_contents(true);
    return request;
  }
  void RunScript() {
    engine_ = std::make_unique<FakeEngine>(
        FakeEngine::Script{MakeTokens({"a", "b", "c"}), EndReason::kLength});
  }
  std::unique_ptr<GRPCInferenceService::Stub> NewInferStub() {
    return GRPCInferenceService::NewStub(NewChannel());
  }
};

TEST_F(InferRpcTest, InferHasTheWholeText) {
  RunScript();
  Start();
  grpc::ClientContext context;
  ModelInferResponse response;
  const grpc::Status status = NewInferStub()->ModelInfer(&context, Ask("7", false), &response);
  ASSERT_TRUE(status.ok()) << status.error_message();
  EXPECT_EQ(TextOf(response), "abc");
  EXPECT_EQ(response.id(), "7");
  // Clients compare the counts of a request's parts.
  grpc::ClientContext asking;
  inference::ModelStatisticsResponse told;
  engine_->WaitUntilEnded(1);
  ASSERT_TRUE(NewInferStub()->ModelStatistics(&asking, {}, &told).ok());
  const inference::InferStatistics& parts = told.model_stats(0).inference_stats();
  EXPECT_EQ(parts.success().count(), 1);
  EXPECT_EQ(parts.queue().count(), 1);
  EXPECT_EQ(parts.compute_input().count(), 1);
  EXPECT_EQ(parts.compute_infer().count(), 1);
  EXPECT_EQ(parts.compute_output().count(), 1);
}

TEST_F(InferRpcTest, InferRefusesAStream) {
  Start();
  grpc::ClientContext context;
  ModelInferResponse response;
  const grpc::Status status = NewInferStub()->ModelInfer(&context, Ask("7", true), &response);
  EXPECT_EQ(status.error_code(), grpc::StatusCode::INVALID_ARGUMENT);
  EXPECT_THAT(status.error_message(), HasSubstr("stream is true"));
}

TEST_F(InferRpcTest, AStreamAnswersManyRequestsAndErrorsEndOnesAlone) {
  RunScript();
  Start();
  grpc::ClientContext context;
  const auto stub = NewInferStub();
  const auto stream = stub->ModelStreamInfer(&context);
  for (int i = 0; i < 5; ++i) {
    ASSERT_TRUE(stream->Write(Ask(std::to_string(i), /*stream=*/i % 2 == 0)));
  }
  ASSERT_TRUE(stream->Write(Ask("bad", true, R"({"temperature": -1})")));
  stream->WritesDone();
  std::map<std::string, std::string> texts, errors;
  ModelStreamInferResponse response;
  while (stream->Read(&response)) {
    const std::string& id = response.infer_response().id();
    if (!response.error_message().empty()) {
      errors[id] = response.error_message();
    } else {
      texts[id] += TextOf(response.infer_response());
    }
  }
  EXPECT_TRUE(stream->Finish().ok());
  EXPECT_EQ(texts.size(), 5);
  for (const auto& [id, text] : texts) EXPECT_EQ(text, "abc") << id;
  ASSERT_EQ(errors.size(), 1);
  EXPECT_THAT(errors["bad"], HasSubstr("temperature is -1"));
}

TEST_F(InferRpcTest, ErrorsAreTheStreamsStatusForThoseWhoAsk) {
  Start();
  grpc::ClientContext context;
  context.AddMetadata("triton_grpc_error", "true");
  const auto stub = NewInferStub();
  const auto stream = stub->ModelStreamInfer(&context);
  ASSERT_TRUE(stream->Write(Ask("good", true)));
  engine_->WaitForRequest(0);
  ASSERT_TRUE(stream->Write(Ask("bad", true, R"({"temperature": -1})")));
  ModelStreamInferResponse response;
  EXPECT_FALSE(stream->Read(&response));
  const grpc::Status status = stream->Finish();
  EXPECT_EQ(status.error_code(), grpc::StatusCode::INVALID_ARGUMENT);
  EXPECT_THAT(status.error_message(), HasSubstr("temperature is -1"));
  engine_->WaitUntilEnded(1);  // the other request was cancelled with it
}

TEST_F(InferRpcTest, ACancelledStreamCancelsItsRequests) {
  Start();
  grpc::ClientContext context;
  const auto stub = NewInferStub();
  const auto stream = stub->ModelStreamInfer(&context);
  ASSERT_TRUE(stream->Write(Ask("a", true)));
  ASSERT_TRUE(stream->Write(Ask("b", false)));
  engine_->WaitForRequest(1);
  context.TryCancel();
  EXPECT_EQ(stream->Finish().error_code(), grpc::StatusCode::CANCELLED);
  engine_->WaitUntilEnded(1);
  engine_->WaitUntilEnded(2);
  EXPECT_EQ(engine_->num_running(), 0);
}

TEST_F(InferRpcTest, AHalfClosedStreamWaitsForItsRequests) {
  Start();
  grpc::ClientContext context;
  const auto stub = NewInferStub();
  const auto stream = stub->ModelStreamInfer(&context);
  ASSERT_TRUE(stream->Write(Ask("a", true)));
  stream->WritesDone();
  engine_->WaitForRequest(0);
  engine_->Emit(1, MakeTokens({"x"}));
  ModelStreamInferResponse response;
  ASSERT_TRUE(stream->Read(&response));
  EXPECT_EQ(TextOf(response.infer_response()), "x");
  EXPECT_FALSE(response.infer_response().parameters().at("triton_final_response").bool_param());
  engine_->End(1, {});
  ASSERT_TRUE(stream->Read(&response));
  EXPECT_TRUE(response.infer_response().parameters().at("triton_final_response").bool_param());
  EXPECT_FALSE(stream->Read(&response));
  EXPECT_TRUE(stream->Finish().ok());
}

TEST_F(InferRpcTest, NoFurtherRequestIsReadWhileManyAreOpen) {
  Start();
  grpc::ClientContext context;
  const auto stub = NewInferStub();
  const auto stream = stub->ModelStreamInfer(&context);
  constexpr size_t kMore = 50;
  std::thread writer([&] {
    for (size_t i = 0; i < kMaxOpenInfers + kMore; ++i) {
      ASSERT_TRUE(stream->Write(Ask(std::to_string(i), true)));
    }
    stream->WritesDone();
  });
  std::thread reader([&] {
    ModelStreamInferResponse response;
    while (stream->Read(&response)) {
    }
  });
  engine_->WaitForRequest(kMaxOpenInfers - 1);
  std::this_thread::sleep_for(std::chrono::milliseconds(100));  // for one too many to show itself
  EXPECT_EQ(engine_->num_accepted(), kMaxOpenInfers);
  for (size_t i = 0; i < kMaxOpenInfers + kMore; ++i) {
    engine_->WaitForRequest(i);
    engine_->End(i + 1, {});
  }
  writer.join();
  reader.join();
  EXPECT_TRUE(stream->Finish().ok());
}

TEST_F(InferRpcTest, AStreamWhoseServerStopsHearsUnavailable) {
  Start();
  grpc::ClientContext context;
  const auto stub = NewInferStub();
  const auto stream = stub->ModelStreamInfer(&context);
  ASSERT_TRUE(stream->Write(Ask("a", true)));
  engine_->WaitForRequest(0);
  Stop();
  ModelStreamInferResponse response;
  EXPECT_FALSE(stream->Read(&response));
  EXPECT_EQ(stream->Finish().error_code(), grpc::StatusCode::UNAVAILABLE);
}

TEST_F(InferRpcTest, QuestionsAboutTheModelAreAnswered) {
  Start();
  const auto stub = NewInferStub();
  const std::string name = engine_->Info().model_name;
  {
    grpc::ClientContext context;
    inference::ModelReadyRequest request;
    request.set_name(name);
    inference::ModelReadyResponse response;
    EXPECT_TRUE(stub->ModelReady(&context, request, &response).ok());
    EXPECT_TRUE(response.ready());
  }
  {
    grpc::ClientContext context;
    inference::ModelMetadataRequest request;
    request.set_name("another");
    inference::ModelMetadataResponse response;
    EXPECT_EQ(stub->ModelMetadata(&context, request, &response).error_code(),
              grpc::StatusCode::NOT_FOUND);
  }
  {
    grpc::ClientContext context;
    inference::ModelStatisticsResponse response;
    EXPECT_TRUE(stub->ModelStatistics(&context, {}, &response).ok());
    EXPECT_EQ(response.model_stats(0).name(), name);
  }
  {
    grpc::ClientContext context;
    inference::ServerReadyResponse response;
    EXPECT_TRUE(stub->ServerReady(&context, {}, &response).ok());
    EXPECT_TRUE(response.ready());
  }
}

TEST_F(InferRpcTest, WhileTheModelLoadsItIsNotReady) {
  Start(/*ready=*/false);
  const auto stub = NewInferStub();
  {
    grpc::ClientContext context;
    inference::ServerReadyResponse response;
    EXPECT_TRUE(stub->ServerReady(&context, {}, &response).ok());
    EXPECT_FALSE(response.ready());
  }
  grpc::ClientContext context;
  ModelInferResponse response;
  EXPECT_EQ(stub->ModelInfer(&context, Ask("a", false), &response).error_code(),
            grpc::StatusCode::UNAVAILABLE);
}

}  // namespace
}  // namespace recurve
