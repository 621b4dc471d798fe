// SPDX-License-Identifier: Apache-2.0
#include "client/client.h"

#include <grpcpp/grpcpp.h>

#include <deque>
#include <optional>
#include <thread>
#include <utility>

#include "absl/base/thread_annotations.h"
#include "absl/strings/str_cat.h"
#include "absl/synchronization/blocking_counter.h"
#include "absl/synchronization/mutex.h"
#include "client/call_status.h"
#include "client/generate_stream.h"
#include "client/prefix_key.h"
#include "client/prepare_call.h"
#include "client/replicas.h"

namespace recurve::client {
namespace {

// Messages on their way from gRPC's threads to the one that waits for them.
class WaitingMessages {
 public:
  struct Entry {
    const v1::GenerateResponse* message;
    MessageReader* reader;
  };

  void Push(const Entry& entry) {
    const absl::MutexLock lock(&mutex_);
    entries_.push_back(entry);
    changed_.Signal();
  }
  void End(const absl::Status& status) {
    const absl::MutexLock lock(&mutex_);
    end_ = status;
    changed_.Signal();
  }

  // None when all have been taken and the stream has ended.
  std::optional<Entry> Pop() {
    const absl::MutexLock lock(&mutex_);
    while (entries_.empty() && !end_) changed_.Wait(&mutex_);
    if (entries_.empty()) return std::nullopt;
    const Entry entry = entries_.front();
    entries_.pop_front();
    return entry;
  }
  absl::Status status() {
    const absl::MutexLock lock(&mutex_);
    return *end_;
  }

