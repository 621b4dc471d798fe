// SPDX-License-Identifier: Apache-2.0
#include "server/grpc/generation_service.h"

#include <grpcpp/grpcpp.h>

#include <utility>

#include "recurve/v1/generation.grpc.pb.h"
#include "server/grpc/call_metadata.h"
#include "server/grpc/grpc_status.h"
#include "server/grpc/load_report.h"
#include "server/grpc/request_from_proto.h"
#include "server/grpc/response_to_proto.h"

namespace recurve {
namespace {

using std::chrono::steady_clock;

class GenerateCall final : public Call, public grpc::ServerWriteReactor<v1::GenerateResponse> {
 public:
  GenerateCall(CallContext* context, grpc::CallbackServerContext* grpc_context, CallOrigin origin,
               LoadReporter* load)
      : Call(context, std::move(origin)),
        grpc_context_(grpc_context),
        load_(load),
        metadata_(grpc_context) {}

  void OnWriteDone(bool ok) override { WriteDone(ok); }
  void OnCancel() override { PeerGone(); }
  void OnDone() override { TransportDone(); }

 private:
  void SendDelta(const Delta& delta, const Echo& echo) override {
    const Engine& engine = *context()->engine.load(std::memory_order_acquire);
    metadata_.BeforeMessage(id(), engine.Info().fingerprint);
    message_.Clear();
    FillResponse(delta, echo, engine, &message_);
    StartWrite(&message_);
  }
  void SendStatus(const absl::Status& status) override {
    metadata_.BeforeStatus(id(), status, context()->options->admission.retry_pushback);
    load_->AddTo(grpc_context_, context()->engine.load(std::memory_order_acquire), status.code());
    Finish(ToGrpc(WithProtoPaths(status)));
  }
  void Abort() override { grpc_context_->TryCancel(); }

  grpc::CallbackServerContext* const grpc_context_;
  LoadReporter* const load_;
  CallMetadata metadata_;
  v1::GenerateResponse message_;  // being written
};

class CompleteCall final : public Call, public grpc::ServerUnaryReactor {
 public:
  CompleteCall(CallContext* context, grpc::CallbackServerContext* grpc_context, CallOrigin origin,
               v1::CompleteResponse* response, LoadReporter* load)
      : Call(context, std::move(origin)),
        grpc_context_(grpc_context),
        load_(load),
        metadata_(grpc_context),
        response_(response) {}

  void OnCancel() override { PeerGone(); }
  void OnDone() override { TransportDone(); }

 private:
  void SendDelta(const Delta& delta, const Echo& echo) override {
    const Engine& engine = *context()->engine.load(std::memory_order_acquire);
    metadata_.BeforeMessage(id(), engine.Info().fingerprint);
    FillResponse(delta, echo, engine, response_);
  }
  void SendStatus(const absl::Status& status) override {
    metadata_.BeforeStatus(id(), status, context()->options->admission.retry_pushback);
    load_->AddTo(grpc_context_, context()->engine.load(std::memory_order_acquire), status.code());
    Finish(ToGrpc(WithProtoPaths(status)));
  }
  void Abort() override { grpc_context_->TryCancel(); }

  grpc::CallbackServerContext* const grpc_context_;
  LoadReporter* const load_;
  CallMetadata metadata_;
  v1::CompleteResponse* const response_;
};

std::string PromptForLog(const v1::GenerateRequest& request) {
  return request.has_tokens() ? recurve::PromptForLog(request.tokens().ids())
                              : recurve::PromptForLog(request.text());
}

class GenerationService final : public v1::GenerationService::CallbackService {
 public:
  explicit GenerationService(Doorway* doorway) : doorway_(doorway) {}

  grpc::ServerWriteReactor<v1::GenerateResponse>* Generate(
      grpc::CallbackServerContext* grpc_context, const v1::GenerateRequest* request) override {
    Arrival arrival = doorway_->Meet(*grpc_context, "Generate", /*streams=*/true,
                                     [request] { return PromptForLog(*request); });
    auto call = std::make_shared<GenerateCall>(doorway_->context(), grpc_context,
                                               std::move(arrival.origin), &load_);
    Begin(call, arrival.allowed, grpc_context, request);
    return call.get();
  }

