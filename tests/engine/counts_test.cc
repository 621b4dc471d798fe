// SPDX-License-Identifier: Apache-2.0
// What fixed loads cost, counted instead of timed: a change of schedule, shapes or prefix cache
// that makes them dearer shows here. Whoever means such a change writes the table anew.
#include <cmath>
#include <memory>
#include <string>
#include <vector>

#include "engine/backend/factory/make_backend.h"
#include "engine/bench/measurement.h"
#include "engine/bench/shapes.h"
#include "gtest/gtest.h"
#include "tests/engine/small_models.h"

namespace recurve {
namespace {

struct Load {
  std::string name;
  const char* policy;
  uint32_t streams, prompt_tokens, shared_prompt_tokens, new_tokens, block_rows;
};

struct Counted {
  uint64_t steps = 0;
  uint64_t exit = 0, sampling = 0, entry = 0, block = 0;  // rows of all steps
  uint64_t pages = 0;                                     // that held entries at once, at most
  uint64_t flops = 0, bytes = 0;  // of a token: FLOPs; weights and entries read
  bool operator==(const Counted&) const = default;
};

void PrintTo(const Counted& c, std::ostream* out) {
  *out << "{" << c.steps << ", " << c.exit << ", " << c.sampling << ", " << c.entry << ", "
       << c.block << ", " << c.pages << ", " << c.flops << ", " << c.bytes << "}";
}

struct Case {
  Load load;
  Counted expected;
};

const std::vector<Case>& Cases() {
  static const auto* cases = new std::vector<Case>{
      {{"one_stream", "depthwise", 1, 40, 0, 60, 0}, {108, 99, 60, 99, 171, 27, 301076, 271358}},
      {{"depthwise", "depthwise", 8, 40, 0, 60, 0},
       {116, 792, 480, 792, 1454, 201, 309089, 278707}},
      {{"lockstep", "lockstep", 8, 40, 0, 60, 0}, {180, 792, 480, 792, 1454, 217, 309089, 278707}},
      {{"few_block_rows", "depthwise", 8, 40, 0, 60, 3},
       {290, 792, 480, 792, 1454, 200, 309089, 278707}},
      {{"shared_prompts", "depthwise", 6, 150, 140, 20, 0},
       {40, 374, 120, 374, 637, 252, 373990, 307075}},
  };
  return *cases;
}

Counted CountLoad(const std::string& backend, const Load& load) {
  const std::shared_ptr<const Model> model = SmallModels()[3].model;
  BenchOptions options;
  options.policy = *Policy::FromName(load.policy);
  options.streams = load.streams;
  options.prompt_tokens = load.prompt_tokens;
  options.shared_prompt_tokens = load.shared_prompt_tokens;
  options.new_tokens = load.new_tokens;
  options.block_rows = load.block_rows;
  // Only with the model's own depths are prompts shared; then both backends have others.
  if (load.shared_prompt_tokens == 0) options.shares = {1.0, 0.6, 0.3};
  BackendOptions backend_options = {.name = backend};
  if (backend == "cpu") backend_options.threads = 1;
  const auto builder = OpenBackend(backend_options);
  const auto bench = Bench::Create(model, options, **builder);
  EXPECT_TRUE(bench.ok()) << bench.status();
  const auto m = (*bench)->Run();
  EXPECT_TRUE(m.ok()) << m.status();
  const auto rows = [&m](StepPart part) {
    return static_cast<uint64_t>(std::llround(m->part_rows[part] * static_cast<double>(m->steps)));
  };
  Counted counted;
  counted.steps = m->steps;
  counted.exit = rows(kPartExit);
  counted.sampling = rows(kPartSampling);
  counted.entry = rows(kPartEntry);
  counted.block = rows(kPartBlock);
  counted.pages = m->kv_bytes_peak / (*bench)->facts().page_bytes;
  const double context = load.prompt_tokens + load.new_tokens / 2.0;
  const double vanilla = FlopsPerToken(VanillaTwin(model->config), {1.0}, context);
  counted.flops = static_cast<uint64_t>(std::llround(vanilla / m->flop_ratio));
  counted.bytes = static_cast<uint64_t>(std::llround(m->bytes_per_token));
  return counted;
}

TEST(CountsTest, FixedLoadsCostWhatTheyDid) {
  for (const Case& c : Cases()) {
    EXPECT_EQ(CountLoad("null", c.load), c.expected) << c.load.name;
  }
}

// The schedule does not know what computes.
TEST(CountsTest, LoadsCostTheSameOnAnotherBackend) {
  for (const Case& c : Cases()) {
    if (c.load.shared_prompt_tokens > 0) continue;
    EXPECT_EQ(CountLoad("cpu", c.load), c.expected) << c.load.name;
  }
}

}  // namespace
}  // namespace recurve
