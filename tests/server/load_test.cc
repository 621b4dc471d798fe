// SPDX-License-Identifier: Apache-2.0
// GetLoad: figures of the engine, and of the metrics.
#include <tuple>

#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "tests/server/server_fixture.h"

namespace recurve {
namespace {

using testing::ElementsAre;
using LoadTest = ServerTest;

TEST_F(LoadTest, LoadIsTheEnginesSnapshot) {
  Start();
  grpc::ClientContext context;
  v1::GetLoadResponse load;
  ASSERT_TRUE(NewStub()->GetLoad(&context, {}, &load).ok());
  EXPECT_EQ(load.requests_waiting(), 2U);
  EXPECT_EQ(load.kv_pages(), 100U);
  EXPECT_EQ(load.kv_pages_free(), 75U);
  EXPECT_EQ(load.kv_pages_cached(), 5U);
  EXPECT_EQ(load.prefix_tokens_wanted(), 50U);
  EXPECT_EQ(load.prefix_tokens_found(), 40U);
  EXPECT_THAT(load.generated_tokens_by_depth(), ElementsAre(3, 2, 1));
  EXPECT_THAT(load.prompt_rows_by_depth(), ElementsAre(10, 20, 30));
  EXPECT_THAT(load.generated_rows_by_depth(), ElementsAre(2, 2, 0));
  ASSERT_EQ(load.groups_size(), 5);
  EXPECT_EQ(load.groups(1).name(), "1");
  EXPECT_EQ(load.groups(1).entries(), 40U);
  EXPECT_EQ(load.groups(2).evicted_entries(), 7U);
  EXPECT_FALSE(load.draining());
  EXPECT_EQ(load.steps(), 9U);
  EXPECT_EQ(load.preemptions_for_memory(), 3U);
  EXPECT_EQ(load.preemptions_for_priority(), 2U);
  std::vector<std::string> stages;
  std::vector<uint64_t> rows;
  for (const v1::StageLoad& stage : load.stages()) {
    stages.push_back(stage.name());
    rows.push_back(stage.rows());
  }
  EXPECT_THAT(stages, ElementsAre("exit", "sampling", "entry", "block", "routers"));
  EXPECT_THAT(rows, ElementsAre(100, 101, 102, 103, 104));
}

// The same figures as on the metrics page, which counts up from bucket to bucket.
TEST_F(LoadTest, LoadTellsLatenciesAsTheMetricsDo) {
  engine_ = std::make_unique<FakeEngine>(FakeEngine::Script{MakeTokens({"a", "b", "c"}), {}});
  Start();
  ASSERT_TRUE(Generate(TextRequest()).status.ok());
  grpc::ClientContext context;
  v1::GetLoadResponse load;
  ASSERT_TRUE(NewStub()->GetLoad(&context, {}, &load).ok());
  const std::string page = MetricsPage();
  const std::tuple<std::string, const v1::Histogram*, uint64_t> kLatencies[] = {
      {"recurve_time_to_first_token_seconds", &load.time_to_first_token(), 1},
      {"recurve_inter_token_latency_seconds", &load.inter_token_latency(), 2},
      {"recurve_request_queue_time_seconds", &load.queue_time(), 1}};
  for (const auto& [name, histogram, observations] : kLatencies) {
    ASSERT_EQ(histogram->counts_size(), histogram->bounds_size() + 1) << name;
    uint64_t count = 0;
    for (int i = 0; i < histogram->bounds_size(); ++i) {
      count += histogram->counts(i);
      const std::string bucket = absl::StrCat(name, "_bucket{le=\"", histogram->bounds(i), "\"}");
      EXPECT_EQ(MetricValue(page, bucket), count) << bucket;
    }
    EXPECT_EQ(count + histogram->counts(histogram->bounds_size()), observations) << name;
    EXPECT_NEAR(*MetricValue(page, name + "_sum"), histogram->sum(), 1e-9);
  }
}

}  // namespace
}  // namespace recurve
