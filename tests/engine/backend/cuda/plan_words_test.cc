// SPDX-License-Identifier: Apache-2.0
#include "engine/backend/cuda/plan_words.h"

#include <cstring>
#include <numeric>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace recurve::cuda {
namespace {

using testing::ElementsAre;

BackendLimits SmallLimits() {
  BackendLimits limits = {
      {.slots = 3, .areas = 1, .chunk = 4, .ends = 4, .block_rows = 2, .prompt_rows = 4},
      /*pages=*/8,
      /*max_positions=*/32,
      /*max_logprobs=*/2,
      /*max_biases=*/3,
      /*max_stop_ids=*/2,
      /*plan_changes=*/5};
  return limits;
}

PlanHeader HeaderOf(const std::vector<uint32_t>& words) {
  PlanHeader header;
  std::memcpy(static_cast<void*>(&header), words.data(), sizeof(header));
  return header;
}

template <typename Element>
std::vector<Element> ListOf(const std::vector<uint32_t>& words, const WordList& list) {
  std::vector<Element> elements(list.count);
  if (list.count > 0) {
    std::memcpy(static_cast<void*>(elements.data()), &words[list.begin],
                list.count * sizeof(Element));
  }
  return elements;
}

TEST(PlanWordsTest, CapsAreSortedBySlotAndKeepTheirOrder) {
  StepPlan plan;
  plan.epoch = 9;
  plan.ends = 3;
  plan.caps = {{2, 5, 1}, {0, 7, 2}, {2, 6, 3}, {0, 8, 1}, {2, 9, 2}};
  plan.rooms = {{1, 4}};
  plan.stop_ids = {17, 18};
  std::vector<uint32_t> words(MostPlanWords(SmallLimits()));
  PlanWriter writer;
  const size_t used = writer.Write(plan, words);
  const PlanHeader header = HeaderOf(words);
  EXPECT_EQ(header.epoch, 9U);
  EXPECT_EQ(header.caps_of_step.ends, 3U);
  const auto caps = ListOf<CapChange>(words, header.caps);
  std::vector<uint32_t> positions;
  positions.reserve(caps.size());
  for (const CapChange& cap : caps) positions.push_back(cap.position);
  EXPECT_THAT(positions, ElementsAre(7, 8, 5, 6, 9));
  const auto runs = ListOf<CapRun>(words, header.cap_runs);
  ASSERT_EQ(runs.size(), 2U);
  EXPECT_EQ(runs[0].slot, 0U);
  EXPECT_EQ(runs[0].count, 2U);
  EXPECT_EQ(runs[1].slot, 2U);
  EXPECT_EQ(runs[1].begin, 2U);
  EXPECT_EQ(runs[1].count, 3U);
  EXPECT_EQ(ListOf<RoomChange>(words, header.rooms)[0].room, 4U);
  EXPECT_THAT(ListOf<TokenId>(words, header.stop_ids), ElementsAre(17, 18));
  EXPECT_EQ(header.drops.count, 0U);
  EXPECT_LE(used, words.size());
  // The next plan says nothing of this one.
  writer.Write(StepPlan(), words);
  EXPECT_EQ(HeaderOf(words).caps.count, 0U);
  EXPECT_EQ(HeaderOf(words).cap_runs.count, 0U);
}

TEST(PlanWordsTest, TheLargestPlanFits) {
  const BackendLimits limits = SmallLimits();
  const PlanSizes most = MostOfPlan(limits);
  StepPlan plan;
  plan.drops.resize(most.drops);
  plan.admits.resize(most.admits);
  plan.evicts.resize(most.evicts);
  plan.copies.resize(most.copies);
  plan.pages.resize(most.pages);
  plan.tokens.resize(most.tokens);
  for (uint32_t i = 0; i < most.caps; ++i) plan.caps.push_back({i % limits.slots, i, 1});
  plan.rooms.resize(most.rooms);
  plan.biases.resize(most.biases);
  plan.stop_ids.resize(most.stop_ids);
  std::vector<uint32_t> words(MostPlanWords(limits));
  constexpr size_t kOwnCaps = 5;  // PlanSizes::Words counts them, and so does the header
  EXPECT_EQ(PlanWriter().Write(plan, words), words.size() - kOwnCaps);
}

TEST(PlanWordsTest, ListsOfAResultLieBehindEachOther) {
  const BackendLimits limits = SmallLimits();
  const ResultLayout layout = LayoutOfResult(limits);
  EXPECT_EQ(layout.depths - layout.outcomes, limits.slots * sizeof(Outcome) / 4);
  EXPECT_EQ(layout.logprobs - layout.depths, limits.ends + limits.prompt_rows);
  EXPECT_GE(layout.words, layout.logits_rows + 2 * limits.ends);
  std::vector<uint32_t> words(layout.words);
  std::iota(words.begin(), words.end(), 0);
  ResultHeader header;
  header.epoch = 4;
  header.part_rows[kPartBlock] = 6;
  for (uint64_t i = 0; i <= kStepParts; ++i) header.stamps[i] = 100 * i * i;
  header.outcomes = 2;
  header.depths = 3;
  header.logprobs = 1;
  std::memcpy(words.data(), &header, sizeof(header));
  StepResult result;
  ReadResult(words, layout, result);
  EXPECT_EQ(result.epoch, 4U);
  EXPECT_EQ(result.part_rows[kPartBlock], 6U);
  EXPECT_EQ(result.part_ns[kPartSampling], 300U);
  ASSERT_EQ(result.outcomes.size(), 2U);
  EXPECT_EQ(result.outcomes[1].slot, layout.outcomes + 6);
  EXPECT_THAT(result.depths, ElementsAre(layout.depths, layout.depths + 1, layout.depths + 2));
  ASSERT_EQ(result.logprobs.size(), 1U);
  EXPECT_EQ(result.logprobs[0].position, layout.logprobs + 1);
  EXPECT_TRUE(result.logits_rows.empty());
}

}  // namespace
}  // namespace recurve::cuda
