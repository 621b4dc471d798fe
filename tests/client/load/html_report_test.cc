// SPDX-License-Identifier: Apache-2.0
#include "client/load/html_report.h"

#include "absl/strings/str_split.h"
#include "client/load/plot.h"
#include "gmock/gmock.h"

namespace recurve::client {
namespace {

using testing::HasSubstr;
using testing::Not;

size_t CountOf(const std::string& text, const std::string& part) {
  return std::vector<std::string>(absl::StrSplit(text, part)).size() - 1;
}

TEST(PlotTest, PutsPointsWhereTheyBelong) {
  // Ten marks in neither direction; the axes end at 10 and 40.
  const Plot plot = {"T", "s", "ms", {{"a & b", {{0, 0}, {10, 40}}}, {"dots", {{5, 20}}, false}}};
  const std::string svg = Svg(plot);
  EXPECT_THAT(svg, HasSubstr("points=\"70.0,215.0 630.0,30.0 \""));
  EXPECT_THAT(svg, HasSubstr("<circle cx=\"350.0\" cy=\"122.5\""));
  EXPECT_THAT(svg, HasSubstr("a &amp; b"));
  EXPECT_THAT(svg, HasSubstr(">10</text>"));
  EXPECT_THAT(svg, HasSubstr(">40</text>"));
  EXPECT_LE(CountOf(svg, "<line"), 14U);
}

TEST(PlotTest, ManyPointsAreThinnedAndNoneAreDrawn) {
  Plot plot = {"T", "s", "ms", {{"a", {}}}};
  EXPECT_THAT(Svg(plot), HasSubstr("points=\"\""));
  for (int i = 0; i < 100000; ++i) plot.series[0].points.emplace_back(i, i);
  EXPECT_LT(Svg(plot).size(), 60000U);
}

TEST(HtmlReportTest, IsOnePageOfItsOwn) {
  RequestRecord done, failed;
  done.ended = 2;
  done.messages = {{1, 1}, {2, 3}};
  failed.intended = 0.5;
  failed.ended = 1;
  failed.status = absl::InternalError("x");
  const std::string page = HtmlReport("<b> & \"text\"", {{done, failed}, 0, 2});
  EXPECT_THAT(page, HasSubstr("&lt;b&gt; &amp; &quot;text&quot;"));
  EXPECT_EQ(CountOf(page, "<svg"), 5U);
  EXPECT_EQ(CountOf(page, "<circle"), 2U);
  for (const char* outside : {"<script", "src=", "href=", "@import", "url("}) {
    EXPECT_THAT(page, Not(HasSubstr(outside)));
  }
  EXPECT_EQ(CountOf(HtmlReport("", {}), "<svg"), 5U);  // of nothing
}

}  // namespace
}  // namespace recurve::client
