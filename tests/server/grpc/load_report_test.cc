// SPDX-License-Identifier: Apache-2.0
// What a load report says, and its two texts.
#include "server/grpc/load_report.h"

#include "gmock/gmock.h"

namespace recurve {
namespace {

class LoadReportTest : public testing::Test {
 protected:
  LoadReportTest() {
    info_.kv_pages = 100;
    info_.options.schedule.slots = 8;
    snapshot_.schedule.running = 2;
    snapshot_.schedule.waiting = 1;
    snapshot_.schedule.waiting_tokens = 30;
    snapshot_.schedule.pages_free = 25;
    snapshot_.schedule.pages_cached = 25;
  }
  auto Make() const { return MakeLoadReport(info_, snapshot_, {4.0, 0.5, 0.75}); }

  EngineInfo info_;
  EngineSnapshot snapshot_;
};

TEST_F(LoadReportTest, IsTheSnapshot) {
  const auto report = Make();
  EXPECT_EQ(report.cpu_utilization(), 0.75);
  EXPECT_EQ(report.rps_fractional(), 4.0);
  EXPECT_EQ(report.eps(), 0.5);
  EXPECT_THAT(report.named_metrics(),
              testing::UnorderedElementsAre(
                  testing::Pair("kv_cache_usage_ratio", 0.5), testing::Pair("requests_running", 2),
                  testing::Pair("requests_waiting", 1), testing::Pair("waiting_tokens", 30)));
}

TEST_F(LoadReportTest, UtilizationIsThatOfWhateverIsScarcer) {
  EXPECT_EQ(Make().application_utilization(), 0.5);  // of the pages; 3/8 of the slots
  snapshot_.schedule.waiting = 14;
  EXPECT_EQ(Make().application_utilization(), 2.0);
}

TEST_F(LoadReportTest, AnEngineWithoutCacheOrSlotsHasFiniteFigures) {
  info_.kv_pages = info_.options.schedule.slots = 0;
  EXPECT_EQ(Make().application_utilization(), 3.0);
}

TEST_F(LoadReportTest, TextsHaveTheSameFields) {
  EXPECT_EQ(LoadReportText(Make()),
            "TEXT application_utilization=0.5, cpu_utilization=0.75, eps=0.5, "
            "named_metrics.kv_cache_usage_ratio=0.5, named_metrics.requests_running=2, "
            "named_metrics.requests_waiting=1, named_metrics.waiting_tokens=30, rps_fractional=4");
  EXPECT_EQ(LoadReportJson(Make()),
            R"(JSON {"application_utilization":0.5,"cpu_utilization":0.75,"eps":0.5,)"
            R"("rps_fractional":4,"named_metrics":{"kv_cache_usage_ratio":0.5,)"
            R"("requests_running":2,"requests_waiting":1,"waiting_tokens":30}})");
}

}  // namespace
}  // namespace recurve
