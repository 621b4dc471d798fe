// SPDX-License-Identifier: Apache-2.0
#include "server/grpc/infer_stream.h"

#include <grpcpp/grpcpp.h>

#include <deque>
#include <memory>
#include <optional>
#include <string>
#include <unordered_map>
#include <utility>
#include <vector>

#include "engine/base/mutex.h"
#include "inference/inference.pb.h"
#include "server/grpc/call_metadata.h"
#include "server/grpc/grpc_status.h"
#include "server/grpc/infer_request.h"
#include "server/grpc/infer_response.h"

namespace recurve {
namespace {

using inference::ModelInferRequest;
using inference::ModelStreamInferResponse;

class Infer;

constexpr char kMethod[] = "GRPCInferenceService.ModelStreamInfer";

// Owned by itself until OnDone, and by its calls. Thread-safe. gRPC may run a reaction inside each
// of its functions, so none is called with the lock held.
class InferStream final
    : public grpc::ServerBidiReactor<ModelInferRequest, ModelStreamInferResponse>,
      public std::enable_shared_from_this<InferStream> {
 public:
  InferStream(Doorway* doorway, grpc::CallbackServerContext* grpc_context)
      : doorway_(doorway),
        grpc_context_(grpc_context),
        errors_are_statuses_(HasFlag(*grpc_context, "triton_grpc_error")) {}

  void Start() {
    self_ = shared_from_this();
    const absl::Status allowed = doorway_->Judge(*grpc_context_).status();
    if (!allowed.ok()) doorway_->context()->metrics->CountRpc(kMethod, allowed.code());
    Act([&](State& state) {
      if (!allowed.ok()) state.error = ToGrpc(allowed);
    });
  }

  void OnReadDone(bool ok) override;
  void OnWriteDone(bool ok) override;
  void OnCancel() override;
  void OnDone() override { const auto last = std::move(self_); }

  // For a call: its WriteDone follows.
  void Write(std::shared_ptr<Infer> call, ModelStreamInferResponse response) {
    Act([&](State& state) { state.outgoing.push_back({std::move(response), std::move(call)}); });
  }
  // A call's last word, of the request with this id.
  void EndOf(Infer* call, const std::string& request_id, const absl::Status& status);
  // Gives up on the client.
  void Cut() { grpc_context_->TryCancel(); }

  Doorway* doorway() const { return doorway_; }
  grpc::CallbackServerContext* grpc_context() const { return grpc_context_; }

 private:
  struct Outgoing {
    ModelStreamInferResponse response;
    std::shared_ptr<Infer> call;  // whose WriteDone follows; null: nobody's
  };
  struct Actions {
    bool read = false;
    const ModelStreamInferResponse* write = nullptr;
    std::optional<grpc::Status> finish;
  };
  struct State {
    std::unordered_map<Infer*, std::shared_ptr<Infer>> calls;
    std::deque<Outgoing> outgoing;  // while `writing`, the first is written
    bool reading = false;
    bool writing = false;
    bool read_all = false;
    bool finished = false;
    std::optional<grpc::Status> error;  // that ends the stream

    Actions Next();
  };

  static bool HasFlag(const grpc::CallbackServerContext& grpc_context, const char* key) {
    const auto found = grpc_context.client_metadata().find(key);
    return found != grpc_context.client_metadata().end() && found->second == "true";
  }

  // Changes the state, `change(state)`, and does what is to be done then.
  template <typename Change>
  void Act(const Change& change) {
    Actions actions;
    {
      const MutexLock lock(mutex_);
      change(state_);
      actions = state_.Next();
    }
    if (actions.read) StartRead(&request_);
    if (actions.write != nullptr) StartWrite(actions.write);
    if (actions.finish) Finish(*actions.finish);
  }

  void Begin();
  void CancelCalls();

  Doorway* const doorway_;
  grpc::CallbackServerContext* const grpc_context_;
  const bool errors_are_statuses_;     // of the whole stream, instead of messages
  std::shared_ptr<InferStream> self_;  // from Start to OnDone
  ModelInferRequest request_;          // being read

  Mutex mutex_;
  State state_ ABSL_GUARDED_BY(mutex_);
};

// One request of a stream.
class Infer final : public Call {
 public:
  Infer(std::shared_ptr<InferStream> stream, CallOrigin origin, ModelInferRequest request)
      : Call(stream->doorway()->context(), std::move(origin)),
        stream_(std::move(stream)),
        request_(std::move(request)) {}

  using Call::id;
  using Call::PeerGone;
  using Call::WriteDone;

