// SPDX-License-Identifier: Apache-2.0
#include "client/load/oip_target.h"

#include <chrono>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/synchronization/notification.h"
#include "client/call_status.h"
#include "client/channel.h"
#include "client/load/oip_messages.h"
#include "client/load/sampling_json.h"
#include "client/prepare_call.h"

namespace recurve::client {
namespace {

using inference::ModelInferRequest;

constexpr std::chrono::seconds kDescribeTimeout(10);

// Of a request. Lives until it is destroyed, which waits for its end.
class InferStream final
    : public grpc::ClientBidiReactor<ModelInferRequest, inference::ModelStreamInferResponse>,
      public MessageReader,
      public Stream {
 public:
  InferStream(ModelInferRequest request, Target::OnMessage on_message, Target::OnEnd on_end)
      : request_(std::move(request)),
        on_message_(std::move(on_message)),
        on_end_(std::move(on_end)) {}
  ~InferStream() override {
    context_.TryCancel();
    ended_.WaitForNotification();
  }

  void Start(inference::GRPCInferenceService::Stub& stub, const CallOptions& call) {
    PrepareTry(Deadline(call), call, /*prefix_key=*/0, context_);
    context_.AddMetadata("triton_grpc_error", "true");
    stub.async()->ModelStreamInfer(&context_, this);
    StartWriteLast(&request_, grpc::WriteOptions());
    StartRead(&response_);
    AddHold();  // Done may come from any thread
    StartCall();
  }

  void Cancel() override { context_.TryCancel(); }

  void OnReadDone(bool ok) override {
    if (!ok) return RemoveHold();
    absl::StatusOr<Heard> heard = Take();
    if (!heard.ok()) {
      if (error_.ok()) error_ = heard.status();
      context_.TryCancel();
      return StartRead(&response_);  // what is left, in vain
    }
    if (on_message_(*heard, *this)) StartRead(&response_);
  }

  void Done() override { StartRead(&response_); }

  void OnDone(const grpc::Status& status) override {
    on_end_(error_.ok() ? FromGrpc(status, context_) : error_);
    ended_.Notify();  // the destructor may run at once
  }

 private:
  absl::StatusOr<Heard> Take() {
    // Of servers that do not know triton_grpc_error.
    if (!response_.error_message().empty()) return absl::UnknownError(response_.error_message());
    absl::StatusOr<Heard> heard = HeardOf(response_.infer_response());
    if (!heard.ok() || !heard->generated_tokens) return heard;
    generated_tokens_ += *heard->generated_tokens;  // a message tells its own
    heard->generated_tokens = generated_tokens_;
    return heard;
  }

  grpc::ClientContext context_;
  const ModelInferRequest request_;
  inference::ModelStreamInferResponse response_;
  const Target::OnMessage on_message_;
  const Target::OnEnd on_end_;
  absl::Status error_;  // for which the call was cancelled
  uint64_t generated_tokens_ = 0;
  absl::Notification ended_;
};

}  // namespace

OipTarget::OipTarget(const ConnectionFlags& connection, std::string model, nlohmann::json extra)
    : model_(std::move(model)), extra_(std::move(extra)), call_(connection.call()) {
  const ClientOptions options = connection.options();
  for (const std::string& name : options.servers) {
    servers_.Add(name, inference::GRPCInferenceService::NewStub(ChannelTo(name, "", options)));
  }
}

absl::StatusOr<TargetInfo> OipTarget::Describe() {
  inference::ModelMetadataRequest request;
  request.set_name(model_);
  inference::ModelMetadataResponse response;
  CallOptions call = call_;
  if (!call.timeout) call.timeout = kDescribeTimeout;
  grpc::ClientContext context;
  PrepareTry(Deadline(call), call, /*prefix_key=*/0, context);
  const grpc::Status status = servers_.first().ModelMetadata(&context, request, &response);
  if (!status.ok()) return FromGrpc(status, context);
  for (const auto& input : response.inputs()) inputs_.insert(input.name());
  for (const char* needed : {"text_input", "stream", "sampling_parameters"}) {
    if (inputs_.contains(needed)) continue;
    return absl::InvalidArgumentError(absl::StrCat(
        "the model ", model_, " has no input ", needed,
        "; expected those of Triton's vLLM backend: text_input, stream, sampling_parameters"));
  }
  return TargetInfo{.model_name = response.name()};
}

absl::Status OipTarget::Check(const v1::GenerateRequest& request) const {
  return CheckForSamplingJson(request);
}

std::unique_ptr<Stream> OipTarget::Start(const v1::GenerateRequest& request,
                                         const CallOptions& call, OnMessage on_message,
                                         OnEnd on_end) {
  auto stream = std::make_unique<InferStream>(ToInfer(request, model_, extra_, inputs_),
                                              std::move(on_message), std::move(on_end));
  stream->Start(servers_.Take(call), call);
  return stream;
}

}  // namespace recurve::client
