// SPDX-License-Identifier: Apache-2.0
#include "engine/assembly.h"

#include "engine/backend/model_shape.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/engine/model/checkpoint_writer.h"
#include "tests/engine/small_models.h"
#include "tests/scoped_directory.h"

namespace recurve {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

class AutoPagesTest : public testing::Test {
 protected:
  static constexpr uint32_t kContext = 256;

  // For as many slots and bytes.
  absl::StatusOr<uint32_t> Pages(uint64_t bytes, uint32_t slots) {
    return AutoPages(config_, page_, bytes, slots, kContext, &warnings_);
  }
  uint64_t PagesOf(uint32_t tokens) const {
    uint64_t pages = 0;
    for (const uint32_t entries : PageEntries(config_)) {
      if (entries > 0) pages += (tokens + entries - 1) / entries;
    }
    return pages;
  }

  const ModelConfig config_ = SmallModels()[3].model->config;
  const uint64_t page_ = 1000;  // bytes
  std::vector<std::string> warnings_;
};

TEST_F(AutoPagesTest, AllSlotsHaveTheirContextIfMemoryAllows) {
  EXPECT_EQ(*Pages(uint64_t{1} << 40, 5), 5 * PagesOf(kContext));
  EXPECT_EQ(*Pages(2 * PagesOf(kContext) * page_ + page_ - 1, 5), 2 * PagesOf(kContext));
  EXPECT_THAT(warnings_, IsEmpty());
}

TEST_F(AutoPagesTest, LessThanOneContextIsTold) {
  EXPECT_EQ(*Pages((PagesOf(kContext) - 1) * page_, 5), PagesOf(kContext) - 1);
  EXPECT_THAT(warnings_, ElementsAre(HasSubstr("one sequence of 256 tokens needs")));
}

TEST_F(AutoPagesTest, WhatHoldsNothingIsRefused) {
  for (const uint64_t bytes : {uint64_t{0}, PagesOf(2) * page_ - 1}) {
    const absl::Status refused = Pages(bytes, 5).status();
    EXPECT_EQ(refused.code(), absl::StatusCode::kResourceExhausted);
    EXPECT_THAT(std::string(refused.message()), HasSubstr("--kv_pages=auto"));
  }
  EXPECT_EQ(*Pages(PagesOf(2) * page_, 5), PagesOf(2));
}

TEST(AssembleTest, StepsAreQueuedAsTheBackendSaysOrTheOptionDoes) {
  const ScopedDirectory directory;
  WriteSmallModel(directory);
  EngineOptions options;
  options.model.directory = directory.path();
  absl::StatusOr<Assembly> assembly = Assemble(options);
  ASSERT_TRUE(assembly.ok()) << assembly.status();
  EXPECT_EQ(assembly->info.options.schedule.queue_depth, 0U) << "the CPU backend's";
  EXPECT_EQ(assembly->queue_depth, 0U);
  options.schedule.queue_depth = 1;
  assembly = Assemble(options);
  ASSERT_TRUE(assembly.ok()) << assembly.status();
  EXPECT_EQ(assembly->info.options.schedule.queue_depth, 1U);
  EXPECT_EQ(assembly->queue_depth, 1U);
  options.schedule.queue_depth = 2;
  EXPECT_THAT(std::string(Assemble(options).status().message()),
              HasSubstr("--queue_depth is 2; expected 0 or 1"));
}

}  // namespace
}  // namespace recurve
