// SPDX-License-Identifier: Apache-2.0
#include "server/grpc/generation_service.h"

#include <grpcpp/grpcpp.h>

#include <utility>

#include "absl/strings/str_cat.h"
#include "recurve/v1/generation.grpc.pb.h"
#include "server/grpc/call_metadata.h"
#include "server/grpc/grpc_status.h"
#include "server/grpc/request_from_proto.h"
#include "server/grpc/response_to_proto.h"

namespace recurve {
namespace {

using std::chrono::steady_clock;

class GenerateCall final : public Call, public grpc::ServerWriteReactor<v1::GenerateResponse> {
 public:
  GenerateCall(CallContext* context, grpc::CallbackServerContext* grpc_context)
      : Call(context, OriginOf(*grpc_context, "Generate", /*streams=*/true)),
        grpc_context_(grpc_context),
        metadata_(grpc_context) {}

  void OnWriteDone(bool ok) override { WriteDone(ok); }
  void OnCancel() override { PeerGone(); }
  void OnDone() override { TransportDone(); }

 private:
  void SendDelta(const Delta& delta, const Echo& echo) override {
    metadata_.BeforeMessage(id());
    message_.Clear();
    FillResponse(delta, echo, *context()->engine.load(std::memory_order_acquire), &message_);
    StartWrite(&message_);
  }
  void SendStatus(const absl::Status& status) override {
    metadata_.BeforeStatus(id(), status, context()->options->admission.retry_pushback);
    Finish(ToGrpc(WithProtoPaths(status)));
  }
  void Abort() override { grpc_context_->TryCancel(); }

  grpc::CallbackServerContext* const grpc_context_;
  CallMetadata metadata_;
  v1::GenerateResponse message_;  // being written
};

class CompleteCall final : public Call, public grpc::ServerUnaryReactor {
 public:
  CompleteCall(CallContext* context, grpc::CallbackServerContext* grpc_context,
               v1::CompleteResponse* response)
      : Call(context, OriginOf(*grpc_context, "Complete", /*streams=*/false)),
        grpc_context_(grpc_context),
        metadata_(grpc_context),
        response_(response) {}

  void OnCancel() override { PeerGone(); }
  void OnDone() override { TransportDone(); }

 private:
  void SendDelta(const Delta& delta, const Echo& echo) override {
    metadata_.BeforeMessage(id());
    FillResponse(delta, echo, *context()->engine.load(std::memory_order_acquire), response_);
  }
  void SendStatus(const absl::Status& status) override {
    metadata_.BeforeStatus(id(), status, context()->options->admission.retry_pushback);
    Finish(ToGrpc(WithProtoPaths(status)));
  }
  void Abort() override { grpc_context_->TryCancel(); }

  grpc::CallbackServerContext* const grpc_context_;
  CallMetadata metadata_;
  v1::CompleteResponse* const response_;
};

class GenerationService final : public v1::GenerationService::CallbackService {
 public:
  GenerationService(CallContext* context, Intake* intake) : context_(context), intake_(intake) {}

  grpc::ServerWriteReactor<v1::GenerateResponse>* Generate(
      grpc::CallbackServerContext* grpc_context, const v1::GenerateRequest* request) override {
    auto call = std::make_shared<GenerateCall>(context_, grpc_context);
    Begin(call, grpc_context, request);
    return call.get();
  }

  grpc::ServerUnaryReactor* Complete(grpc::CallbackServerContext* grpc_context,
                                     const v1::GenerateRequest* request,
                                     v1::CompleteResponse* response) override {
    auto call = std::make_shared<CompleteCall>(context_, grpc_context, response);
    Begin(call, grpc_context, request);
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
    return AnswerLater(grpc_context, "Tokenize", request->ByteSizeLong(), answer);
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
      return absl::OkStatus();
    };
    return AnswerLater(grpc_context, "Detokenize", request->ByteSizeLong(), answer);
  }

  grpc::ServerUnaryReactor* GetModelInfo(grpc::CallbackServerContext* grpc_context,
                                         const v1::GetModelInfoRequest* /*request*/,
                                         v1::GetModelInfoResponse* response) override {
    auto* reactor = grpc_context->DefaultReactor();
    Answer(reactor, "GetModelInfo", [&](const Engine& engine) {
      FillModelInfo(engine.Info(), context_->options->listen, response);
      return absl::OkStatus();
    });
    return reactor;
  }