 private:
  absl::Mutex mutex_;
  absl::CondVar changed_;
  std::deque<Entry> entries_ ABSL_GUARDED_BY(mutex_);
  std::optional<absl::Status> end_ ABSL_GUARDED_BY(mutex_);
};

// A unary call: `send` with the stubs of one server after the other.
template <typename Response, typename Send>
absl::StatusOr<Response> CallAny(Replicas& replicas, int attempts, uint64_t key,
                                 const CallOptions& options, const Send& send) {
  if (absl::Status status = CheckCall(options); !status.ok()) return status;
  const Deadline deadline(options);
  ReplicaSet::Tries tries;
  tries.most = attempts;
  tries.deadline = deadline.steady;
  while (true) {
    const Replicas::Choice choice = replicas.Choose(key, tries);
    if (!choice.place) {
      if (choice.ready >= deadline.steady) return AllFull(choice.ready);
      std::this_thread::sleep_until(choice.ready);
      continue;
    }
    grpc::ClientContext context;
    PrepareTry(deadline, options, key, context);
    Response response;
    absl::Status status = FromGrpc(send(*choice.place->stubs, &context, &response), context);
    const ReplicaSet::Outcome outcome = OutcomeOf(status);
    replicas.End(*choice.place, outcome);
    if (options.report != nullptr) {
      *options.report = {.tries = tries.made, .last_server = choice.place->name};
    }
    if (status.ok()) return response;
    const std::optional<Replicas::Time> next = replicas.NextTry(tries, outcome);
    if (!next) return status;
    std::this_thread::sleep_until(*next);
  }
}

// CallAny with `method` of the generation service.
template <typename Response, typename Request>
absl::StatusOr<Response> CallMethod(Replicas& replicas, int attempts, uint64_t key,
                                    const CallOptions& options,
                                    grpc::Status (v1::GenerationService::Stub::*method)(
                                        grpc::ClientContext*, const Request&, Response*),
                                    const Request& request) {
  return CallAny<Response>(
      replicas, attempts, key, options,
      [&](Replicas::Stubs& stubs, grpc::ClientContext* context, Response* response) {
        return (stubs.generation.*method)(context, request, response);
      });
}

using Stub = v1::GenerationService::Stub;

// The question to one server how busy it is, on its way.
struct LoadQuestion {
  Replicas::Place place;
  grpc::ClientContext context;
  v1::GetLoadRequest request;
  v1::GetLoadResponse response;
  absl::Status status;
};

}  // namespace

Client::Client(const ClientOptions& options)
    : options_(options), replicas_(std::make_unique<Replicas>(options)) {}

Client::~Client() = default;

absl::Status Client::Generate(const v1::GenerateRequest& request, const CallOptions& options,
                              const std::function<bool(const v1::GenerateResponse&)>& on_message) {
  WaitingMessages messages;
  GenerateStream stream(
      replicas_.get(), options_, request, options,
      [&messages](const v1::GenerateResponse& message, MessageReader& reader) {
        messages.Push({&message, &reader});
        return false;
      },
      [&messages](const absl::Status& status) { messages.End(status); });
  stream.Start();
  bool wanted = true;
  while (const auto entry = messages.Pop()) {
    if (wanted && !on_message(*entry->message)) {
      wanted = false;
      stream.Cancel();
    }
    entry->reader->Done();
  }
  return messages.status();
}

std::unique_ptr<Stream> Client::StartGenerate(
    const v1::GenerateRequest& request, const CallOptions& options,
    std::function<void(const v1::GenerateResponse&)> on_message,
    std::function<void(const absl::Status&)> on_end) {
  return StartGenerate(
      request, options,
      [hear = std::move(on_message)](const v1::GenerateResponse& message,
                                     MessageReader& /*reader*/) {
        hear(message);
        return true;
      },
      std::move(on_end));
}

std::unique_ptr<Stream> Client::StartGenerate(
    const v1::GenerateRequest& request, const CallOptions& options,
    std::function<bool(const v1::GenerateResponse&, MessageReader&)> on_message,
    std::function<void(const absl::Status&)> on_end) {
  auto stream = std::make_unique<GenerateStream>(replicas_.get(), options_, request, options,
                                                 std::move(on_message), std::move(on_end));
  stream->Start();
  return stream;
}

absl::StatusOr<v1::CompleteResponse> Client::Complete(const v1::GenerateRequest& request,
                                                      const CallOptions& options) {
  return CallMethod(*replicas_, options_.attempts, PrefixKey(request, options_.prefix_tokens),
                    options, &Stub::Complete, request);
}

absl::StatusOr<v1::TokenizeResponse> Client::Tokenize(const v1::TokenizeRequest& request,
                                                      const CallOptions& options) {
  return CallMethod(*replicas_, options_.attempts, 0, options, &Stub::Tokenize, request);
}

absl::StatusOr<v1::DetokenizeResponse> Client::Detokenize(const v1::DetokenizeRequest& request,
                                                          const CallOptions& options) {
  return CallMethod(*replicas_, options_.attempts, 0, options, &Stub::Detokenize, request);
}

absl::StatusOr<v1::GetModelInfoResponse> Client::GetModelInfo(const CallOptions& options) {
  return CallMethod(*replicas_, options_.attempts, 0, options, &Stub::GetModelInfo,
                    v1::GetModelInfoRequest());
}

absl::StatusOr<v1::GetLoadResponse> Client::GetLoad(const CallOptions& options) {
  return CallMethod(*replicas_, options_.attempts, 0, options, &Stub::GetLoad,
                    v1::GetLoadRequest());
}

std::vector<ServerLoad> Client::GetLoads(const CallOptions& options) {
  std::vector<ServerLoad> loads;
  const absl::Status call = CheckCall(options);
  const Deadline deadline(options);
  std::deque<LoadQuestion> questions;
  for (Replicas::Place& place : replicas_->All()) {
    if (!call.ok()) {
      loads.push_back({place.name, call});
    } else {
      questions.emplace_back().place = std::move(place);
    }
  }
  absl::BlockingCounter running(static_cast<int>(questions.size()));
  for (LoadQuestion& question : questions) {
    PrepareTry(deadline, options, /*prefix_key=*/0, question.context);
    question.place.stubs->generation.async()->GetLoad(
        &question.context, &question.request, &question.response,
        [&question, &running](const grpc::Status& status) {
          question.status = FromGrpc(status, question.context);
          running.DecrementCount();
        });
  }
  running.Wait();
  for (LoadQuestion& question : questions) {
    if (question.status.ok()) {
      loads.push_back({std::move(question.place.name), std::move(question.response)});
    } else {
      loads.push_back({std::move(question.place.name), question.status});
    }
  }
  return loads;
}

absl::Status Client::CheckHealth(const std::string& service, const CallOptions& options) {
  using Response = grpc::health::v1::HealthCheckResponse;
  grpc::health::v1::HealthCheckRequest request;
  request.set_service(service);
  const auto response = CallAny<Response>(
      *replicas_, /*attempts=*/1, 0, options,
      [&](Replicas::Stubs& stubs, grpc::ClientContext* context, Response* answer) {
        return stubs.health.Check(context, request, answer);
      });
  if (!response.ok()) return response.status();
  if (response->status() == Response::SERVING) return absl::OkStatus();
  return absl::UnavailableError(
      absl::StrCat("the server answers ", Response::ServingStatus_Name(response->status())));
}

}  // namespace recurve::client
