// SPDX-License-Identifier: Apache-2.0
#include "engine/backend/factory/make_backend.h"

#include <memory>

#include "absl/status/status.h"
#include "engine/base/machine.h"
#include "gtest/gtest.h"
#include "tests/engine/small_models.h"

namespace recurve {
namespace {

TEST(MakeBackendTest, KnowsTheNamesThatItLists) {
  EXPECT_TRUE(HasBackend(kBackendNames));  // one so far
  for (const char* name : {"", "cuda", "CPU"}) EXPECT_FALSE(HasBackend(name)) << name;
}

TEST(MakeBackendTest, DescribesWhatItMakes) {
  const std::shared_ptr<const Model> model = SmallModels()[3].model;
  BackendOptions options;
  BackendFacts facts = DescribeBackend(*model, options);
  EXPECT_EQ(facts.name, options.name);
  EXPECT_EQ(facts.threads, UsableThreads());
  EXPECT_EQ(facts.queue_depth, 0U);
  EXPECT_GT(facts.page_memory_bytes, 0U);
  const uint64_t of_bf16 = facts.page_bytes;
  options.threads = 3;
  options.force_scalar = true;
  options.precision = Precision::kF32;
  facts = DescribeBackend(*model, options);
  EXPECT_EQ(facts.threads, 3U);
  EXPECT_EQ(facts.device, "scalar");
  EXPECT_GT(facts.page_bytes, of_bf16);
  EXPECT_LT(facts.page_bytes, 2 * of_bf16);
}

TEST(MakeBackendTest, MostSlotsAreThoseThatItSays) {
  const std::shared_ptr<const Model> model = SmallModels()[3].model;
  const BackendOptions options;
  BackendLimits limits;
  limits.FillIn();
  limits.max_positions = model->config.max_positions;
  const auto backend = MakeBackend(model, options, limits);
  ASSERT_TRUE(backend.ok()) << backend.status();
  EXPECT_EQ((*backend)->Outstanding(), 0U);
  limits.slots = DescribeBackend(*model, options).max_slots + 1;
  EXPECT_EQ(MakeBackend(model, options, limits).status(),
            absl::InvalidArgumentError("slots: found 16777217, expected at most 16777216"));
}

}  // namespace
}  // namespace recurve