  grpc::ServerUnaryReactor* GetLoad(grpc::CallbackServerContext* grpc_context,
                                    const v1::GetLoadRequest* /*request*/,
                                    v1::GetLoadResponse* response) override {
    auto* reactor = grpc_context->DefaultReactor();
    Answer(reactor, "GetLoad", [&](const Engine& engine) {
      FillLoad(engine.Info(), engine.Snapshot(), context_->metrics->latencies(),
               steady_clock::now() - started_, response);
      return absl::OkStatus();
    });
    return reactor;
  }

 private:
  // gRPC keeps `grpc_context` and `request` until the call is done, and no call is done before it
  // was admitted or refused.
  void Begin(const std::shared_ptr<Call>& call, const grpc::CallbackServerContext* grpc_context,
             const v1::GenerateRequest* request) {
    context_->egress->Open(call);
    const Engine* const engine = context_->engine.load(std::memory_order_acquire);
    if (engine != nullptr) {
      // Refused here, such a prompt neither waits nor is waited for, and gRPC can free it.
      absl::Status status = CheckPromptSize(*request, engine->Info());
      if (!status.ok()) return call->Refuse(std::move(status), Rejection::kInvalid);
    }
    const auto admit = [call, grpc_context, request] {
      if (absl::Status status = CheckNames(*grpc_context); !status.ok()) {
        return call->Refuse(std::move(status), Rejection::kInvalid);
      }
      call->Admit(RequestFromProto(*request, call->arrival()));
    };
    if (!Post(TextKind::kPrompt, request->ByteSizeLong(), admit)) {
      call->Refuse(TooBusy(), Rejection::kQueueFull);
    }
  }

  // False, and nothing happens, if too many wait.
  template <typename Function>
  bool Post(TextKind kind, size_t bytes, const Function& job) {
    Metrics* const metrics = context_->metrics;
    metrics->AddWaitingTexts(kind, 1);
    const bool posted = intake_->Post(kind, bytes, [=] {
      metrics->AddWaitingTexts(kind, -1);
      job();
    });
    if (!posted) metrics->AddWaitingTexts(kind, -1);
    return posted;
  }

  absl::Status TooBusy() const {
    const ServerOptions& options = *context_->options;
    return absl::ResourceExhaustedError(absl::StrCat(
        "as many calls of this kind and length wait to be tokenized as --max_queued_requests or "
        "--max_queued_bytes allows, ",
        options.engine.schedule.max_queued_requests, " calls or ",
        options.admission.max_queued_bytes, " bytes"));
  }

  // Finishes a short call with what `answer` says of the engine.
  template <typename Function>
  void Answer(grpc::ServerUnaryReactor* reactor, const std::string& method,
              const Function& answer) {
    const Engine* engine = context_->engine.load(std::memory_order_acquire);
    const absl::Status status =
        engine == nullptr ? absl::UnavailableError("the model is still loading") : answer(*engine);
    context_->metrics->CountRpc(method, status.code());
    reactor->Finish(ToGrpc(status));
  }

  template <typename Function>
  grpc::ServerUnaryReactor* AnswerLater(grpc::CallbackServerContext* grpc_context,
                                        const std::string& method, size_t bytes, Function answer) {
    auto* reactor = grpc_context->DefaultReactor();
    const auto job = [=, this] {
      if (grpc_context->IsCancelled()) {
        // By the server's own end, or by the client or its deadline.
        const absl::Status status = context_->cutting
                                        ? absl::UnavailableError("the server has stopped")
                                        : absl::CancelledError("the call was cancelled");
        context_->metrics->CountRpc(method, status.code());
        reactor->Finish(ToGrpc(status));
      } else {
        Answer(reactor, method, answer);
      }
    };
    if (!Post(TextKind::kTool, bytes, job)) {
      context_->metrics->CountRpc(method, absl::StatusCode::kResourceExhausted);
      grpc_context->AddTrailingMetadata(
          kPushbackKey, absl::StrCat(context_->options->admission.retry_pushback.count()));
      reactor->Finish(ToGrpc(TooBusy()));
    }
    return reactor;
  }

  CallContext* const context_;
  Intake* const intake_;
  const SteadyTime started_ = steady_clock::now();
};

}  // namespace

std::unique_ptr<grpc::Service> MakeGenerationService(CallContext* context, Intake* intake) {
  return std::make_unique<GenerationService>(context, intake);
}

}  // namespace recurve
