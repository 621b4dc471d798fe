// SPDX-License-Identifier: Apache-2.0
#include "server/grpc/vllm_service.h"

#include <grpcpp/grpcpp.h>

#include <string>
#include <unordered_map>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "engine/base/mutex.h"
#include "server/access/names.h"
#include "server/grpc/call_metadata.h"
#include "server/grpc/grpc_status.h"
#include "server/grpc/tokenizer_stream.h"
#include "server/grpc/vllm_messages.h"
#include "server/version.h"
#include "vllm/grpc/engine/vllm_engine.grpc.pb.h"

namespace recurve {
namespace {

using std::chrono::steady_clock;

class VllmCall;

// The calls that can be aborted, by their tenant and id. Thread-safe.
class VllmCalls {
 public:
  void Add(const std::shared_ptr<VllmCall>& call);
  void Remove(const VllmCall& call);
  std::vector<std::shared_ptr<VllmCall>> Find(const std::string& tenant, const std::string& id);

 private:
  static std::string KeyOf(const std::string& tenant, const std::string& id) {
    return absl::StrCat(tenant, "\n", id);  // neither has a line's end in it
  }

  Mutex mutex_;
  std::unordered_multimap<std::string, std::weak_ptr<VllmCall>> calls_ ABSL_GUARDED_BY(mutex_);
};

absl::Status CheckId(const vllm_proto::GenerateRequest& request) {
  const std::string& id = request.request_id();
  if (id.empty() || IsValidName(id, kMaxRequestIdBytes)) return absl::OkStatus();
  return absl::InvalidArgumentError(absl::StrCat("request_id has ", id.size(),
                                                 " characters; it must have from 1 to ",
                                                 kMaxRequestIdBytes, " printable ones"));
}

class VllmCall final : public Call, public grpc::ServerWriteReactor<vllm_proto::GenerateResponse> {
 public:
  VllmCall(CallContext* context, grpc::CallbackServerContext* grpc_context, CallOrigin origin,
           const vllm_proto::GenerateRequest& request, VllmCalls* calls)
      : Call(context, std::move(origin)),
        grpc_context_(grpc_context),
        metadata_(grpc_context),
        answer_(request),
        calls_(calls) {}

  using Call::id;
  using Call::tenant;

  // Ends the call with CANCELLED, as if its client had gone. Any thread, also after its end.
  void AbortById() { PeerGone(); }

  void OnWriteDone(bool ok) override {
    if (ok && ++written_ < messages_.size()) {
      StartWrite(&messages_[written_]);
    } else {
      WriteDone(ok);
    }
  }
  void OnCancel() override { PeerGone(); }
  void OnDone() override {
    calls_->Remove(*this);
    TransportDone();
  }

 private:
  void SendDelta(const Delta& delta, const Echo& /*echo*/) override {
    messages_ = answer_.Take(delta);
    written_ = 0;
    if (messages_.empty()) return WriteDone(true);
    metadata_.BeforeMessage(id(),
                            context()->engine.load(std::memory_order_acquire)->Info().fingerprint);
    StartWrite(messages_.data());
  }
  void SendStatus(const absl::Status& status) override {
    metadata_.BeforeStatus(id(), status, context()->options->admission.retry_pushback);
    Finish(ToGrpc(WithVllmPaths(status)));
  }
  void Abort() override { grpc_context_->TryCancel(); }

  grpc::CallbackServerContext* const grpc_context_;
  CallMetadata metadata_;
  VllmAnswer answer_;
  VllmCalls* const calls_;
  std::vector<vllm_proto::GenerateResponse> messages_;  // of one delta, being written
  size_t written_ = 0;                                  // of these
};

void VllmCalls::Add(const std::shared_ptr<VllmCall>& call) {
  const MutexLock lock(mutex_);
  calls_.emplace(KeyOf(call->tenant(), call->id()), call);
}

void VllmCalls::Remove(const VllmCall& call) {
  const MutexLock lock(mutex_);
  const auto [begin, end] = calls_.equal_range(KeyOf(call.tenant(), call.id()));
  for (auto it = begin; it != end; ++it) {
    if (it->second.lock().get() != &call) continue;
    calls_.erase(it);
    return;
  }
}

std::vector<std::shared_ptr<VllmCall>> VllmCalls::Find(const std::string& tenant,
                                                       const std::string& id) {
  std::vector<std::shared_ptr<VllmCall>> found;
  const MutexLock lock(mutex_);
  const auto [begin, end] = calls_.equal_range(KeyOf(tenant, id));
  for (auto it = begin; it != end; ++it) {
    if (auto call = it->second.lock()) found.push_back(std::move(call));
  }
  return found;
}

class VllmService final : public vllm_proto::VllmEngine::CallbackService {
 public:
  explicit VllmService(Doorway* doorway) : doorway_(doorway) {}

