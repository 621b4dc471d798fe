// SPDX-License-Identifier: Apache-2.0
#include "client/client.h"

#include <grpcpp/grpcpp.h>

#include <algorithm>
#include <limits>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/cord.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/synchronization/notification.h"
#include "client/server_name.h"
#include "grpc/health/v1/health.grpc.pb.h"
#include "recurve/v1/generation.grpc.pb.h"

namespace recurve::client {
namespace {

// Of a call that has ended.
absl::Status FromGrpc(const grpc::Status& status, const grpc::ClientContext& context) {
  absl::Status result(static_cast<absl::StatusCode>(status.error_code()), status.error_message());
  const auto& trailers = context.GetServerTrailingMetadata();
  if (const auto pushback = trailers.find("grpc-retry-pushback-ms"); pushback != trailers.end()) {
    result.SetPayload(
        kRetryPushbackPayload,
        absl::Cord(absl::string_view(pushback->second.data(), pushback->second.size())));
  }
  // What gRPC says here alone, also of a connection that broke.
  const bool reached = absl::StrContains(context.debug_error_string(), "received from peer");
  if (absl::IsUnavailable(result) && !reached) result.SetPayload(kNotReachedPayload, absl::Cord());
  return result;
}

absl::Status CheckRequestId(const std::string& id) {
  const auto bad = std::find_if(id.begin(), id.end(), [](char c) {
    return !absl::ascii_isprint(static_cast<unsigned char>(c));
  });
  if (bad != id.end()) {
    return absl::InvalidArgumentError(absl::StrFormat(
        "request_id has the byte 0x%02X at offset %d; expected printable ASCII characters alone",
        static_cast<unsigned char>(*bad), bad - id.begin()));
  }
  if (id.size() <= kMaxRequestIdBytes) return absl::OkStatus();
  return absl::InvalidArgumentError(absl::StrFormat("request_id has %d bytes; expected at most %d",
                                                    id.size(), kMaxRequestIdBytes));
}

// After an error the call must not be started: gRPC aborts the process for metadata that it cannot
// send.
absl::Status Prepare(grpc::ClientContext& context, const CallOptions& options) {
  if (options.timeout) context.set_deadline(std::chrono::system_clock::now() + *options.timeout);
  if (options.request_id.empty()) return absl::OkStatus();
  if (absl::Status status = CheckRequestId(options.request_id); !status.ok()) return status;
  context.AddMetadata("x-request-id", options.request_id);
  return absl::OkStatus();
}

// gRPC retries by itself, given a policy; it honours the server's grpc-retry-pushback-ms.
std::string ServiceConfig(int attempts) {
  return absl::StrCat(
      R"({"methodConfig":[{"name":[{"service":"recurve.v1.GenerationService"}],"retryPolicy":{)",
      R"("maxAttempts":)", attempts,
      R"(,"initialBackoff":"0.2s","maxBackoff":"5s","backoffMultiplier":2,)",
      R"("retryableStatusCodes":["RESOURCE_EXHAUSTED","UNAVAILABLE"]}}]})");
}

std::shared_ptr<grpc::Channel> ChannelTo(const ClientOptions& options) {
  grpc::ChannelArguments arguments;
  arguments.SetMaxReceiveMessageSize(-1);  // a Complete message holds a whole completion
  // Channels with equal arguments would share one connection.
  arguments.SetInt(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1);
  if (IsOnThisMachine(options.server)) arguments.SetInt(GRPC_ARG_ENABLE_HTTP_PROXY, 0);
  if (options.attempts > 1) {
    arguments.SetServiceConfigJSON(ServiceConfig(options.attempts));
    // A request that is larger than this is sent once. Servers may take 1 GiB.
    arguments.SetInt(GRPC_ARG_PER_RPC_RETRY_BUFFER_SIZE, std::numeric_limits<int>::max());
  }
  return MakeChannel(options.server, options.credentials, arguments);
}

// One stream of the callback API. Kept alive by its owner, whose destructor waits for OnDone.
class ReactorStream final : public Stream, public grpc::ClientReadReactor<v1::GenerateResponse> {
 public:
  ReactorStream(const v1::GenerateRequest& request, const CallOptions& options,
                std::function<void(const v1::GenerateResponse&)> on_message,
                std::function<void(const absl::Status&)> on_end)
      : request_(request),
        on_message_(std::move(on_message)),
        on_end_(std::move(on_end)),
        prepared_(Prepare(context_, options)) {}

  ~ReactorStream() override {
    context_.TryCancel();
    ended_.WaitForNotification();
  }

  void Start(v1::GenerationService::Stub& stub) {
    if (!prepared_.ok()) return End(prepared_);
    stub.async()->Generate(&context_, &request_, this);
    StartRead(&message_);
    StartCall();
  }

