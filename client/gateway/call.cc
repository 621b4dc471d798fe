// SPDX-License-Identifier: Apache-2.0
#include "client/gateway/call.h"

#include <random>
#include <utility>

#include "absl/strings/str_format.h"
#include "client/gateway/api_error.h"
#include "server/call/trace_id.h"

namespace recurve::gateway {
namespace {

// What clients say to the servers by way of the gateway.
constexpr const char* kPassedOn[] = {"authorization", "traceparent", "tracestate",
                                     "x-recurve-tenant"};

std::string MakeId() {
  thread_local std::mt19937_64 random{std::random_device{}()};
  return absl::StrFormat("%016x%016x", random(), random());
}

}  // namespace

Call::Call(HttpRequest request, std::shared_ptr<HttpResponseWriter> writer, Observer* observer)
    : request_(std::move(request)), writer_(std::move(writer)), observer_(observer) {
  end_.arrival = std::chrono::steady_clock::now();
  const auto id = request_.headers.find("x-request-id");
  end_.id = id == request_.headers.end() || id->second.empty() ? MakeId() : id->second;
  options_.request_id = end_.id;
  for (const char* name : kPassedOn) {
    const auto header = request_.headers.find(name);
    if (header != request_.headers.end()) options_.metadata.emplace_back(name, header->second);
  }
  const auto trace = request_.headers.find("traceparent");
  if (trace != request_.headers.end()) end_.trace_id = TraceIdOf(trace->second);
  observer_->OnCall();
}

Call::~Call() { observer_->OnEnd(end_); }

void Call::Send(HttpResponse response) {
  end_.http_status = response.status;
  response.headers.emplace_back("X-Request-Id", end_.id);
  writer_->Send(std::move(response));
}

void Call::SendError(const absl::Status& status) {
  end_.error = status;
  Send(ErrorResponse(status));
}

void Call::BeginEvents() {
  has_begun_ = true;
  end_.http_status = 200;
  // Proxies are not to collect what is meant to come at once.
  writer_->Begin(
      {.content_type = "text/event-stream; charset=utf-8",
       .headers = {
           {"Cache-Control", "no-cache"}, {"X-Accel-Buffering", "no"}, {"X-Request-Id", end_.id}}});
}

}  // namespace recurve::gateway