  grpc::ServerWriteReactor<vllm_proto::GenerateResponse>* Generate(
      grpc::CallbackServerContext* grpc_context,
      const vllm_proto::GenerateRequest* request) override {
    Arrival arrival =
        doorway_->Meet(*grpc_context, "VllmEngine.Generate", /*streams=*/true, [request] {
          return request->has_text() ? PromptForLog(request->text())
                                     : PromptForLog(request->tokenized().input_ids());
        });
    // The message's id goes before that of the metadata.
    const std::string& id = request->request_id();
    if (IsValidName(id, kMaxRequestIdBytes)) arrival.origin.id = id;
    auto call = std::make_shared<VllmCall>(doorway_->context(), grpc_context,
                                           std::move(arrival.origin), *request, &calls_);
    calls_.Add(call);
    const auto check = [&] {
      absl::Status status = CheckId(*request);
      status.Update(doorway_->Check(*grpc_context, SizeOf(*request)));
      return status;
    };
    doorway_->Begin(
        call, arrival.allowed, request->ByteSizeLong(), check,
        [arrival = call->arrival(), request] { return RequestFromVllm(*request, arrival); });
    return call.get();
  }

  grpc::ServerUnaryReactor* HealthCheck(grpc::CallbackServerContext* grpc_context,
                                        const vllm_proto::HealthCheckRequest* /*request*/,
                                        vllm_proto::HealthCheckResponse* response) override {
    return doorway_->AnswerAlways(
        grpc_context, "VllmEngine.HealthCheck", [&](const Caller& /*caller*/) {
          const Engine* const engine = doorway_->engine();
          const bool failed = engine != nullptr && engine->Snapshot().failed;
          const bool draining = doorway_->context()->draining;
          response->set_healthy(engine != nullptr && !failed && !draining);
          response->set_message(engine == nullptr ? "loading"
                                : failed          ? "the engine has failed"
                                : draining        ? "draining"
                                                  : "serving");
          return absl::OkStatus();
        });
  }

  grpc::ServerUnaryReactor* Abort(grpc::CallbackServerContext* grpc_context,
                                  const vllm_proto::AbortRequest* request,
                                  vllm_proto::AbortResponse* /*response*/) override {
    return doorway_->AnswerAlways(grpc_context, "VllmEngine.Abort", [&](const Caller& caller) {
      for (const std::string& id : request->request_ids()) {
        const auto calls = calls_.Find(caller.tenant.value_or(""), id);
        for (const std::shared_ptr<VllmCall>& call : calls) call->AbortById();
      }
      return absl::OkStatus();
    });
  }

  grpc::ServerUnaryReactor* GetModelInfo(grpc::CallbackServerContext* grpc_context,
                                         const vllm_proto::GetModelInfoRequest* /*request*/,
                                         vllm_proto::GetModelInfoResponse* response) override {
    return doorway_->Answer(grpc_context, "VllmEngine.GetModelInfo", [&](const Engine& engine) {
      FillVllmModelInfo(engine.Info(), doorway_->context()->options->engine.model.directory,
                        response);
      return absl::OkStatus();
    });
  }

  grpc::ServerUnaryReactor* GetServerInfo(grpc::CallbackServerContext* grpc_context,
                                          const vllm_proto::GetServerInfoRequest* /*request*/,
                                          vllm_proto::GetServerInfoResponse* response) override {
    return doorway_->Answer(grpc_context, "VllmEngine.GetServerInfo", [&](const Engine& engine) {
      const ScheduleCounters counters = engine.Snapshot().schedule;
      response->set_active_requests(counters.running + counters.waiting);
      response->set_uptime_seconds(
          std::chrono::duration<double>(steady_clock::now() - started_).count());
      response->set_server_type("vllm-grpc");
      response->set_data_parallel_size(1);
      return absl::OkStatus();
    });
  }

  grpc::ServerUnaryReactor* GetLoads(grpc::CallbackServerContext* grpc_context,
                                     const vllm_proto::GetLoadsRequest* /*request*/,
                                     vllm_proto::GetLoadsResponse* response) override {
    return doorway_->Answer(grpc_context, "VllmEngine.GetLoads", [&](const Engine& engine) {
      const EngineSnapshot snapshot = engine.Snapshot();
      response->set_timestamp(
          absl::FormatTime(absl::RFC3339_full, absl::Now(), absl::UTCTimeZone()));
      response->set_version(kVersion);
      response->set_dp_rank_count(1);
      FillVllmLoad(engine.Info(), snapshot, Throughput(snapshot.schedule.generated_tokens),
                   response->add_loads());
      return absl::OkStatus();
    });
  }

  grpc::ServerWriteReactor<vllm_proto::GetTokenizerChunk>* GetTokenizer(
      grpc::CallbackServerContext* grpc_context,
      const vllm_proto::GetTokenizerRequest* /*request*/) override {
    return StartTokenizerStream(doorway_, &bundles_, grpc_context);
  }

 private:
  // Tokens a second since the last call, or the start.
  double Throughput(uint64_t generated) {
    const SteadyTime now = steady_clock::now();
    const MutexLock lock(mutex_);
    const std::chrono::duration<double> time = now - std::exchange(looked_, now);
    const uint64_t tokens = generated - std::exchange(generated_, generated);
    return time.count() > 0 ? static_cast<double>(tokens) / time.count() : 0;
  }

  Doorway* const doorway_;
  const SteadyTime started_ = steady_clock::now();
  VllmCalls calls_;
  TokenizerBundles bundles_;
  Mutex mutex_;
  SteadyTime looked_ ABSL_GUARDED_BY(mutex_) = started_;
  uint64_t generated_ ABSL_GUARDED_BY(mutex_) = 0;
};

}  // namespace

std::unique_ptr<grpc::Service> MakeVllmService(Doorway* doorway) {
  return std::make_unique<VllmService>(doorway);
}

}  // namespace recurve
