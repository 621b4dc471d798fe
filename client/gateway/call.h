// SPDX-License-Identifier: Apache-2.0
// One HTTP request on its way to its answer.
#ifndef RECURVE_CLIENT_GATEWAY_CALL_H_
#define RECURVE_CLIENT_GATEWAY_CALL_H_

#include <memory>
#include <string>

#include "absl/status/status.h"
#include "client/client.h"
#include "engine/base/steady_time.h"
#include "server/net/http_server.h"

namespace recurve::gateway {

// What a call came to, for log and metrics.
struct CallEnd {
  std::string id;        // the client's x-request-id, or one that was made
  std::string path;      // of the endpoint; empty: none is there
  bool is_look = false;  // asked again and again: no line in the log unless it fails
  std::string user;      // as the request says
  std::string trace_id;  // of its traceparent
  int http_status = 0;   // 499: the client went before the answer began
  absl::Status error;    // why it is not 200, or broke off
  uint64_t prompt_tokens = 0, generated_tokens = 0;
  SteadyTime arrival{};
};

// Thread-safe but for `end`, which whoever answers the call has. Its end is told once, when it is
// destroyed.
class Call {
 public:
  class Observer {
   public:
    virtual ~Observer() = default;
    virtual void OnCall() = 0;
    virtual void OnEnd(const CallEnd& end) = 0;
  };

  Call(HttpRequest request, std::shared_ptr<HttpResponseWriter> writer, Observer* observer);
  ~Call();

  const HttpRequest& request() const { return request_; }
  HttpResponseWriter& writer() { return *writer_; }
  CallEnd& end() { return end_; }
  const std::string& id() const { return end_.id; }
  // What is passed on to the servers: who asks, and what for.
  const client::CallOptions& options() const { return options_; }

  // The whole answer.
  void Send(HttpResponse response);
  void SendJson(std::string body) {
    Send({.content_type = "application/json", .body = std::move(body)});
  }
  void SendError(const absl::Status& status);
  // The head of a stream of events.
  void BeginEvents();
  bool has_begun() const { return has_begun_; }

 private:
  HttpRequest request_;
  const std::shared_ptr<HttpResponseWriter> writer_;
  Observer* const observer_;
  client::CallOptions options_;
  CallEnd end_;
  bool has_begun_ = false;
};

}  // namespace recurve::gateway

#endif  // RECURVE_CLIENT_GATEWAY_CALL_H_
