// SPDX-License-Identifier: Apache-2.0
#include "server/grpc/infer_service.h"

#include <grpcpp/grpcpp.h>

#include <functional>
#include <optional>
#include <string>
#include <utility>

#include "inference/inference.grpc.pb.h"
#include "server/grpc/call_metadata.h"
#include "server/grpc/grpc_status.h"
#include "server/grpc/infer_request.h"
#include "server/grpc/infer_response.h"
#include "server/grpc/infer_stream.h"

namespace recurve {
namespace {

using inference::ModelInferRequest;

// A request with one response.
class InferCall final : public Call, public grpc::ServerUnaryReactor {
 public:
  InferCall(Doorway* doorway, grpc::CallbackServerContext* grpc_context, CallOrigin origin,
            const ModelInferRequest& request, inference::ModelInferResponse* response)
      : Call(doorway->context(), std::move(origin)),
        doorway_(doorway),
        grpc_context_(grpc_context),
        metadata_(grpc_context),
        request_(request),
        response_(response) {}

  absl::StatusOr<Request> Translate() {
    const Engine* const engine = doorway_->engine();
    if (engine == nullptr) return absl::UnavailableError("the model is still loading");
    auto terms = TermsFromInfer(request_, engine->Info().model_name, arrival());
    if (!terms.ok()) return terms.status();
    if (terms->stream) {
      return absl::InvalidArgumentError(
          "stream is true; ModelInfer has one response, ModelStreamInfer has many");
    }
    answer_.emplace(request_, *terms);
    return std::move(terms->request);
  }

  void OnCancel() override { PeerGone(); }
  void OnDone() override { TransportDone(); }

 private:
  // All samples make one response, so that this is a stream of messages of which none is sent.
  void SendDelta(const Delta& delta, const Echo& /*echo*/) override {
    auto response = answer_->Take(delta, *doorway_->engine());
    if (response) *response_ = *std::move(response);
    WriteDone(true);
  }
  void SendStatus(const absl::Status& status) override {
    if (status.ok()) metadata_.BeforeMessage(id(), doorway_->engine()->Info().fingerprint);
    metadata_.BeforeStatus(id(), status, context()->options->admission.retry_pushback);
    Finish(ToGrpc(WithInferNames(status)));
  }
  void Abort() override { grpc_context_->TryCancel(); }

  Doorway* const doorway_;
  grpc::CallbackServerContext* const grpc_context_;
  CallMetadata metadata_;
  const ModelInferRequest& request_;
  inference::ModelInferResponse* const response_;
  std::optional<InferAnswer> answer_;  // once translated
};

class InferService final : public inference::GRPCInferenceService::CallbackService {
 public:
  explicit InferService(Doorway* doorway) : doorway_(doorway) {}

  grpc::ServerUnaryReactor* ServerLive(grpc::CallbackServerContext* grpc_context,
                                       const inference::ServerLiveRequest* /*request*/,
                                       inference::ServerLiveResponse* response) override {
    return Always(grpc_context, "GRPCInferenceService.ServerLive",
                  [&] { response->set_live(true); });
  }

  grpc::ServerUnaryReactor* ServerReady(grpc::CallbackServerContext* grpc_context,
                                        const inference::ServerReadyRequest* /*request*/,
                                        inference::ServerReadyResponse* response) override {
    return Always(grpc_context, "GRPCInferenceService.ServerReady",
                  [&] { response->set_ready(Ready()); });
  }

  grpc::ServerUnaryReactor* ModelReady(grpc::CallbackServerContext* grpc_context,
                                       const inference::ModelReadyRequest* request,
                                       inference::ModelReadyResponse* response) override {
    return OfModel(grpc_context, "GRPCInferenceService.ModelReady", *request,
                   [&](const Engine& /*engine*/) { response->set_ready(Ready()); });
  }

