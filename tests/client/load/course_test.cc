// SPDX-License-Identifier: Apache-2.0
#include "client/load/course.h"

#include "client/load/report.h"
#include "gmock/gmock.h"

namespace recurve::client {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

RequestRecord Sent(double sent, double ended) {
  RequestRecord record;
  record.intended = record.sent = sent;
  record.ended = ended;
  return record;
}

TEST(CourseTest, ThePeakIsOfAWholeSecondOfTheWindow) {
  RequestRecord one = Sent(0, 9), other = Sent(0, 9);
  one.messages = {{1.4, 99}, {1.5, 2}, {2.4, 3}, {2.5, 4}, {4.6, 50}};
  other.messages = {{2.4, 1}, {2.6, 1}};
  other.is_measured = false;  // of the warm-up, and yet in the window
  EXPECT_EQ(CourseOf({{one, other}, 1.5, 4.7}).peak_tokens, 6U);  // the last 0.2 s are no second
  EXPECT_EQ(CourseOf({{one, other}, 1.5, 2.4}).peak_tokens, std::nullopt);
}

TEST(CourseTest, ThePeakInFlightIsOfTheWindow) {
  const std::vector<RequestRecord> records = {Sent(0, 1), Sent(0, 1), Sent(0, 1), Sent(0, 3),
                                              Sent(3, 4), Sent(2, 9), Sent(8, 9)};
  EXPECT_EQ(CourseOf({records, 2, 5}).peak_in_flight, 2U);  // one ends when another begins
  EXPECT_EQ(CourseOf({records, 0, 5}).peak_in_flight, 4U);
  EXPECT_EQ(CourseOf({{}, 0, 0}).peak_in_flight, 0U);
}

// TTFT is `seconds_of(i)`.
template <typename SecondsOf>
LoadResult LoadOf(size_t requests, const SecondsOf& seconds_of) {
  LoadResult load;
  for (size_t i = 0; i < requests; ++i) {
    const auto start = static_cast<double>(i);
    RequestRecord record = Sent(start, start + 100);
    record.messages = {{start + seconds_of(i), 1}};
    load.records.push_back(record);
  }
  load.window_end = static_cast<double>(requests);
  return load;
}

TEST(CourseTest, AQueueThatGrowsIsNoSteadyState) {
  const auto grows = LoadOf(3 * kLeastOfThird, [](size_t i) { return i < 20 ? 0.25 : 0.75; });
  const Course course = CourseOf(grows);
  EXPECT_EQ(course.first_ttft, 0.25);
  EXPECT_EQ(course.last_ttft, 0.75);
  EXPECT_THAT(
      MakeReport({}, grows).Warnings(),
      ElementsAre(HasSubstr("grew from 250.0 ms in the first third of the requests to 750.0")));
  const auto steady = LoadOf(3 * kLeastOfThird, [](size_t i) { return i % 2 == 0 ? 0.25 : 0.375; });
  EXPECT_THAT(MakeReport({}, steady).Warnings(), IsEmpty());
  const auto few = LoadOf(3 * kLeastOfThird - 1, [](size_t i) { return static_cast<double>(i); });
  EXPECT_EQ(CourseOf(few).first_ttft, std::nullopt);
}

}  // namespace
}  // namespace recurve::client
