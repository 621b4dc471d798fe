// SPDX-License-Identifier: Apache-2.0
#include "server/grpc/generation_service.h"

#include <grpcpp/grpcpp.h>

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "engine/base/status_macros.h"
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
  GenerateCall(CallContext* context, grpc::CallbackServerContext* grpc_context, CallOrigin origin)
      : Call(context, std::move(origin)), grpc_context_(grpc_context), metadata_(grpc_context) {}

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
  CompleteCall(CallContext* context, grpc::CallbackServerContext* grpc_context, CallOrigin origin,
               v1::CompleteResponse* response)
      : Call(context, std::move(origin)),
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

// For the log, which a long prompt must not fill.
std::string PromptForLog(const v1::GenerateRequest& request) {
  constexpr size_t kMostBytes = 4096;
  constexpr int kMostIds = 1024;
  if (request.has_tokens()) {
    const auto& ids = request.tokens().ids();
    return absl::StrJoin(ids.begin(), ids.begin() + std::min(kMostIds, ids.size()), " ");
  }
  return request.text().substr(0, kMostBytes);
}

class GenerationService final : public v1::GenerationService::CallbackService {
 public:
  GenerationService(CallContext* context, Intake* intake, const Authenticator* authenticator)
      : context_(context), intake_(intake), authenticator_(authenticator) {}

  grpc::ServerWriteReactor<v1::GenerateResponse>* Generate(
      grpc::CallbackServerContext* grpc_context, const v1::GenerateRequest* request) override {
    const auto caller = authenticator_->Judge(*grpc_context);
    auto call = std::make_shared<GenerateCall>(
        context_, grpc_context,
        OriginOfRequest(*grpc_context, *request, "Generate", /*streams=*/true, caller));
    Begin(call, grpc_context, request, caller.status());
    return call.get();
  }

  grpc::ServerUnaryReactor* Complete(grpc::CallbackServerContext* grpc_context,
                                     const v1::GenerateRequest* request,
                                     v1::CompleteResponse* response) override {
    const auto caller = authenticator_->Judge(*grpc_context);
    auto call = std::make_shared<CompleteCall>(
        context_, grpc_context,
        OriginOfRequest(*grpc_context, *request, "Complete", /*streams=*/false, caller), response);
    Begin(call, grpc_context, request, caller.status());
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
    if (!IsAllowed(grpc_context, "GetModelInfo", reactor)) return reactor;
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
    if (!IsAllowed(grpc_context, "GetLoad", reactor)) return reactor;
    Answer(reactor, "GetLoad", [&](const Engine& engine) {
      FillLoad(engine.Info(), engine.Snapshot(), context_->metrics->latencies(),
               steady_clock::now() - started_, response);
      return absl::OkStatus();
    });
    return reactor;
  }

 private:
  CallOrigin OriginOfRequest(const grpc::CallbackServerContext& grpc_context,
                             const v1::GenerateRequest& request, std::string method, bool streams,
                             const absl::StatusOr<Caller>& caller) const {
    CallOrigin origin = OriginOf(grpc_context, std::move(method), streams);
    if (!caller.ok()) return origin;
    origin.tenant = caller->tenant;
    if (context_->options->log.prompts) origin.prompt = PromptForLog(request);
    return origin;
  }

  // Whether the call may go on; otherwise it has ended.
  bool IsAllowed(grpc::CallbackServerContext* grpc_context, const std::string& method,
                 grpc::ServerUnaryReactor* reactor) const {
    const absl::Status status = authenticator_->Judge(*grpc_context).status();
    if (status.ok()) return true;
    context_->metrics->CountRpc(method, status.code());
    reactor->Finish(ToGrpc(status));
    return false;
  }

  // gRPC keeps `grpc_context` and `request` until the call is done, and no call is done before it
  // was admitted or refused. `allowed`: whether its caller may call.
  void Begin(const std::shared_ptr<Call>& call, const grpc::CallbackServerContext* grpc_context,
             const v1::GenerateRequest* request, const absl::Status& allowed) {
    context_->egress->Open(call);
    Rejection why =
        absl::IsInvalidArgument(allowed) ? Rejection::kInvalid : Rejection::kUnauthenticated;
    absl::Status status = allowed;
    if (status.ok()) status = CheckArrival(call.get(), *grpc_context, *request, &why);
    if (!status.ok()) return call->Refuse(std::move(status), why);
    const auto admit = [call, request] {
      call->Admit(RequestFromProto(*request, call->arrival()));
    };
    if (!Post(TextKind::kPrompt, request->ByteSizeLong(), admit)) {
      call->Refuse(TooBusy(), Rejection::kQueueFull);
    }
  }

  // What can be said before the prompt is tokenized. Refused here, it neither waits nor is waited
  // for, and gRPC can free it.
  absl::Status CheckArrival(Call* call, const grpc::CallbackServerContext& grpc_context,
                            const v1::GenerateRequest& request, Rejection* why) const {
    *why = Rejection::kInvalid;
    RETURN_IF_ERROR(CheckRequestId(grpc_context));
    const Engine* const engine = context_->engine.load(std::memory_order_acquire);
    if (engine != nullptr) RETURN_IF_ERROR(CheckPromptSize(request, engine->Info()));
    return call->Enter(why);
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
    if (!IsAllowed(grpc_context, method, reactor)) return reactor;
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
  const Authenticator* const authenticator_;
  const SteadyTime started_ = steady_clock::now();
};

}  // namespace

std::unique_ptr<grpc::Service> MakeGenerationService(CallContext* context, Intake* intake,
                                                     const Authenticator* authenticator) {
  return std::make_unique<GenerationService>(context, intake, authenticator);
}

}  // namespace recurve
