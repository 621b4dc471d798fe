// SPDX-License-Identifier: Apache-2.0
// The lines of `recurve top`, from two answers.
#include "client/cli/top_view.h"

#include <limits>

#include "absl/strings/str_join.h"
#include "gmock/gmock.h"

namespace recurve::client {
namespace {

using testing::AllOf;
using testing::Each;
using testing::EndsWith;
using testing::HasSubstr;
using testing::Not;
using testing::StartsWith;

void Assign(std::initializer_list<uint64_t> from, google::protobuf::RepeatedField<uint64_t>* to) {
  to->Assign(from.begin(), from.end());
}

void AddGroup(v1::GetLoadResponse& load, const char* name, uint32_t pages, uint64_t entries,
              uint64_t evicted) {
  v1::GroupLoad* group = load.add_groups();
  group->set_name(name);
  group->set_pages(pages);
  group->set_entries(entries);
  group->set_evicted_entries(evicted);
}

void SetHistogram(std::initializer_list<uint64_t> counts, double sum, v1::Histogram* histogram) {
  for (const double bound : {0.01, 0.1}) histogram->add_bounds(bound);
  Assign(counts, histogram->mutable_counts());
  histogram->set_sum(sum);
}

// An answer of a server that has done `work` times what an example does in a second.
v1::GetLoadResponse Load(uint64_t work) {
  v1::GetLoadResponse load;
  load.set_uptime_seconds(100.0 + static_cast<double>(work));
  load.set_requests_running(3);
  load.set_requests_waiting(2);
  load.set_waiting_tokens(70);
  load.set_slots(4);
  load.set_kv_pages(64);
  load.set_kv_pages_free(16);
  load.set_prompt_tokens(50 * work);
  load.set_generated_tokens(20 * work);
  Assign({30 * work, 20 * work, 0}, load.mutable_prompt_rows_by_depth());
  Assign({5 * work, 5 * work, 10 * work}, load.mutable_generated_rows_by_depth());
  load.set_steps(12 * work);
  uint64_t rows = 70;
  for (const char* name : {"exit", "sampling", "entry", "block", "routers"}) {
    v1::StageLoad* stage = load.add_stages();
    stage->set_name(name);
    stage->set_rows(rows++ * work);
  }
  AddGroup(load, "entry", 8, 100, 0);
  AddGroup(load, "1", 16, 100, 3 * work);
  AddGroup(load, "2", 8, 40, 0);
  AddGroup(load, "3", 8, 10, 0);
  AddGroup(load, "exit", 8, 90, 0);
  load.set_kv_pages_cached(4);
  load.set_prefix_tokens_wanted(50 * work);
  load.set_prefix_tokens_found(30 * work);
  load.set_preemptions_for_memory(2 * work);
  load.set_preemptions_for_priority(work);
  SetHistogram({work, work, 0}, 0.1 * work, load.mutable_time_to_first_token());
  SetHistogram({20 * work, 0, 0}, 0.1 * work, load.mutable_inter_token_latency());
  SetHistogram({0, 0, work}, 3.0 * work, load.mutable_queue_time());
  return load;
}

TopState State(const v1::GetLoadResponse& before, const v1::GetLoadResponse& now) {
  TopState state;
  state.server = "127.0.0.1:50051";
  state.info.set_model_name("demo");
  state.info.set_precision("bf16");
  state.info.set_backend("cpu");
  state.info.set_server_version("0.1.0");
  state.before = before;
  state.now = now;
  return state;
}

std::string Text(const TopState& state) {
  return absl::StrJoin(TopView(state, kTopColumns, DepthMarks::kNone), "\n");
}

TEST(TopViewTest, ASmallExample) {
  v1::GetLoadResponse now = Load(3);
  now.set_draining(true);
  EXPECT_EQ(Text(State(Load(1), now)), R"(demo (bf16, cpu) at 127.0.0.1:50051, version 0.1.0
up 1 min 43 s, draining; figures of the last 2.00 s

requests         3 of 4 slots [########..]  2 waiting (70 tokens)
tokens/s      50.0 prompt    20.0 generated
mean depth    1.40 prompt    2.25 generated  of 3
preempted        4 for memory  2 for priority

stage         exit  sampling     entry     block   routers     steps/s
rows/s        70.0      71.0      72.0      73.0      74.0        12.0

group  rows/s                      pages of 64                entries evicted/s
entry                                  8 [##..............]       100         0
1        70.0 [################]      16 [####............]       100      3.00
2        35.0 [########........]       8 [##..............]        40         0
3        10.0 [##..............]       8 [##..............]        10         0
exit                                   8 [##..............]        90         0
all                                   44 [###########.....]       340      3.00
cached                                 4 [#...............]      60% of prompts

latency               count         mean          p50          p99
first token               4      50.0 ms      10.0 ms      98.2 ms
between tokens           40      5.00 ms      5.00 ms      9.90 ms
queue                     2       3.00 s     > 100 ms     > 100 ms)");
}

TEST(TopViewTest, WithoutAnEarlierAnswerFiguresAreSinceTheStart) {
  v1::GetLoadResponse now = Load(10);
  now.set_uptime_seconds(20);
  const std::string text = Text(State({}, now));
  EXPECT_THAT(text, HasSubstr("up 20 s; figures since the start"));
  EXPECT_THAT(text, HasSubstr("tokens/s      25.0 prompt    10.0 generated"));
  EXPECT_THAT(text, HasSubstr("preempted       20 for memory"));
}

TEST(TopViewTest, AServerThatStartedAnewIsShownFromItsStart) {
  v1::GetLoadResponse now = Load(1);
  now.set_uptime_seconds(0.5);
  const std::string expected = Text(State({}, now));
  EXPECT_EQ(Text(State(Load(1000), now)), expected);
  EXPECT_THAT(expected, HasSubstr("tokens/s       100 prompt    40.0 generated"));
  // Another server behind the same address, which is older but has done less.
  now.set_uptime_seconds(1e6);
  EXPECT_EQ(Text(State(Load(1000), now)), Text(State({}, now)));
}

TEST(TopViewTest, NoTrafficIsAllZero) {
  const v1::GetLoadResponse idle = Load(7);
  for (const TopState& state : {State(idle, idle), State({}, {}), State(Load(0), Load(0))}) {
    const std::string text = Text(state);
    EXPECT_THAT(text, HasSubstr("tokens/s         0 prompt       0 generated"));
    EXPECT_THAT(text, HasSubstr("mean depth       - prompt       - generated"));
    EXPECT_THAT(text, AllOf(Not(HasSubstr("nan")), Not(HasSubstr("inf"))));
  }
}

TEST(TopViewTest, RecursionsThatShareACacheHaveRowsOfTheirOwn) {
  v1::GetLoadResponse now = Load(1);
  now.mutable_groups()->DeleteSubrange(2, 2);
  const std::vector<std::string> lines =
      TopView(State(Load(0), now), kTopColumns, DepthMarks::kNone);
  EXPECT_THAT(lines[13], StartsWith("1        70.0 [################]      16 ["));
  EXPECT_EQ(lines[14], "2        35.0 [########........]");
  EXPECT_EQ(lines[15], "3        10.0 [##..............]");
  EXPECT_THAT(lines[16], StartsWith("exit     "));
}

// Sets every field to the largest value, and repeated ones 16 times.
void FillWithTheLargest(google::protobuf::Message* message) {
  const auto* reflection = message->GetReflection();
  const auto* descriptor = message->GetDescriptor();
  for (int i = 0; i < descriptor->field_count(); ++i) {
    const auto* field = descriptor->field(i);
    const int elements = field->is_repeated() ? 16 : 1;
    for (int element = 0; element < elements; ++element) {
      switch (field->cpp_type()) {
        case google::protobuf::FieldDescriptor::CPPTYPE_UINT32:
          reflection->SetUInt32(message, field, std::numeric_limits<uint32_t>::max());
          break;
        case google::protobuf::FieldDescriptor::CPPTYPE_UINT64:
          if (field->is_repeated()) {
            reflection->AddUInt64(message, field, std::numeric_limits<uint64_t>::max());
          } else {
            reflection->SetUInt64(message, field, std::numeric_limits<uint64_t>::max());
          }
          break;
        case google::protobuf::FieldDescriptor::CPPTYPE_DOUBLE:
          if (field->is_repeated()) {
            if (element > 0) reflection->AddDouble(message, field, 1e300 * element);
          } else {
            reflection->SetDouble(message, field, 1e300);
          }
          break;
        case google::protobuf::FieldDescriptor::CPPTYPE_BOOL:
          reflection->SetBool(message, field, true);
          break;
        case google::protobuf::FieldDescriptor::CPPTYPE_STRING:
          reflection->SetString(message, field, std::string(200, 'x'));
          break;
        case google::protobuf::FieldDescriptor::CPPTYPE_MESSAGE:
          FillWithTheLargest(field->is_repeated() ? reflection->AddMessage(message, field)
                                                  : reflection->MutableMessage(message, field));
          break;
        default:
          ADD_FAILURE() << field->full_name();
      }
    }
  }
}

TEST(TopViewTest, NoFigureIsTooLargeForTheLine) {
  TopState state;
  FillWithTheLargest(&state.now);
  state.server = std::string(200, 's');
  state.info.set_model_name(std::string(200, 'm'));
  state.info.set_precision(std::string(200, 'p'));
  state.info.set_backend(std::string(200, 'b'));
  state.info.set_server_version(std::string(200, 'v'));
  for (const double uptime : {1e-9, 1.0, 1e300, std::numeric_limits<double>::infinity(),
                              std::numeric_limits<double>::quiet_NaN()}) {
    state.now.set_uptime_seconds(uptime);
    for (const size_t columns : {size_t{10}, size_t{80}, size_t{500}}) {
      for (const std::string& line : TopView(state, columns, DepthMarks::kNone)) {
        EXPECT_LE(line.size(), std::min(columns, kTopColumns)) << line;
        EXPECT_THAT(line, AllOf(Not(HasSubstr("nan")), Not(HasSubstr("inf"))));
      }
    }
  }
  // But for the title, which is all text, nothing is cut.
  state.now.set_uptime_seconds(1e-9);
  std::vector<std::string> lines = TopView(state, kTopColumns, DepthMarks::kNone);
  lines.erase(lines.begin());
  EXPECT_THAT(lines, Each(Not(EndsWith("..."))));
}

TEST(TopViewTest, StringsOfTheServerCannotDriveTheTerminal) {
  TopState state = State(Load(1), Load(2));
  const std::string evil = "\x1b]0;evil\x07\n\r\xC2\x9B";
  state.info.set_model_name(evil);
  state.info.set_precision(evil);
  state.info.set_backend(evil);
  state.info.set_server_version(evil);
  for (auto& group : *state.now.mutable_groups()) group.set_name(evil);
  for (auto& stage : *state.now.mutable_stages()) stage.set_name(evil);
  for (const char* silence : {"", "\x1b[2J"}) {
    state.silence = state.reason = silence;
    for (const std::string& line : TopView(state, kTopColumns, DepthMarks::kNone)) {
      for (const char c : line) EXPECT_GE(static_cast<unsigned char>(c), 0x20U) << line;
      EXPECT_THAT(line, Not(HasSubstr("\xC2\x9B")));
    }
  }
}

TEST(TopViewTest, SilenceTakesThePlaceOfTheUptime) {
  TopState state = State(Load(1), Load(2));
  state.silence = "no figures since 12:00:00, for 5 s";
  state.reason = "UNAVAILABLE: gone";
  EXPECT_THAT(Text(state), StartsWith("demo (bf16, cpu) at 127.0.0.1:50051, version 0.1.0\n"
                                      "no figures since 12:00:00, for 5 s\n"
                                      "UNAVAILABLE: gone\n"
                                      "requests         3 of 4 slots"));
}

TEST(TopViewTest, BarsOfRecursionsWearTheirDepthsColor) {
  const TopState state = State(Load(1), Load(2));
  const std::vector<std::string> plain = TopView(state, kTopColumns, DepthMarks::kNone);
  const std::vector<std::string> colored = TopView(state, kTopColumns, DepthMarks::kColors);
  ASSERT_EQ(plain.size(), colored.size());
  for (size_t i = 0; i < plain.size(); ++i) {
    const bool is_recursion = i >= 13 && i <= 15;
    EXPECT_EQ(colored[i] == plain[i], !is_recursion) << colored[i];
  }
  EXPECT_THAT(colored[13],
              HasSubstr(MarkDepth(DepthMarks::kColors, "[################]", 1) + "      16 ["));
  EXPECT_THAT(colored[15], HasSubstr(MarkDepth(DepthMarks::kColors, "[##..............]", 3)));
  // A line that is cut in its bar has no mark left open.
  EXPECT_THAT(TopView(state, 20, DepthMarks::kColors), Each(Not(HasSubstr("\x1b"))));
}

}  // namespace
}  // namespace recurve::client
