// SPDX-License-Identifier: Apache-2.0
#include "tests/engine/backend/page_pairs.h"

#include <utility>

namespace recurve {
namespace {

constexpr uint32_t kGroup = 1;

Evict EvictFrom(uint32_t slot, uint32_t keep) { return {slot, kGroup, 12, keep}; }
// The slot's `index`-th page.
PageChange Give(uint32_t slot, uint32_t index, uint32_t page) {
  return {slot, kGroup, index, page};
}

StepPlan Plan(std::vector<Drop> drops, std::vector<Evict> evicts, std::vector<PageCopy> copies,
              std::vector<PageChange> pages) {
  StepPlan plan;
  plan.epoch = 2;
  plan.drops = std::move(drops);
  plan.evicts = std::move(evicts);
  plan.copies = std::move(copies);
  plan.pages = std::move(pages);
  return plan;
}

std::vector<PagePair> Allowed() {
  std::vector<PagePair> pairs = {
      {"eviction from a page that a dropped slot had too",
       Plan({{3}}, {EvictFrom(2, 4)}, {}, {}),
       {}},
      {"copy to a page that an eviction empties",
       Plan({}, {EvictFrom(0, 8)}, {{6, 2}}, {Give(3, 0, 2)}),
       {}},
      {"a slot gets a page that an eviction empties",
       Plan({}, {EvictFrom(0, 8)}, {}, {Give(1, 3, 2)}),
       {}},
      {"two copies of one page",
       Plan({}, {}, {{6, 14}, {6, 15}}, {Give(2, 0, 14), Give(3, 0, 15)}),
       {}},
      {"copy to a page that has been copied and let go",
       Plan({{2}}, {}, {{6, 14}, {3, 6}}, {Give(3, 0, 14), Give(1, 0, 6)}),
       {}},
      {"a slot gets a page that has been copied and let go",
       Plan({{2}}, {}, {{6, 14}}, {Give(3, 0, 14), Give(1, 3, 6)}),
       {}},
      {"copy of a dropped slot's page", Plan({{0}}, {}, {{0, 14}}, {Give(3, 0, 14)}), {}},
      {"copy to a dropped slot's page", Plan({{0}}, {}, {{6, 0}}, {Give(3, 0, 0)}), {}},
  };
  return pairs;
}

std::vector<PagePair> Forbidden() {
  std::vector<PagePair> pairs = {
      {"two evictions of one group",
       Plan({}, {EvictFrom(0, 8), EvictFrom(0, 8)}, {}, {}),
       {"page 0", "slot"}},
      {"two evictions from one page",
       Plan({}, {EvictFrom(2, 4), EvictFrom(3, 4)}, {}, {}),
       {"page 6", "slot", "3", "2"}},
      {"eviction from a page that another slot has",
       Plan({}, {EvictFrom(2, 4)}, {}, {}),
       {"page 6", "slot 3", "slot 2"}},
      {"eviction from a page that another slot is given a copy of",
       Plan({}, {EvictFrom(2, 4)}, {{6, 14}, {7, 15}}, {Give(3, 0, 14), Give(3, 1, 15)}),
       {"page 6", "slot 3", "slot 2"}},
      {"copy of a page where an eviction keeps entries",
       Plan({}, {EvictFrom(0, 8)}, {{1, 14}}, {Give(3, 0, 14)}),
       {"page 1", "14"}},
      {"copy of a page that an eviction empties",
       Plan({}, {EvictFrom(0, 8)}, {{2, 14}}, {Give(3, 0, 14)}),
       {"page 2", "14"}},
      {"copy to a page where an eviction keeps entries",
       Plan({}, {EvictFrom(0, 8)}, {{6, 1}}, {Give(3, 0, 1)}),
       {"page 6", "1"}},
      {"a slot gets a page where an eviction keeps entries",
       Plan({}, {EvictFrom(0, 8)}, {}, {Give(1, 3, 0)}),
       {"page 0", "slot 1"}},
      {"two slots get a page that an eviction empties",
       [] {
         StepPlan plan = Plan({}, {EvictFrom(0, 8)}, {}, {Give(1, 3, 2), Give(2, 3, 2)});
         plan.rooms = {{1, 14}, {2, 14}};
         return plan;
       }(),
       {"page 2", "slots 1 and 2"}},
      {"copy of a copy",
       Plan({}, {}, {{6, 14}, {14, 15}}, {Give(3, 0, 14), Give(1, 0, 15)}),
       {"page 14", "15"}},
      {"two copies to one page",
       Plan({}, {}, {{6, 14}, {7, 14}}, {Give(3, 0, 14)}),
       {"page", "14"}},
      {"copy to a page that no slot gets", Plan({}, {}, {{6, 14}}, {}), {"page 14"}},
      {"copy to a page that two slots get",
       Plan({}, {}, {{6, 14}}, {Give(3, 0, 14), Give(2, 0, 14)}),
       {"page 14", "slot", "2"}},
      {"copy to a page that another slot has",
       Plan({}, {}, {{6, 3}}, {Give(3, 0, 3)}),
       {"page 3", "slot", "1", "3"}},
      {"copy to a page that another slot's rows write",
       Plan({}, {}, {{6, 10}}, {Give(3, 0, 10)}),
       {"page 10", "slot", "3", "4"}},
  };
  return pairs;
}

}  // namespace

StepPlan PagePairsBegin() {
  StepPlan plan;
  plan.epoch = 1;
  const std::vector<std::vector<uint32_t>> tables = {
      {0, 1, 2}, {3, 4, 5}, {6, 7, 8}, {6, 7, 9}, {11, 12, 13, 10}};
  for (uint32_t slot = 0; slot < tables.size(); ++slot) {
    Admission admission{};
    admission.slot = slot;
    admission.area = kNoArea;
    admission.state.stage = Stage::kEntry;
    admission.state.position = 12;
    admission.state.count[kGroup] = 12;
    admission.limits = {.prompt = 13, .end = 40, .room = slot == 4 ? 14U : 12U, .chunk = 4};
    admission.logprobs = kNoLogprobs;
    admission.eviction = EvictionPolicy::kWindow;
    plan.admits.push_back(admission);
    for (uint32_t index = 0; index < tables[slot].size(); ++index) {
      plan.pages.push_back(Give(slot, index, tables[slot][index]));
    }
  }
  return plan;
}

std::vector<PagePair> PagePairs() {
  std::vector<PagePair> pairs = Allowed();
  for (PagePair& pair : Forbidden()) pairs.push_back(std::move(pair));
  return pairs;
}

}  // namespace recurve
