// SPDX-License-Identifier: Apache-2.0
// From a server's messages to an HTTP answer: whole, or as server-sent events.
#ifndef RECURVE_CLIENT_GATEWAY_ANSWER_STREAM_H_
#define RECURVE_CLIENT_GATEWAY_ANSWER_STREAM_H_

#include <memory>

#include "client/client.h"
#include "client/gateway/answer.h"
#include "client/gateway/call.h"
#include "client/gateway/parameters.h"

namespace recurve::gateway {

// What becomes of one call's messages. Hears of one thing at a time.
class AnswerStream {
 public:
  AnswerStream(std::shared_ptr<Call> call, const Terms& terms, std::unique_ptr<Answer> answer)
      : call_(std::move(call)),
        is_stream_(terms.stream),
        include_usage_(terms.include_usage),
        usage_in_each_chunk_(terms.usage_in_each_chunk),
        answer_(std::move(answer)) {}

  // As Generation's callbacks. A message of a stream is done with when the client's connection has
  // taken what was made of it.
  bool OnMessage(size_t prompt, const v1::GenerateResponse& message, client::MessageReader& reader);
  void OnEnd(const absl::Status& status);

 private:
  void SendEvent(const std::string& data, std::function<void()> on_written);

  const std::shared_ptr<Call> call_;
  const bool is_stream_, include_usage_, usage_in_each_chunk_;
  const std::unique_ptr<Answer> answer_;
  bool was_drained_ = false;  // a server ended a text that was not finished
};

}  // namespace recurve::gateway

#endif  // RECURVE_CLIENT_GATEWAY_ANSWER_STREAM_H_