  size_t bytes() const { return request_.ByteSizeLong(); }
  absl::StatusOr<Request> Translate() {
    const Engine* const engine = stream_->doorway()->engine();
    if (engine == nullptr) return absl::UnavailableError("the model is still loading");
    auto terms = TermsFromInfer(request_, engine->Info().model_name, arrival());
    if (!terms.ok()) return terms.status();
    answer_.emplace(request_, *terms);
    return std::move(terms->request);
  }

 private:
  void SendDelta(const Delta& delta, const Echo& /*echo*/) override {
    auto response = answer_->Take(delta, *stream_->doorway()->engine());
    if (!response) return WriteDone(true);
    ModelStreamInferResponse message;
    *message.mutable_infer_response() = *std::move(response);
    stream_->Write(std::static_pointer_cast<Infer>(shared_from_this()), std::move(message));
  }
  void SendStatus(const absl::Status& status) override {
    stream_->EndOf(this, request_.id(), WithInferNames(status));
    TransportDone();
  }
  void Abort() override { stream_->Cut(); }

  const std::shared_ptr<InferStream> stream_;
  const ModelInferRequest request_;
  std::optional<InferAnswer> answer_;  // once translated
};

InferStream::Actions InferStream::State::Next() {
  Actions actions;
  const size_t open = calls.size() + outgoing.size();
  if (!writing && !outgoing.empty()) {
    writing = true;
    actions.write = &outgoing.front().response;
  }
  if (!reading && !read_all && !error && open < kMaxOpenInfers) actions.read = reading = true;
  if (open == 0 && !finished && (read_all || error)) {
    finished = true;
    actions.finish = error.value_or(grpc::Status::OK);
  }
  return actions;
}

void InferStream::OnReadDone(bool ok) {
  if (ok) Begin();
  Act([&](State& state) {
    state.reading = false;
    if (!ok) state.read_all = true;
  });
}

void InferStream::Begin() {
  // The caller is judged anew: a token that was taken away is good for no further request.
  Arrival arrival = doorway_->Meet(*grpc_context_, kMethod, /*streams=*/true,
                                   [this] { return TextForLog(request_); });
  auto call =
      std::make_shared<Infer>(shared_from_this(), std::move(arrival.origin), std::move(request_));
  request_.Clear();
  {
    const MutexLock lock(mutex_);
    if (state_.error) return;
    state_.calls.emplace(call.get(), call);
  }
  doorway_->Begin(
      call, arrival.allowed, call->bytes(), [this] { return doorway_->Check(*grpc_context_, {}); },
      [call = call.get()] { return call->Translate(); });
}

void InferStream::OnWriteDone(bool ok) {
  std::shared_ptr<Infer> call;
  Act([&](State& state) {
    state.writing = false;
    call = std::move(state.outgoing.front().call);
    state.outgoing.pop_front();
  });
  if (call) call->WriteDone(ok);
}

void InferStream::OnCancel() {
  Act([&](State& state) {
    if (!state.error) state.error = grpc::Status::CANCELLED;
  });
  CancelCalls();
}

void InferStream::CancelCalls() {
  std::vector<std::shared_ptr<Infer>> calls;
  {
    const MutexLock lock(mutex_);
    for (const auto& [key, call] : state_.calls) calls.push_back(call);
  }
  for (const std::shared_ptr<Infer>& call : calls) call->PeerGone();
}

void InferStream::EndOf(Infer* call, const std::string& request_id, const absl::Status& status) {
  bool fails = false;
  // While the call counts the stream does not finish, so that what this starts comes before that.
  Act([&](State& state) {
    if (status.ok() || state.error) return;
    if (errors_are_statuses_) {
      CallMetadata(grpc_context_)
          .BeforeStatus(call->id(), status, doorway_->context()->options->admission.retry_pushback);
      state.error = ToGrpc(status);
      fails = true;
      return;
    }
    ModelStreamInferResponse message;
    message.set_error_message(std::string(status.message()));
    message.mutable_infer_response()->set_id(request_id);
    state.outgoing.push_back({std::move(message), nullptr});
  });
  std::shared_ptr<Infer> last;
  Act([&](State& state) {
    const auto found = state.calls.find(call);
    last = std::move(found->second);
    state.calls.erase(found);
  });
  if (fails) CancelCalls();
}

}  // namespace

grpc::ServerBidiReactor<ModelInferRequest, ModelStreamInferResponse>* StartInferStream(
    Doorway* doorway, grpc::CallbackServerContext* grpc_context) {
  auto stream = std::make_shared<InferStream>(doorway, grpc_context);
  stream->Start();
  return stream.get();
}

}  // namespace recurve
