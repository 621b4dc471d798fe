// SPDX-License-Identifier: Apache-2.0
#include "tests/soak/workload.h"

#include <algorithm>
#include <cstdio>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"

namespace recurve::soak {
namespace {

constexpr uint32_t kRequests = 32;
constexpr std::chrono::microseconds kPatience = std::chrono::minutes(2);
constexpr char kBudget[] = "entry:48,1:48,2:32,3:32,exit:48";

std::string CodeName(const grpc::Status& status) {
  return absl::StatusCodeToString(static_cast<absl::StatusCode>(status.error_code()));
}

void Append(const google::protobuf::RepeatedPtrField<v1::Token>& from, std::vector<uint32_t>* to) {
  for (const v1::Token& token : from) to->push_back(token.id());
}

// Whether `tokens` is all of the answer, or with `part` its beginning.
bool Matches(const std::vector<uint32_t>& tokens, const Known& known, bool part) {
  if (tokens.size() > known.tokens.size()) return false;
  return (part || tokens.size() == known.tokens.size()) &&
         std::equal(tokens.begin(), tokens.end(), known.tokens.begin());
}

}  // namespace

void Findings::Add(const std::string& what) {
  const std::lock_guard lock(mutex_);
  if (++count_ <= 50) std::fprintf(stderr, "FOUND: %s\n", what.c_str());
}

void Ends::Count(const std::string& what) {
  const std::lock_guard lock(mutex_);
  ++counts_[what];
}

std::map<std::string, uint64_t> Ends::counts() {
  const std::lock_guard lock(mutex_);
  return counts_;
}

std::shared_ptr<grpc::Channel> NewChannel(const Address& address) {
  grpc::ChannelArguments arguments;
  arguments.SetInt(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1);  // a connection of its own
  arguments.SetInt(GRPC_ARG_ENABLE_RETRIES, 0);
  arguments.SetInt(GRPC_ARG_INITIAL_RECONNECT_BACKOFF_MS, 50);
  arguments.SetInt(GRPC_ARG_MIN_RECONNECT_BACKOFF_MS, 10000);  // of a single attempt, too
  arguments.SetInt(GRPC_ARG_MAX_RECONNECT_BACKOFF_MS, 200);
  arguments.SetInt(GRPC_ARG_ENABLE_HTTP_PROXY, 0);
  return grpc::CreateCustomChannel(address.ToString(), grpc::InsecureChannelCredentials(),
                                   arguments);
}

Workload::Workload(uint64_t seed, uint32_t vocabulary) {
  Random random(seed);
  std::vector<uint32_t> shared(100);
  for (uint32_t& id : shared) id = static_cast<uint32_t>(Below(&random, vocabulary));
  for (uint32_t i = 0; i < kRequests; ++i) {
    v1::GenerateRequest request;
    auto* ids = request.mutable_tokens()->mutable_ids();
    if (i % 3 == 0) ids->Assign(shared.begin(), shared.end());
    const uint64_t own = 1 + Below(&random, 60);
    for (uint64_t j = 0; j < own; ++j) ids->Add(static_cast<uint32_t>(Below(&random, vocabulary)));
    request.mutable_stop()->set_max_tokens(static_cast<uint32_t>(1 + Below(&random, kMostTokens)));
    request.mutable_stop()->set_ignore_eos(true);
    request.mutable_sampling()->set_seed(random());
    if (i % 2 == 0) request.mutable_sampling()->set_temperature(0.9F);
    if (i % 5 == 0) {
      request.mutable_kv()->set_eviction("window");
      request.mutable_kv()->set_budget(kBudget);
    }
    if (i % 4 == 1) request.set_priority(v1::PRIORITY_HIGH);
    if (i % 7 == 2) request.mutable_output()->set_top_logprobs(5);
    known_.push_back({request, request.SerializeAsString(), {}});
  }
  v1::GenerateRequest request;
  request.mutable_tokens()->add_ids(1);
  request.mutable_stop()->set_max_tokens(4 * kMostTokens);
  request.mutable_stop()->set_ignore_eos(true);
  long_bytes_ = request.SerializeAsString();
}

bool Workload::Learn(const Address& address, Findings* findings) {
  const auto stub = v1::GenerationService::NewStub(NewChannel(address));
  for (Known& known : known_) {
    grpc::ClientContext context;
    v1::CompleteResponse response;
    const grpc::Status status = stub->Complete(&context, known.request, &response);
    if (!status.ok()) {
      findings->Add("a request alone ended with " + CodeName(status) + ": " +
                    status.error_message());
      return false;
    }
    Append(response.tokens(), &known.tokens);
  }
  return true;
}

void Workload::Call(const std::shared_ptr<grpc::Channel>& channel, const Known& known,
                    const Intent& intent, bool streams, bool ending, Findings* findings,
                    Ends* ends) const {
  const auto stub = v1::GenerationService::NewStub(channel);
  grpc::ClientContext context;
  // While the server has no descriptor for a connection, calls wait for theirs.
  context.set_wait_for_ready(!ending);
  context.set_deadline(std::chrono::system_clock::now() +
                       (intent.deadline.count() > 0 ? intent.deadline : kPatience));
  std::vector<uint32_t> tokens;
  grpc::Status status;
  v1::FinishReason reason = v1::FINISH_REASON_UNSPECIFIED;
  if (streams) {
    const auto reader = stub->Generate(&context, known.request);
    v1::GenerateResponse message;
    for (int messages = 0;; ++messages) {
      if (messages == intent.cancel_after) context.TryCancel();
      if (!reader->Read(&message)) break;
      Append(message.tokens(), &tokens);
      if (reason != v1::FINISH_REASON_UNSPECIFIED) findings->Add("a message after the last one");
      reason = message.final().finish_reason();
    }
    status = reader->Finish();
  } else {
    if (intent.cancel_after >= 0) context.TryCancel();
    v1::CompleteResponse response;
    status = stub->Complete(&context, known.request, &response);
    if (status.ok()) {
      Append(response.tokens(), &tokens);
      reason = response.final().finish_reason();
    }
  }
  ends->Count(CodeName(status));
  const bool whole = status.ok() && reason != v1::FINISH_REASON_DRAINED;
  if (!Matches(tokens, known, /*part=*/!whole)) {
    findings->Add(absl::StrCat("tokens differ from those of a run alone: ", tokens.size(), " of ",
                               known.tokens.size(), ", ended with ", CodeName(status)));
  }
  if (status.ok() && reason == v1::FINISH_REASON_UNSPECIFIED) {
    findings->Add("a call ended with OK and without a reason");
  }
  const bool expected =
      status.ok() || ending || status.error_code() == grpc::RESOURCE_EXHAUSTED ||
      (intent.cancel_after >= 0 && status.error_code() == grpc::CANCELLED) ||
      (intent.deadline.count() > 0 && status.error_code() == grpc::DEADLINE_EXCEEDED);
  if (!expected) {
    findings->Add(
        absl::StrCat("a call ended with ", CodeName(status), ": ", status.error_message()));
  }
}

}  // namespace recurve::soak
