// SPDX-License-Identifier: Apache-2.0
// What other servers say to the load tester: a stream of server-sent events of completions, which
// is taken for an error's body too; `---`; and a ModelInferResponse of the Open Inference Protocol.
#include <google/protobuf/stubs/logging.h>

#include <deque>
#include <string>
#include <string_view>

#include "client/load/oip_messages.h"
#include "client/load/openai_messages.h"
#include "client/load/sse.h"
#include "tests/fuzz/fuzz.h"

namespace recurve::client {
namespace {

std::deque<std::string> Events(std::string_view stream, size_t cut) {
  SseParser parser;
  std::deque<std::string> events;
  for (size_t at = 0; at < stream.size(); at += cut) {
    RECURVE_CHECK(parser.Feed(stream.substr(at, cut), events).ok());  // none is so long
  }
  return events;
}

void CheckEvent(const std::string& event) {
  RECURVE_CHECK(event.find('\r') == event.npos);
  const auto chunk = ParseChunk(event);
  if (!chunk.ok()) {
    RECURVE_CHECK(absl::IsInvalidArgument(chunk.status()) || absl::IsInternal(chunk.status()));
    return;
  }
  RECURVE_CHECK(chunk->is_last == (event == "[DONE]"));
  RECURVE_CHECK(chunk->has_choice || !chunk->has_text);
}

void CheckResponse(std::string_view bytes) {
  inference::ModelInferResponse response;
  if (!response.ParseFromArray(bytes.data(), static_cast<int>(bytes.size()))) return;
  const auto heard = HeardOf(response);
  RECURVE_CHECK(heard.ok() || absl::IsInvalidArgument(heard.status()));
}

}  // namespace
}  // namespace recurve::client

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  // Each message that is not UTF-8 would cost a line of log.
  [[maybe_unused]] static const auto kPreviousHandler = google::protobuf::SetLogHandler(nullptr);
  const std::string_view input = recurve::AsText(data, size);
  const auto [stream, response] = recurve::SplitParts(input);
  const std::deque<std::string> events = recurve::client::Events(stream, 1);
  RECURVE_CHECK(events == recurve::client::Events(stream, 7));
  for (const std::string& event : events) recurve::client::CheckEvent(event);
  const std::string body(stream);
  (void)recurve::client::FirstModel(body);
  RECURVE_CHECK(!recurve::client::StatusOfAnswer(429, body, body).ok());
  recurve::client::CheckResponse(response);
  recurve::client::CheckResponse(input);
  return 0;
}
