// SPDX-License-Identifier: Apache-2.0
#include "server/grpc/doorway.h"

#include <grpcpp/grpcpp.h>

#include <algorithm>
#include <chrono>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "engine/base/status_macros.h"
#include "server/grpc/call_metadata.h"
#include "server/grpc/grpc_status.h"

namespace recurve {

std::string PromptForLog(const std::string& text) {
  constexpr size_t kMostBytes = 4096;
  return text.substr(0, kMostBytes);
}

std::string PromptForLog(const google::protobuf::RepeatedField<uint32_t>& ids) {
  constexpr int kMostIds = 1024;
  return absl::StrJoin(ids.begin(), ids.begin() + std::min(kMostIds, ids.size()), " ");
}

Arrival Doorway::Meet(const grpc::CallbackServerContext& grpc_context, std::string method,
                      bool streams, const std::function<std::string()>& prompt) const {
  const absl::StatusOr<Caller> caller = Judge(grpc_context);
  Arrival arrival{caller.status(), OriginOf(grpc_context, std::move(method), streams)};
  if (!caller.ok()) return arrival;
  arrival.origin.tenant = caller->tenant;
  if (context_->options->log.prompts) arrival.origin.prompt = prompt();
  return arrival;
}

absl::Status Doorway::Check(const grpc::CallbackServerContext& grpc_context,
                            const PromptSize& size) const {
  RETURN_IF_ERROR(CheckRequestId(grpc_context));
  const Engine* const loaded = engine();
  return loaded == nullptr ? absl::OkStatus() : CheckPromptSize(size, loaded->Info());
}

void Doorway::Begin(const std::shared_ptr<Call>& call, const absl::Status& allowed, size_t bytes,
                    const std::function<absl::Status()>& check,
                    std::function<absl::StatusOr<Request>()> translate) {
  context_->egress->Open(call);
  if (!allowed.ok()) {
    const bool invalid = absl::IsInvalidArgument(allowed);
    return call->Refuse(allowed, invalid ? Rejection::kInvalid : Rejection::kUnauthenticated);
  }
  // Refused here, a call neither waits nor is waited for, and gRPC can free its message.
  Rejection why = Rejection::kInvalid;
  absl::Status status = check();
  if (status.ok()) status = call->Enter(&why);
  if (!status.ok()) return call->Refuse(std::move(status), why);
  const auto admit = [call, translate = std::move(translate)] { call->Admit(translate()); };
  if (!Post(TextKind::kPrompt, bytes, admit)) call->Refuse(TooBusy(), Rejection::kQueueFull);
}

// False, and nothing happens, if too many wait.
bool Doorway::Post(TextKind kind, size_t bytes, std::function<void()> job) {
  Metrics* const metrics = context_->metrics;
  metrics->AddWaitingTexts(kind, 1);
  const bool posted = intake_->Post(kind, bytes, [metrics, kind, job = std::move(job)] {
    metrics->AddWaitingTexts(kind, -1);
    job();
  });
  if (!posted) metrics->AddWaitingTexts(kind, -1);
  return posted;
}

absl::Status Doorway::TooBusy() const {
  const ServerOptions& options = *context_->options;
  return absl::ResourceExhaustedError(absl::StrCat(
      "as many calls of this kind and length wait to be tokenized as --max_queued_requests or "
      "--max_queued_bytes allows, ",
      options.engine.schedule.max_queued_requests, " calls or ", options.admission.max_queued_bytes,
      " bytes"));
}

absl::Status Doorway::Ask(const std::function<absl::Status(const Engine&)>& answer) const {
  const Engine* const loaded = engine();
  if (loaded == nullptr) return absl::UnavailableError("the model is still loading");
  return answer(*loaded);
}

void Doorway::Finish(grpc::ServerUnaryReactor* reactor, const std::string& method,
                     const absl::Status& status) const {
  context_->metrics->CountRpc(method, status.code());
  reactor->Finish(ToGrpc(status));
}

grpc::ServerUnaryReactor* Doorway::Answer(
    grpc::CallbackServerContext* grpc_context, const std::string& method,
    const std::function<absl::Status(const Engine&)>& answer) const {
  return AnswerAlways(grpc_context, method, [&](const Caller& /*caller*/) { return Ask(answer); });
}

grpc::ServerUnaryReactor* Doorway::AnswerAlways(
    grpc::CallbackServerContext* grpc_context, const std::string& method,
    const std::function<absl::Status(const Caller&)>& answer) const {
  auto* const reactor = grpc_context->DefaultReactor();
  const absl::StatusOr<Caller> caller = Judge(*grpc_context);
  Finish(reactor, method, caller.ok() ? answer(*caller) : caller.status());
  return reactor;
}

grpc::ServerUnaryReactor* Doorway::AnswerLater(grpc::CallbackServerContext* grpc_context,
                                               const std::string& method, size_t bytes,
                                               std::function<absl::Status(const Engine&)> answer) {
  auto* const reactor = grpc_context->DefaultReactor();
  Arrival arrival = Meet(*grpc_context, method, /*streams=*/false, [] { return std::string(); });
  absl::Status allowed = std::move(arrival.allowed);
  allowed.Update(CheckRequestId(*grpc_context));
  const auto finish = [this, grpc_context, reactor,
                       origin = std::move(arrival.origin)](const absl::Status& status) {
    CallMetadata metadata(grpc_context);
    if (status.ok()) metadata.BeforeMessage(origin.id, engine()->Info().fingerprint);
    metadata.BeforeStatus(origin.id, status, context_->options->admission.retry_pushback);
    RecordAnswer(origin, status, std::chrono::steady_clock::now(), context_->metrics,
                 context_->log);
    reactor->Finish(ToGrpc(status));
  };
  const auto job = [this, grpc_context, finish, answer = std::move(answer)] {
    if (!grpc_context->IsCancelled()) return finish(Ask(answer));
    // By the server's own end, or by the client or its deadline.
    finish(context_->cutting ? absl::UnavailableError("the server has stopped")
                             : absl::CancelledError("the call was cancelled"));
  };
  if (!allowed.ok()) {
    finish(allowed);
  } else if (!Post(TextKind::kTool, bytes, job)) {
    finish(TooBusy());
  }
  return reactor;
}

}  // namespace recurve