  grpc::ServerUnaryReactor* Complete(grpc::CallbackServerContext* grpc_context,
                                     const v1::GenerateRequest* request,
                                     v1::CompleteResponse* response) override {
    Arrival arrival = doorway_->Meet(*grpc_context, "Complete", /*streams=*/false,
                                     [request] { return PromptForLog(*request); });
    auto call = std::make_shared<CompleteCall>(doorway_->context(), grpc_context,
                                               std::move(arrival.origin), response, &load_);
    Begin(call, arrival.allowed, grpc_context, request);
    return call.get();
  }

  grpc::ServerUnaryReactor* Tokenize(grpc::CallbackServerContext* grpc_context,
                                     const v1::TokenizeRequest* request,
                                     v1::TokenizeResponse* response) override {
    const auto answer = [request, response](const Engine& engine) {
      const bool add_special = !request->has_add_special_tokens() || request->add_special_tokens();
      auto ids = engine.Tokenize(request->text(), add_special);
      if (!ids.ok()) return ids.status();
      response->mutable_ids()->Assign(ids->begin(), ids->end());
      if (request->with_text()) {
        for (const uint32_t id : *ids) response->add_texts(engine.TokenText(id));
      }
      return absl::OkStatus();
    };
    return doorway_->AnswerLater(grpc_context, "Tokenize", request->ByteSizeLong(), answer);
  }

  grpc::ServerUnaryReactor* Detokenize(grpc::CallbackServerContext* grpc_context,
                                       const v1::DetokenizeRequest* request,
                                       v1::DetokenizeResponse* response) override {
    const auto answer = [request, response](const Engine& engine) {
      const bool skip_special =
          !request->has_skip_special_tokens() || request->skip_special_tokens();
      auto text = engine.Detokenize({request->ids().begin(), request->ids().end()}, skip_special);
      if (!text.ok()) return text.status();
      response->set_text(*std::move(text));
      if (request->with_text()) {
        for (const uint32_t id : request->ids()) response->add_texts(engine.TokenText(id));
      }
      return absl::OkStatus();
    };
    return doorway_->AnswerLater(grpc_context, "Detokenize", request->ByteSizeLong(), answer);
  }

  grpc::ServerUnaryReactor* GetModelInfo(grpc::CallbackServerContext* grpc_context,
                                         const v1::GetModelInfoRequest* /*request*/,
                                         v1::GetModelInfoResponse* response) override {
    return doorway_->Answer(grpc_context, "GetModelInfo", [&](const Engine& engine) {
      FillModelInfo(engine.Info(), doorway_->context()->options->listen, response);
      return absl::OkStatus();
    });
  }

  grpc::ServerUnaryReactor* GetLoad(grpc::CallbackServerContext* grpc_context,
                                    const v1::GetLoadRequest* /*request*/,
                                    v1::GetLoadResponse* response) override {
    return doorway_->Answer(grpc_context, "GetLoad", [&](const Engine& engine) {
      FillLoad(engine.Info(), engine.Snapshot(), doorway_->context()->metrics->latencies(),
               steady_clock::now() - started_, response);
      return absl::OkStatus();
    });
  }

 private:
  void Begin(const std::shared_ptr<Call>& call, const absl::Status& allowed,
             const grpc::CallbackServerContext* grpc_context, const v1::GenerateRequest* request) {
    const auto check = [&] {
      return doorway_->Check(*grpc_context,
                             {.text_bytes = request->text().size(),
                              .ids = static_cast<size_t>(request->tokens().ids_size()),
                              .generated_ids = request->generated_prefix()});
    };
    doorway_->Begin(
        call, allowed, request->ByteSizeLong(), check,
        [arrival = call->arrival(), request] { return RequestFromProto(*request, arrival); });
  }

  Doorway* const doorway_;
  LoadReporter load_;
  const SteadyTime started_ = steady_clock::now();
};

}  // namespace

std::unique_ptr<grpc::Service> MakeGenerationService(Doorway* doorway) {
  return std::make_unique<GenerationService>(doorway);
}

}  // namespace recurve
