// SPDX-License-Identifier: Apache-2.0
#include "client/load/trace.h"

#include "gmock/gmock.h"

namespace recurve::client {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

TEST(TraceTest, StartsAreInSecondsFromTheFirst) {
  const auto entries = ParseTrace(
      "{\"timestamp\": 1000, \"input_length\": 5}\n\n{\"timestamp\": 1250.5}\r\n"
      "{\"timestamp\": 3000}\n");
  ASSERT_TRUE(entries.ok()) << entries.status();
  std::vector<double> starts;
  starts.reserve(entries->size());
  for (const TraceEntry& entry : *entries) starts.push_back(entry.start);
  EXPECT_THAT(starts, ElementsAre(0, 0.2505, 2));
  EXPECT_EQ((*entries)[0].input_length, 5U);
  EXPECT_EQ((*entries)[0].output_length, std::nullopt);
  EXPECT_EQ((*entries)[1].input_length, std::nullopt);
}

TEST(TraceTest, SaysWhatIsWrongInWhichLine) {
  const std::pair<const char*, const char*> cases[] = {
      {"", "it has no lines"},
      {"\n\n", "it has no lines"},
      {"{\"timestamp\": 1}\n[]", "line 2 is no JSON object"},
      {"{\"timestamp\": 1", "line 1 is no JSON object"},
      {"{\"time\": 1}", "line 1 has no number `timestamp`"},
      {"{\"timestamp\": \"1\"}", "line 1 has no number `timestamp`"},
      {"{\"timestamp\": 1e999}", "line 1"},
      {"{\"timestamp\": 1, \"input_length\": 0}", "line 1 has an `input_length` that is no whole"},
      {"{\"timestamp\": 1, \"output_length\": 1.5}", "line 1 has an `output_length`"},
      {"{\"timestamp\": 1, \"output_length\": -1}", "line 1 has an `output_length`"},
      {"{\"timestamp\": 2}\n{\"timestamp\": 1}", "line 2 starts before the line above it"},
  };
  for (const auto& [text, words] : cases) {
    const auto starts = ParseTrace(text);
    ASSERT_FALSE(starts.ok()) << text;
    EXPECT_THAT(std::string(starts.status().message()), HasSubstr(words)) << text;
  }
}

}  // namespace
}  // namespace recurve::client
