// SPDX-License-Identifier: Apache-2.0
#include "engine/schedule/plan_builder.h"

#include <algorithm>

namespace recurve {

PlanBuilder::PlanBuilder(const BackendLimits& limits) : limits_(limits), most_(MostOfPlan(limits)) {
  // Or a plan would take memory whenever more comes together by chance than ever before.
  plan_.drops.reserve(most_.drops);
  plan_.admits.reserve(most_.admits);
  plan_.evicts.reserve(most_.evicts);
  plan_.copies.reserve(most_.copies);
  plan_.pages.reserve(most_.pages);
  plan_.tokens.reserve(most_.tokens);
  plan_.caps.reserve(most_.caps);
  plan_.rooms.reserve(most_.rooms);
  plan_.biases.reserve(most_.biases);
  plan_.stop_ids.reserve(most_.stop_ids);
}

void PlanBuilder::Begin(uint32_t epoch, uint32_t ends_min) {
  plan_.Clear();
  is_full_ = false;
  plan_.epoch = epoch;
  plan_.ends = limits_.ends;
  plan_.ends_min = ends_min;
  plan_.block_rows = limits_.block_rows;
  plan_.prompt_rows = limits_.prompt_rows;
}

bool PlanBuilder::HasSpaceToAdmit(const Sequence& sequence) const {
  return plan_.admits.size() < most_.admits &&
         plan_.biases.size() + sequence.sample.biases.size() <= most_.biases &&
         plan_.stop_ids.size() + sequence.stop_ids.size() <= most_.stop_ids;
}

void PlanBuilder::Admit(const Stay& stay) {
  const Sequence& sequence = *stay.sequence;
  const ScheduledSample& sample = sequence.sample;
  Admission admission{};
  admission.slot = sequence.slot;
  admission.area = stay.area;
  admission.state = stay.state;
  admission.limits = stay.limits;
  admission.sampling = sample.sampling;
  admission.threshold_logit = sample.threshold_logit;
  admission.logprobs = sample.logprobs.value_or(kNoLogprobs);
  admission.eviction = sample.budget.policy;
  admission.sinks = sample.budget.sinks;
  admission.recent = sample.budget.recent;
  if (sequence.WantsPromptLogprobs()) admission.wants |= kWantsPromptLogprobs;
  if (sample.raw_logits) admission.wants |= kWantsRawLogits;
  admission.bias_begin = static_cast<uint32_t>(plan_.biases.size());
  admission.bias_count = static_cast<uint32_t>(sample.biases.size());
  plan_.biases.insert(plan_.biases.end(), sample.biases.begin(), sample.biases.end());
  admission.stop_begin = static_cast<uint32_t>(plan_.stop_ids.size());
  admission.stop_count = static_cast<uint32_t>(sequence.stop_ids.size());
  plan_.stop_ids.insert(plan_.stop_ids.end(), sequence.stop_ids.begin(), sequence.stop_ids.end());
  plan_.admits.push_back(admission);
}

bool PlanBuilder::TellUpTo(Stay& stay, uint32_t room, PageTables& tables) {
  const bool pages = tables.Tell(stay.sequence->slot, most_.pages, plan_.copies, plan_.pages);
  const bool tokens = TellTokens(stay, room);
  const bool caps = TellCaps(stay, room);
  const bool complete = pages && tokens && caps;
  if (!complete) is_full_ = true;
  return complete;
}

bool PlanBuilder::TellTokens(Stay& stay, uint32_t room) {
  const Sequence& sequence = *stay.sequence;
  const uint32_t last = std::min(room + 1, stay.limits.prompt);
  for (uint32_t& next = stay.told_tokens; next < last; ++next) {
    if (plan_.tokens.size() >= most_.tokens) return false;
    plan_.tokens.push_back({sequence.slot, next, sequence.tokens[next]});
  }
  return true;
}

bool PlanBuilder::TellCaps(Stay& stay, uint32_t room) {
  const uint32_t slot = stay.sequence->slot;
  const DepthCaps& caps = stay.sequence->caps;
  const uint32_t position = stay.state.position;
  if (!stay.told_caps.has_value()) {
    if (room <= position) return true;
    // Where the slot begins it has the cap in force there, wherever that begins.
    const uint32_t cap = caps.At(position);
    if (cap < caps.recursions()) {
      if (plan_.caps.size() >= most_.caps) return false;
      plan_.caps.push_back({slot, position, cap});
    }
    stay.told_caps = position + 1;
  }
  stay.told_caps = caps.Append(slot, *stay.told_caps, room, most_.caps, plan_.caps);
  return *stay.told_caps >= room;
}

void PlanBuilder::RaiseRoom(Stay& stay, uint32_t room) {
  stay.limits.room = room;
  plan_.rooms.push_back({stay.sequence->slot, room});
}

void PlanBuilder::TakeBack(uint32_t slot) {
  std::erase_if(plan_.evicts, [slot](const Evict& e) { return e.slot == slot; });
  // Copies into pages that the slot was given in this plan are dropped with those pages.
  std::erase_if(plan_.copies, [this, slot](const PageCopy& copy) {
    return std::any_of(plan_.pages.begin(), plan_.pages.end(), [slot, &copy](const PageChange& p) {
      return p.slot == slot && p.page == copy.to;
    });
  });
  std::erase_if(plan_.pages, [slot](const PageChange& p) { return p.slot == slot; });
}

}  // namespace recurve
