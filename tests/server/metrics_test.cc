// SPDX-License-Identifier: Apache-2.0
// The metrics page: every metric is documented and every documented metric is there, promtool finds
// nothing to say, and figures are those of the engine.
#include <unistd.h>

#include <cstring>
#include <fstream>
#include <map>
#include <set>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "gmock/gmock.h"
#include "tests/scoped_directory.h"
#include "tests/server/server_fixture.h"

namespace recurve {
namespace {

using testing::HasSubstr;

constexpr char kDocument[] = RECURVE_SOURCE_DIR "/docs/metrics.md";

// Type and labels of each metric.
using Catalogue = std::map<std::string, std::string>;

std::string Describe(const std::string& type, const std::set<std::string>& labels) {
  return absl::StrCat(type, " {", absl::StrJoin(labels, ", "), "}");
}

// Rows `| `name` | type | labels | unit | meaning |` of the document.
Catalogue Documented() {
  std::ifstream file(kDocument);
  EXPECT_TRUE(file.is_open());
  Catalogue catalogue;
  for (std::string line; std::getline(file, line);) {
    if (line.rfind("| `", 0) != 0) continue;
    const std::vector<std::string> cells = absl::StrSplit(line, '|');
    EXPECT_EQ(cells.size(), 7U) << line;
    if (cells.size() != 7) continue;
    const auto cell = [&](int i) { return std::string(absl::StripAsciiWhitespace(cells[i])); };
    std::set<std::string> labels;
    const std::vector<std::string> quoted =
        absl::StrSplit(cell(3), absl::ByAnyChar("`, "), absl::SkipEmpty());
    labels.insert(quoted.begin(), quoted.end());
    EXPECT_FALSE(cell(4).empty() || cell(5).empty()) << line;
    const std::string name = cell(1).substr(1, cell(1).size() - 2);
    EXPECT_TRUE(catalogue.emplace(name, Describe(cell(2), labels)).second) << name << " twice";
  }
  return catalogue;
}

Catalogue Live(const std::string& page) {
  std::map<std::string, std::string> types;
  std::map<std::string, std::set<std::string>> labels;
  const std::vector<std::string> lines = absl::StrSplit(page, '\n', absl::SkipEmpty());
  for (const std::string& line : lines) {
    const std::vector<std::string> words = absl::StrSplit(line, ' ');
    if (words[0] == "#" && words[1] == "TYPE") types[words[2]] = words[3];
    if (words[0] == "#") continue;
    const size_t brace = line.find('{');
    std::string name = line.substr(0, std::min(brace, line.find(' ')));
    for (const char* suffix : {"_bucket", "_sum", "_count"}) {
      const std::string base = name.substr(0, name.size() - std::min(name.size(), strlen(suffix)));
      if (absl::StrCat(base, suffix) == name && types.count(base) > 0) name = base;
    }
    labels[name];
    if (brace == std::string::npos) continue;
    const std::string inside = line.substr(brace + 1, line.rfind('}') - brace - 1);
    const std::vector<std::string> pairs = absl::StrSplit(inside, ',');
    for (const std::string& pair : pairs) {
      const std::string label = pair.substr(0, pair.find('='));
      if (label != "le" && label != "quantile") labels[name].insert(label);
    }
  }
  Catalogue catalogue;
  for (const auto& [name, type] : types) {
    catalogue[name] = Describe(type, labels[name]);
  }
  return catalogue;
}

class MetricsTest : public ServerTest {
 protected:
  void SetUp() override {
    engine_ = std::make_unique<FakeEngine>(FakeEngine::Script{MakeTokens({"a", "b", "c"}), {}});
    Start();
    ASSERT_TRUE(Generate(TextRequest()).status.ok());
  }
};

TEST_F(MetricsTest, DocumentAndEndpointAgree) { EXPECT_EQ(Documented(), Live(MetricsPage())); }

TEST_F(MetricsTest, DocumentNamesEveryReason) {
  std::ifstream file(kDocument);
  const std::string document(std::istreambuf_iterator<char>(file), {});
  const std::vector<std::string> lines = absl::StrSplit(MetricsPage(), '\n', absl::SkipEmpty());
  int reasons = 0;
  for (const std::string& line : lines) {
    const std::string name = line.substr(0, line.find('{'));
    for (const char* label : {"reason=\"", "cause=\""}) {
      const size_t at = line.find(label);
      if (at == std::string::npos) continue;
      const size_t begin = at + std::strlen(label);
      const std::string value = line.substr(begin, line.find('"', begin) - begin);
      const size_t row = document.find(absl::StrCat("| `", name, "` |"));
      ASSERT_NE(row, std::string::npos) << name;
      EXPECT_THAT(document.substr(row, document.find('\n', row) - row),
                  HasSubstr(absl::StrCat("`", value, "`")))
          << name;
      ++reasons;
    }
  }
  EXPECT_GE(reasons, 20);
}

// The table of docs/security.md: | what | `name`, `name` | default |
TEST_F(MetricsTest, EachDocumentedLimitIsThere) {
  std::ifstream file(RECURVE_SOURCE_DIR "/docs/security.md");
  const std::string page = MetricsPage();
  int limits = 0;
  bool inside = false;
  for (std::string line; std::getline(file, line);) {
    if (line.starts_with("## ")) inside = line == "## Limits";
    const std::vector<std::string> cells = absl::StrSplit(line, '|');
    if (!inside || cells.size() != 5) continue;
    const std::vector<std::string> quoted = absl::StrSplit(cells[2], '`');
    for (size_t i = 1; i < quoted.size(); i += 2, ++limits) {
      EXPECT_TRUE(
          MetricValue(page, absl::StrCat("recurve_limit{limit=\"", quoted[i], "\"}")).has_value())
          << quoted[i];
    }
  }
  EXPECT_GE(limits, 25);
  EXPECT_EQ(MetricValue(page, "recurve_limit{limit=\"max_stop_strings\"}"), kMaxStopStrings);
  EXPECT_EQ(MetricValue(page, "recurve_limit{limit=\"max_logit_biases\"}"), kMaxLogitBiases);
}

TEST_F(MetricsTest, OnlyMetricsAreHereAndOnlyToGet) {
  HttpClient client(server_->metrics_address());
  HttpAnswer page = client.Get("/metrics");
  EXPECT_EQ(page.status, 200);
  EXPECT_THAT(page.head,
              HasSubstr("\r\nContent-Type: text/plain; version=0.0.4; charset=utf-8\r\n"));
  EXPECT_THAT(page.body, HasSubstr("recurve_metrics_answers_total{code=\"200\"} 0\n"));
  EXPECT_EQ(client.Get("/metrics?name[]=x").status, 200);
  client.Send("HEAD /metrics HTTP/1.1\r\nHost: test\r\n\r\n");
  EXPECT_EQ(client.Read(/*to_head=*/true).status, 200);
  for (const char* path : {"/", "/metrics/", "/favicon.ico"}) {
    EXPECT_EQ(client.Get(path).status, 404) << path;
  }
  client.Send("DELETE /metrics HTTP/1.1\r\nHost: test\r\n\r\n");
  const HttpAnswer refused = client.Read();
  EXPECT_EQ(refused.status, 405);
  EXPECT_THAT(refused.head, HasSubstr("\r\nAllow: GET, HEAD\r\n"));
  page = client.Get("/metrics");
  EXPECT_EQ(MetricValue(page.body, "recurve_metrics_answers_total{code=\"200\"}"), 3);
  EXPECT_EQ(MetricValue(page.body, "recurve_metrics_answers_total{code=\"404\"}"), 3);
  EXPECT_EQ(MetricValue(page.body, "recurve_metrics_answers_total{code=\"405\"}"), 1);
  EXPECT_EQ(MetricValue(page.body, "recurve_metrics_connections_open"), 1);
}

class MetricsConnectionsTest : public ServerTest {};

TEST_F(MetricsConnectionsTest, SilentOnesNeverKeepAScraperOut) {
  Start();
  std::vector<HttpClient> silent;
  for (int i = 0; i < 60; ++i) {
    ASSERT_TRUE(silent.emplace_back(server_->metrics_address()).connected());
  }
  const std::string page = MetricsPage();
  EXPECT_EQ(MetricValue(page, "recurve_metrics_connections_open"), 16);
  EXPECT_EQ(MetricValue(page, "recurve_metrics_connections_closed_total{reason=\"evicted\"}"), 45);
  EXPECT_EQ(MetricValue(page, "recurve_limit{limit=\"max_metrics_connections\"}"), 16);
  EXPECT_TRUE(silent.back().IsSilent());
}

TEST_F(MetricsConnectionsTest, TheirLimitsAreOptions) {
  options_.listen.max_metrics_connections = 1;
  options_.listen.metrics_stall_timeout = Milliseconds(20);
  Start();
  HttpClient silent(server_->metrics_address());
  EXPECT_TRUE(silent.WaitUntilClosed());
  const std::string page = MetricsPage();
  EXPECT_EQ(MetricValue(page, "recurve_metrics_connections_closed_total{reason=\"stalled\"}"), 1);
  EXPECT_EQ(MetricValue(page, "recurve_limit{limit=\"max_metrics_connections\"}"), 1);
  EXPECT_EQ(MetricValue(page, "recurve_limit{limit=\"metrics_stall_timeout\"}"), 0.02);
}

TEST_F(MetricsTest, PromtoolHasNothingToSay) {
  constexpr char kPromtool[] = "/usr/bin/promtool";
  if (access(kPromtool, X_OK) != 0) GTEST_SKIP() << kPromtool << " is not installed";
  const ScopedDirectory directory;
  const std::string path = directory.path() + "/metrics";
  directory.Write("metrics", MetricsPage());
  std::FILE* pipe =
      popen(absl::StrCat(kPromtool, " check metrics < '", path, "' 2>&1").c_str(), "r");
  std::string said;
  for (int c = 0; (c = std::fgetc(pipe)) != EOF;) said += static_cast<char>(c);
  EXPECT_EQ(pclose(pipe), 0);
  EXPECT_EQ(said, "");
}

TEST_F(MetricsTest, FiguresAreThoseOfEngineAndRequests) {
  const std::string page = MetricsPage();
  const std::pair<const char*, double> kExpected[] = {
      {"recurve_requests_waiting", 2},
      {"recurve_waiting_tokens", 30},
      {"recurve_tokenized_bytes_total", 300},
      {"recurve_texts_waiting{kind=\"prompt\"}", 0},
      {"recurve_kv_pages_free", 75},
      {"recurve_kv_pages_cached", 5},
      {"recurve_kv_cache_usage_ratio", 0.2},
      {"recurve_kv_sharing_ratio", 1.25},
      {"recurve_kv_fragmentation_ratio", 0.125},
      {"recurve_prefix_cache_queries_total", 50},
      {"recurve_prefix_cache_hits_total", 40},
      {"recurve_kv_pages{group=\"1\"}", 10},
      {"recurve_kv_bytes{group=\"1\"}", 40960},
      {"recurve_kv_entries{group=\"2\"}", 20},
      {"recurve_recursion_tokens_total{kind=\"prompt\",depth=\"3\"}", 30},
      {"recurve_recursion_tokens_total{kind=\"generated\",depth=\"1\"}", 3},
      {"recurve_early_exits_total{kind=\"prompt\"}", 30},
      {"recurve_early_exits_total{kind=\"generated\"}", 5},
      {"recurve_generation_tokens_total", 3},
      {"recurve_preemptions_total{reason=\"memory\"}", 3},
      {"recurve_preemptions_total{reason=\"priority\"}", 2},
      {"recurve_recomputed_tokens_total", 17},
      {"recurve_recompute_seconds_total", 1.5},
      {"recurve_full_plans_total", 6},
      {"recurve_kv_evicted_entries_total{group=\"2\",policy=\"attention\"}", 2},
      {"recurve_kv_evicted_entries_total{group=\"2\",policy=\"router\"}", 4},
      {"recurve_depth_cap", 2},
      {"recurve_ends_min_rows", 3},
      {"recurve_prompt_rows", 48},
      {"recurve_depth_lowered_tokens_total", 12},
      {"recurve_depth_given_up_recursions_total", 19},
      {"recurve_steps_total", 9},
      {"recurve_step_rows_total{stage=\"block\"}", 103},
      {"recurve_batch_tokens_sum", 0.5},
      {"recurve_batch_sequences_sum", 2.5},
      {"recurve_step_duration_seconds_count", 9},
      {"recurve_step_duration_seconds_bucket{le=\"0.01\"}", 7},
      {"recurve_step_duration_seconds_bucket{le=\"+Inf\"}", 9},
      {"recurve_limit{limit=\"max_message_bytes\"}", 4194304},
      {"recurve_request_finished_total{reason=\"end_of_sequence\"}", 1},
      {"recurve_request_finished_total{reason=\"cancelled\"}", 0},
      {"recurve_request_generation_tokens_sum", 3},
      {"recurve_request_prompt_tokens_sum", 5},
      {"recurve_time_to_first_token_seconds_count", 1},
      {"recurve_inter_token_latency_seconds_count", 2},
      {"recurve_e2e_request_latency_seconds_count", 1},
      {"recurve_egress_backlog_tokens", 0},
      {"recurve_ready", 1}};
  for (const auto& [series, value] : kExpected) {
    EXPECT_EQ(MetricValue(page, series), value) << series;
  }
  EXPECT_NEAR(*MetricValue(page, "recurve_mean_depth{kind=\"prompt\"}"), 140.0 / 60, 1e-9);
  EXPECT_NEAR(*MetricValue(page, "recurve_mean_depth{kind=\"generated\"}"), 6.0 / 4, 1e-9);
}

TEST_F(MetricsTest, EngineFamiliesAreAbsentWithoutAnEngine) {
  server_->SetEngine(nullptr);
  const std::string page = MetricsPage();
  EXPECT_EQ(MetricValue(page, "recurve_steps_total"), std::nullopt);
  EXPECT_EQ(MetricValue(page, "recurve_ready"), 1.0);
}

}  // namespace
}  // namespace recurve
