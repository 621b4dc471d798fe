// SPDX-License-Identifier: Apache-2.0
#include "client/load/sse.h"

#include <vector>

#include "gmock/gmock.h"

namespace recurve::client {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

std::deque<std::string> Parse(std::string_view bytes, size_t cut) {
  SseParser parser;
  std::deque<std::string> events;
  for (size_t at = 0; at < bytes.size(); at += cut) {
    EXPECT_TRUE(parser.Feed(bytes.substr(at, cut), events).ok());
  }
  return events;
}

TEST(SseTest, EventsAreTheSameHoweverTheBytesAreCut) {
  constexpr std::string_view kStream =
      ": a comment\n\ndata: one\n\nevent: x\r\ndata:two\r\ndata: lines\r\n\r\n"
      "id: 7\n\ndata:\n\ndata: three\r\rdata: not ended\n";
  for (size_t cut = 1; cut <= kStream.size(); ++cut) {
    EXPECT_THAT(Parse(kStream, cut), ElementsAre("one", "two\nlines", "", "three")) << cut;
  }
}

TEST(SseTest, AnEventHasABound) {
  SseParser parser;
  std::deque<std::string> events;
  const std::string half(SseParser::kMostEventBytes / 2, 'x');
  EXPECT_TRUE(parser.Feed("data: " + half + "\n", events).ok());
  const absl::Status status = parser.Feed("data: " + half, events);
  EXPECT_TRUE(absl::IsResourceExhausted(status));
  EXPECT_THAT(std::string(status.message()), HasSubstr("1048576"));
  EXPECT_TRUE(events.empty());
}

}  // namespace
}  // namespace recurve::client