  grpc::ServerUnaryReactor* ServerMetadata(grpc::CallbackServerContext* grpc_context,
                                           const inference::ServerMetadataRequest* /*request*/,
                                           inference::ServerMetadataResponse* response) override {
    return Always(grpc_context, "GRPCInferenceService.ServerMetadata",
                  [&] { FillServerMetadata(response); });
  }

  grpc::ServerUnaryReactor* ModelMetadata(grpc::CallbackServerContext* grpc_context,
                                          const inference::ModelMetadataRequest* request,
                                          inference::ModelMetadataResponse* response) override {
    return OfModel(grpc_context, "GRPCInferenceService.ModelMetadata", *request,
                   [&](const Engine& engine) { FillModelMetadata(engine.Info(), response); });
  }

  grpc::ServerUnaryReactor* ModelConfig(grpc::CallbackServerContext* grpc_context,
                                        const inference::ModelConfigRequest* request,
                                        inference::ModelConfigResponse* response) override {
    return OfModel(
        grpc_context, "GRPCInferenceService.ModelConfig", *request,
        [&](const Engine& engine) { FillModelConfig(engine.Info(), response->mutable_config()); });
  }

  grpc::ServerUnaryReactor* ModelStatistics(grpc::CallbackServerContext* grpc_context,
                                            const inference::ModelStatisticsRequest* request,
                                            inference::ModelStatisticsResponse* response) override {
    const auto fill = [&](const Engine& engine) {
      FillModelStatistics(engine.Info(), engine.Snapshot(),
                          doorway_->context()->metrics->latencies(), response->add_model_stats());
    };
    inference::ModelStatisticsRequest asked = *request;
    const Engine* const engine = doorway_->engine();
    if (asked.name().empty() && engine != nullptr) asked.set_name(engine->Info().model_name);
    return OfModel(grpc_context, "GRPCInferenceService.ModelStatistics", asked, fill);
  }

  grpc::ServerUnaryReactor* ModelInfer(grpc::CallbackServerContext* grpc_context,
                                       const ModelInferRequest* request,
                                       inference::ModelInferResponse* response) override {
    Arrival arrival = doorway_->Meet(*grpc_context, "GRPCInferenceService.ModelInfer",
                                     /*streams=*/true, [request] { return TextForLog(*request); });
    auto call = std::make_shared<InferCall>(doorway_, grpc_context, std::move(arrival.origin),
                                            *request, response);
    doorway_->Begin(
        call, arrival.allowed, request->ByteSizeLong(),
        [&] { return doorway_->Check(*grpc_context, {}); },
        [call = call.get()] { return call->Translate(); });
    return call.get();
  }

  grpc::ServerBidiReactor<ModelInferRequest, inference::ModelStreamInferResponse>* ModelStreamInfer(
      grpc::CallbackServerContext* grpc_context) override {
    return StartInferStream(doorway_, grpc_context);
  }

 private:
  bool Ready() const {
    const Engine* const engine = doorway_->engine();
    return engine != nullptr && !doorway_->context()->draining && !engine->Snapshot().failed;
  }

  // Answers whoever may call, whatever the engine's state.
  grpc::ServerUnaryReactor* Always(grpc::CallbackServerContext* grpc_context, const char* method,
                                   const std::function<void()>& fill) {
    return doorway_->AnswerAlways(grpc_context, method, [&](const Caller& /*caller*/) {
      fill();
      return absl::OkStatus();
    });
  }

  // Answers a question about a model, if it is the one that is served.
  template <typename Question, typename Fill>
  grpc::ServerUnaryReactor* OfModel(grpc::CallbackServerContext* grpc_context, const char* method,
                                    const Question& request, const Fill& fill) {
    return doorway_->Answer(grpc_context, method, [&](const Engine& engine) {
      absl::Status status = CheckModel(request.name(), request.version(), engine.Info().model_name);
      if (status.ok()) fill(engine);
      return status;
    });
  }

  Doorway* const doorway_;
};

}  // namespace

std::unique_ptr<grpc::Service> MakeInferService(Doorway* doorway) {
  return std::make_unique<InferService>(doorway);
}

}  // namespace recurve
