// SPDX-License-Identifier: Apache-2.0
#include "tests/engine/backend/cuda/planner_load.h"

#include <memory>
#include <random>
#include <utility>
#include <vector>

namespace recurve::cuda {
namespace {

std::string Run(uint64_t seed, uint32_t broken, LoadFigures& load_figures,
                PlannerFigures& planner_figures) {
  std::string why_not;
  const auto make_backend = [&](const DrawnLoad& load) -> std::unique_ptr<Backend> {
    auto backend = PlannerBackend::Create(load, &planner_figures, broken);
    if (backend.ok()) return *std::move(backend);
    why_not = backend.status().ToString();
    return nullptr;
  };
  const std::string error = RunRandomLoad(seed, make_backend, load_figures);
  return why_not.empty() ? error : why_not;
}

// Plans that change the caps of sequences which forget, and so come to any position.
class CapChanges {
 public:
  explicit CapChanges(uint64_t seed) : random_(seed), load_(MakeLoad(seed)) {}

  std::string Run();

 private:
  static constexpr uint32_t kSlots = 3;
  static constexpr uint32_t kGroups = 5;
  static constexpr uint32_t kPositions = 12;
  static constexpr uint32_t kGroupPages = 3;
  static constexpr uint32_t kPlans = 250;

  static DrawnLoad MakeLoad(uint64_t seed);
  void AdmitAll();
  void ChangeCaps(uint32_t slot);
  void GoOn(uint32_t slot);

  std::mt19937_64 random_;
  const DrawnLoad load_;
  SlotState states_[kSlots];
  SlotLimits limits_[kSlots];
  StepPlan plan_;
};

DrawnLoad CapChanges::MakeLoad(uint64_t seed) {
  DrawnLoad load;
  load.model.shape = {.recursions = 3, .shared_kv = 0};
  load.backend_seed = seed;
  BackendLimits& limits = load.options.limits;
  limits.slots = limits.ends = limits.block_rows = kSlots;
  limits.areas = limits.chunk = limits.prompt_rows = 1;
  limits.max_positions = kPositions;
  limits.pages = kSlots * kGroups * kGroupPages;
  for (uint32_t group = 0; group < kGroups; ++group) load.options.entries_per_page[group] = 4;
  return load;
}

// Sequences of one given token, held, with all of their pages.
void CapChanges::AdmitAll() {
  uint32_t page = 0;
  for (uint32_t slot = 0; slot < kSlots; ++slot) {
    states_[slot].stage = Stage::kEntry;
    limits_[slot] = {.prompt = 1, .end = kPlans, .room = 0, .chunk = 1};
    Admission admission = {};
    admission.slot = slot;
    admission.area = kNoArea;
    admission.state = states_[slot];
    admission.limits = limits_[slot];
    admission.logprobs = kNoLogprobs;
    admission.eviction = EvictionPolicy::kWindow;
    plan_.admits.push_back(admission);
    plan_.tokens.push_back({slot, 0, 1 + slot});
    for (uint32_t group = 0; group < kGroups; ++group) {
      for (uint32_t i = 0; i < kGroupPages; ++i) plan_.pages.push_back({slot, group, i, page++});
    }
  }
}

// From the room on, as far ahead as there is memory for caps.
void CapChanges::ChangeCaps(uint32_t slot) {
  if (random_() % 2 == 0) return;
  const uint32_t end = states_[slot].position + kPositions;
  for (uint32_t position = limits_[slot].room + random_() % 3; position < end; ++position) {
    if (random_() % 8 == 0) break;
    plan_.caps.push_back({slot, position, 1 + static_cast<uint32_t>(random_() % 3)});
  }
}

void CapChanges::GoOn(uint32_t slot) {
  const SlotState& state = states_[slot];
  if (state.stage != Stage::kEntry || state.position != limits_[slot].room) return;
  for (uint32_t group = 0; group < kGroups; ++group) {
    if (state.count[group] < 8) continue;
    plan_.evicts.push_back({slot, group, state.count[group], 3});
    states_[slot].count[group] = 3;
  }
  plan_.rooms.push_back({slot, ++limits_[slot].room});
}

std::string CapChanges::Run() {
  PlannerFigures figures;
  const auto backend = PlannerBackend::Create(load_, &figures);
  if (!backend.ok()) return backend.status().ToString();
  StepResult result;
  for (uint32_t epoch = 1; epoch < kPlans; ++epoch) {
    plan_.Clear();
    plan_.epoch = epoch;
    plan_.ends = plan_.block_rows = kSlots;
    plan_.prompt_rows = 1;
    if (epoch == 1) AdmitAll();
    for (uint32_t slot = 0; slot < kSlots; ++slot) {
      ChangeCaps(slot);
      GoOn(slot);
    }
    absl::Status status = (*backend)->Submit(plan_);
    if (status.ok()) status = (*backend)->Collect(result);
    if (!status.ok()) return status.ToString();
    for (const Outcome& outcome : result.outcomes) {
      SlotState& state = states_[outcome.slot];
      state = Resolve(state, outcome, limits_[outcome.slot], load_.model.shape);
    }
  }
  return states_[0].position > 2 * kPositions ? "" : "the slots do not go on";
}

}  // namespace

std::string RunPlannerLoad(uint64_t seed, LoadFigures& load_figures,
                           PlannerFigures& planner_figures) {
  return Run(seed, 0, load_figures, planner_figures);
}

std::string RunBrokenLoad(uint64_t seed, PlannerFigures& figures) {
  LoadFigures ignored;
  Run(seed, 10, ignored, figures);
  return figures.error;
}

std::string RunCapChanges(uint64_t seed) { return CapChanges(seed).Run(); }

}  // namespace recurve::cuda