  void Cancel() override { context_.TryCancel(); }

  void OnReadDone(bool ok) override {
    if (!ok) return;
    on_message_(message_);
    StartRead(&message_);
  }

  void OnDone(const grpc::Status& status) override { End(FromGrpc(status, context_)); }

 private:
  void End(const absl::Status& status) {
    on_end_(status);
    ended_.Notify();  // the destructor may run at once
  }

  const v1::GenerateRequest request_;
  const std::function<void(const v1::GenerateResponse&)> on_message_;
  const std::function<void(const absl::Status&)> on_end_;
  grpc::ClientContext context_;
  const absl::Status prepared_;
  v1::GenerateResponse message_;
  absl::Notification ended_;
};

// A unary call: `method` of `stub` with `request`.
template <typename Response, typename Stub, typename Request>
absl::StatusOr<Response> Call(Stub& stub,
                              grpc::Status (Stub::*method)(grpc::ClientContext*, const Request&,
                                                           Response*),
                              const Request& request, const CallOptions& options) {
  grpc::ClientContext context;
  if (absl::Status status = Prepare(context, options); !status.ok()) return status;
  Response response;
  const grpc::Status status = (stub.*method)(&context, request, &response);
  if (!status.ok()) return FromGrpc(status, context);
  return response;
}

}  // namespace

struct Client::Stubs {
  explicit Stubs(const std::shared_ptr<grpc::Channel>& channel)
      : generation(channel), health(channel) {}
  v1::GenerationService::Stub generation;
  grpc::health::v1::Health::Stub health;
};

Client::Client(const ClientOptions& options)
    : stubs_(std::make_unique<Stubs>(ChannelTo(options))) {}

Client::~Client() = default;

absl::Status Client::Generate(const v1::GenerateRequest& request, const CallOptions& options,
                              const std::function<bool(const v1::GenerateResponse&)>& on_message) {
  grpc::ClientContext context;
  if (absl::Status status = Prepare(context, options); !status.ok()) return status;
  const auto reader = stubs_->generation.Generate(&context, request);
  v1::GenerateResponse message;
  bool wanted = true;
  while (
      reader->Read(&message)) {  // until false also when cancelled: what came before is still there
    if (!wanted || on_message(message)) continue;
    wanted = false;
    context.TryCancel();
  }
  const grpc::Status status = reader->Finish();
  return FromGrpc(status, context);
}

std::unique_ptr<Stream> Client::StartGenerate(
    const v1::GenerateRequest& request, const CallOptions& options,
    std::function<void(const v1::GenerateResponse&)> on_message,
    std::function<void(const absl::Status&)> on_end) {
  auto stream =
      std::make_unique<ReactorStream>(request, options, std::move(on_message), std::move(on_end));
  stream->Start(stubs_->generation);
  return stream;
}

absl::StatusOr<v1::CompleteResponse> Client::Complete(const v1::GenerateRequest& request,
                                                      const CallOptions& options) {
  return Call(stubs_->generation, &v1::GenerationService::Stub::Complete, request, options);
}

absl::StatusOr<v1::TokenizeResponse> Client::Tokenize(const v1::TokenizeRequest& request,
                                                      const CallOptions& options) {
  return Call(stubs_->generation, &v1::GenerationService::Stub::Tokenize, request, options);
}

absl::StatusOr<v1::DetokenizeResponse> Client::Detokenize(const v1::DetokenizeRequest& request,
                                                          const CallOptions& options) {
  return Call(stubs_->generation, &v1::GenerationService::Stub::Detokenize, request, options);
}

absl::StatusOr<v1::GetModelInfoResponse> Client::GetModelInfo(const CallOptions& options) {
  return Call(stubs_->generation, &v1::GenerationService::Stub::GetModelInfo,
              v1::GetModelInfoRequest(), options);
}

absl::StatusOr<v1::GetLoadResponse> Client::GetLoad(const CallOptions& options) {
  return Call(stubs_->generation, &v1::GenerationService::Stub::GetLoad, v1::GetLoadRequest(),
              options);
}

absl::Status Client::CheckHealth(const std::string& service, const CallOptions& options) {
  grpc::health::v1::HealthCheckRequest request;
  request.set_service(service);
  const auto response =
      Call(stubs_->health, &grpc::health::v1::Health::Stub::Check, request, options);
  if (!response.ok()) return response.status();
  if (response->status() == grpc::health::v1::HealthCheckResponse::SERVING) return absl::OkStatus();
  return absl::UnavailableError(
      absl::StrCat("the server answers ",
                   grpc::health::v1::HealthCheckResponse::ServingStatus_Name(response->status())));
}

}  // namespace recurve::client
