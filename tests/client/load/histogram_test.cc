// SPDX-License-Identifier: Apache-2.0
#include "client/load/histogram.h"

#include <numeric>

#include "absl/strings/str_split.h"
#include "gmock/gmock.h"

namespace recurve::client {
namespace {

using testing::HasSubstr;
using testing::IsEmpty;
using testing::SizeIs;

TEST(HistogramTest, BarsGrowByAFactor) {
  const std::vector<Bar> bars = HistogramOf({0.001, 0.0011, 0.0019, 0.5, 1.024});
  ASSERT_THAT(bars, SizeIs(10));
  for (size_t i = 0; i < 10; ++i) {
    EXPECT_NEAR(bars[i].from, 0.001 * (1 << i), 1e-9);
    EXPECT_NEAR(bars[i].to, 0.002 * (1 << i), 1e-9);
  }
  EXPECT_EQ(bars[0].count, 3U);
  EXPECT_EQ(bars[8].count, 1U);
  EXPECT_EQ(bars[9].count, 1U);  // the largest
}

TEST(HistogramTest, AllValuesAreSomewhere) {
  for (const std::vector<double>& values :
       {std::vector<double>{0, 0, 0.3}, {0}, {2, 2, 2}, {1e-9, 1e-8}, {0.001, 1e6}}) {
    const std::vector<Bar> bars = HistogramOf(values);
    const size_t sum = std::accumulate(bars.begin(), bars.end(), size_t{0},
                                       [](size_t all, const Bar& bar) { return all + bar.count; });
    EXPECT_EQ(sum, values.size());
  }
  EXPECT_THAT(HistogramOf({2, 2}), SizeIs(1));
  EXPECT_THAT(HistogramOf({}), IsEmpty());
}

TEST(HistogramTest, LinesFitATerminal) {
  EXPECT_EQ(HistogramText("TTFT", {}), "");
  const std::string text =
      HistogramText("TTFT", {{0.0015, 0.002, 1}, {0.002, 20, 1000000}, {20, 900, 0}});
  EXPECT_THAT(text, HasSubstr("TTFT, ms\n"));
  EXPECT_THAT(text, HasSubstr("   1.50 - 2.00          1 #\n"));
  EXPECT_THAT(text, HasSubstr("   2.00 - 20000   1000000 " + std::string(48, '#') + "\n"));
  EXPECT_THAT(text, HasSubstr("  20000 - 900000        0 \n"));
  for (const std::string& line : std::vector<std::string>(absl::StrSplit(text, '\n'))) {
    EXPECT_LE(line.size(), 80U) << line;
  }
}

}  // namespace
}  // namespace recurve::client
