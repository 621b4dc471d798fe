// SPDX-License-Identifier: Apache-2.0
#include "engine/schedule/stays.h"

#include <algorithm>

#include "engine/base/check.h"

namespace recurve {

uint32_t Stays::FreeSlot() const {
  const auto is_free = [](const std::vector<Stay>& stays) {
    return stays.empty() || stays.back().sequence == nullptr;
  };
  return static_cast<uint32_t>(std::find_if(slots_.begin(), slots_.end(), is_free) -
                               slots_.begin());
}

uint32_t Stays::FreeArea() const {
  return static_cast<uint32_t>(std::find(areas_.begin(), areas_.end(), false) - areas_.begin());
}

void Stays::Forget(uint32_t slot, uint32_t epoch) {
  std::vector<Stay>& stays = slots_[slot];
  while (stays.size() > 1 && stays[1].epoch <= epoch) stays.erase(stays.begin());
}

Stay& Stays::Begin(Sequence* sequence, bool wants_area, uint32_t epoch, uint32_t committed) {
  const uint32_t slot = FreeSlot();
  RECURVE_CHECK(slot < slots_.size());
  Forget(slot, committed + 1);
  Stay& stay = slots_[slot].emplace_back();
  stay.sequence = sequence;
  stay.epoch = epoch;
  if (wants_area) {
    stay.area = FreeArea();
    RECURVE_CHECK(stay.area < areas_.size());
    areas_[stay.area] = true;
  }
  sequence->slot = slot;
  return stay;
}

Stay& Stays::At(uint32_t slot, uint32_t epoch) {
  RECURVE_CHECK(slot < slots_.size());
  Forget(slot, epoch);
  RECURVE_CHECK(!slots_[slot].empty() && slots_[slot].front().epoch <= epoch);
  return slots_[slot].front();
}

void Stays::ReturnArea(uint32_t slot) {
  Stay& stay = Current(slot);
  if (stay.area != kNoArea) areas_[stay.area] = false;
  stay.area = kNoArea;
}

void Stays::End(uint32_t slot) {
  ReturnArea(slot);
  Stay& stay = Current(slot);
  // The backend need not hear of a sequence that it has finished by itself.
  if (stay.state.stage != Stage::kNone) drops_.push_back({slot});
  stay.sequence->slot = kNoSlot;
  stay.sequence = nullptr;
}

void Stays::TellDrops(std::vector<Drop>& drops) {
  drops.insert(drops.end(), drops_.begin(), drops_.end());
  drops_.clear();
}

}  // namespace recurve
