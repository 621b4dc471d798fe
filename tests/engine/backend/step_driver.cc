// SPDX-License-Identifier: Apache-2.0
#include "tests/engine/backend/step_driver.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <utility>

#include "engine/backend/model_shape.h"
#include "engine/base/check.h"
#include "engine/base/status_macros.h"

namespace recurve {
namespace {

uint32_t GroupPages(uint32_t entries_per_page, uint32_t positions) {
  return entries_per_page == 0 ? 0 : (positions + entries_per_page - 1) / entries_per_page;
}

class Driver {
 public:
  Driver(Backend& backend, const ModelConfig& config, const BackendLimits& limits,
         const std::vector<DriverRequest>& requests, const DriverOptions& options)
      : backend_(backend),
        config_(config),
        limits_(limits),
        requests_(requests),
        options_(options),
        shape_(ShapeOf(config)),
        entries_per_page_(PageEntries(config)),
        slots_(limits.slots),
        areas_(limits.areas, false),
        outputs_(requests.size()) {}

  absl::StatusOr<std::vector<DriverOutput>> Run() {
    while (true) {
      if (HasWork()) {
        MakePlan();
        RETURN_IF_ERROR(backend_.Submit(plan_));
      } else if (backend_.Outstanding() == 0) {
        return std::move(outputs_);
      }
      while (backend_.Outstanding() > (HasWork() ? options_.depth : 0)) {
        RETURN_IF_ERROR(backend_.Collect(result_));
        Commit();
      }
    }
  }

 private:
  struct Sequence {
    bool busy = false;
    bool drop = false;  // finished: the next plan drops it
    size_t request = 0;
    uint32_t admitted = 0;  // epoch
    uint32_t area = kNoArea;
    SlotState state;
    SlotLimits limits;
    uint32_t last_room = 0;  // where room ends in the end
  };

  bool HasWork() const {
    return next_ < requests_.size() ||
           std::any_of(slots_.begin(), slots_.end(), [](const Sequence& s) { return s.busy; });
  }

  void MakePlan() {
    plan_.Clear();
    plan_.epoch = ++epoch_;
    plan_.ends = limits_.ends;
    plan_.ends_min = options_.ends_min;
    plan_.block_rows = limits_.block_rows;
    plan_.prompt_rows = limits_.prompt_rows;
    for (uint32_t id = 0; id < slots_.size(); ++id) {
      Sequence& s = slots_[id];
      if (s.drop) {
        plan_.drops.push_back({id});
        if (s.area != kNoArea) areas_[s.area] = false;
        s = {};
      } else if (s.busy && s.state.stage == Stage::kEntry && s.state.position == s.limits.room &&
                 s.limits.room < s.last_room) {
        DropEntries(id, s);
        s.limits.room = std::min(s.limits.room + RoomStep(requests_[s.request]), s.last_room);
        plan_.rooms.push_back({id, s.limits.room});
      }
    }
    for (uint32_t id = 0; id < slots_.size() && next_ < requests_.size(); ++id) {
      if (slots_[id].busy || !Admit(id)) continue;
      if (options_.spread_admissions) break;
    }
  }

  uint32_t RoomStep(const DriverRequest& request) const {
    return request.evict_every != 0 ? request.evict_every : options_.room_step;
  }

  void DropEntries(uint32_t id, Sequence& s) {
    const DriverRequest& request = requests_[s.request];
    if (request.evict_every == 0) return;
    for (uint32_t group = 0; group < shape_.groups(); ++group) {
      uint32_t& count = s.state.count[group];
      if (entries_per_page_[group] == 0 || count <= request.keep) continue;
      plan_.evicts.push_back({id, group, count, request.keep});
      count = request.keep;
    }
  }

  bool Admit(uint32_t id) {
    const DriverRequest& request = requests_[next_];
    Sequence s;
    if (request.prompt.size() > 1) {
      const auto free = std::find(areas_.begin(), areas_.end(), false);
      if (free == areas_.end()) return false;
      *free = true;
      s.area = static_cast<uint32_t>(free - areas_.begin());
    }
    const uint32_t room_step = RoomStep(request);
    const uint32_t prompt = static_cast<uint32_t>(request.prompt.size());
    s.busy = true;
    s.request = next_++;
    s.admitted = epoch_;
    s.state.stage = Stage::kEntry;
    s.last_room = std::min(prompt + request.new_tokens, limits_.max_positions);
    s.limits = {.prompt = prompt,
                .end = request.new_tokens == 0 ? prompt : prompt + request.new_tokens - 1,
                .room = room_step == 0 ? s.last_room : std::min(room_step, s.last_room),
                .chunk = request.chunk};
    AppendAdmission(id, s, request);
    slots_[id] = s;
    return true;
  }

  void AppendAdmission(uint32_t id, const Sequence& s, const DriverRequest& request) {
    Admission a = {};
    a.slot = id;
    a.area = s.area;
    a.state = s.state;
    a.limits = s.limits;
    a.sampling = request.sampling;
    a.threshold_logit = request.threshold_logit;
    a.logprobs = request.logprobs;
    a.wants = request.wants;
    a.eviction = request.eviction;
    a.bias_begin = static_cast<uint32_t>(plan_.biases.size());
    a.bias_count = static_cast<uint32_t>(request.biases.size());
    a.stop_begin = static_cast<uint32_t>(plan_.stop_ids.size());
    a.stop_count = static_cast<uint32_t>(request.stop_ids.size());
    plan_.biases.insert(plan_.biases.end(), request.biases.begin(), request.biases.end());
    plan_.stop_ids.insert(plan_.stop_ids.end(), request.stop_ids.begin(), request.stop_ids.end());
    plan_.admits.push_back(a);
    for (uint32_t i = 0; i < s.limits.prompt; ++i)
      plan_.tokens.push_back({id, i, request.prompt[i]});
    plan_.caps.push_back({id, 0, request.cap});
    // The slots' pages lie interleaved in the pool, the last ones first.
    uint32_t index = 0;
    for (uint32_t group = 0; group < shape_.groups(); ++group) {
      const uint32_t pages = GroupPages(entries_per_page_[group], limits_.max_positions);
      for (uint32_t i = 0; i < pages; ++i, ++index) {
        plan_.pages.push_back({id, group, i, limits_.pages - 1 - (index * limits_.slots + id)});
      }
    }
  }

  void Commit() {
    size_t depth = 0;
    for (const Outcome& outcome : result_.outcomes) {
      Sequence& s = slots_[outcome.slot];
      const bool ours = s.busy && !s.drop && s.admitted <= result_.epoch;
      if ((outcome.ran & kRanExit) != 0) {
        const uint32_t rows = ours ? s.state.rows : 1;  // of a stopped slot: one surplus row
        if (ours) {
          DriverOutput& output = outputs_[s.request];
          const auto begin = result_.depths.begin() + static_cast<std::ptrdiff_t>(depth);
          output.depths.insert(output.depths.end(), begin, begin + rows);
          if (outcome.token != kNoToken) output.tokens.push_back(outcome.token);
          output.flags = outcome.flags;
        }
        depth += rows;
      }
      if (!ours) continue;
      s.state = Resolve(s.state, outcome, s.limits, shape_);
      outputs_[s.request].state = s.state;
      if (s.state.stage == Stage::kNone) s.drop = true;
    }
    RECURVE_CHECK(depth == result_.depths.size());
    CommitLogits();
    for (Sequence& s : slots_) {
      if (s.drop) s.busy = false;
    }
  }

  void CommitLogits() {
    const size_t vocab = config_.vocab_size;
    for (size_t i = 0; i < result_.logits_rows.size(); ++i) {
      const LogitsRow& row = result_.logits_rows[i];
      if (!slots_[row.slot].busy) continue;
      auto& logits = outputs_[slots_[row.slot].request].logits;
      if (logits.size() <= row.position) logits.resize(row.position + 1);
      logits[row.position].assign(
          result_.logits.begin() + static_cast<std::ptrdiff_t>(i * vocab),
          result_.logits.begin() + static_cast<std::ptrdiff_t>((i + 1) * vocab));
    }
    for (TokenLogprob logprob : result_.logprobs) {
      if (!slots_[logprob.slot].busy) continue;
      auto& logprobs = outputs_[slots_[logprob.slot].request].logprobs;
      logprob.slot = 0;
      logprobs.push_back(logprob);
    }
  }

  Backend& backend_;
  const ModelConfig& config_;
  const BackendLimits limits_;
  const std::vector<DriverRequest>& requests_;
  const DriverOptions options_;
  const StepShape shape_;
  const std::array<uint32_t, kMaxGroups> entries_per_page_;
  std::vector<Sequence> slots_;
  std::vector<bool> areas_;
  std::vector<DriverOutput> outputs_;
  size_t next_ = 0;
  uint32_t epoch_ = 0;
  StepPlan plan_;
  StepResult result_;
};

}  // namespace

uint32_t PagesNeeded(const ModelConfig& config, const BackendLimits& limits) {
  uint32_t pages = 0;
  for (const uint32_t entries : PageEntries(config)) {
    pages += GroupPages(entries, limits.max_positions);
  }
  return pages * limits.slots;
}

BackendLimits SmallLimits(const ModelConfig& config, uint32_t max_positions) {
  BackendLimits limits = {
      {.slots = 4, .areas = 2, .chunk = 8, .ends = 8, .block_rows = 3, .prompt_rows = 9},
      /*pages=*/0,
      max_positions,
      /*max_logprobs=*/5,
      /*max_biases=*/4,
      /*max_stop_ids=*/4};
  limits.pages = PagesNeeded(config, limits);
  return limits;
}

absl::StatusOr<std::vector<DriverOutput>> RunRequests(Backend& backend, const ModelConfig& config,
                                                      const BackendLimits& limits,
                                                      const std::vector<DriverRequest>& requests,
                                                      const DriverOptions& options) {
  return Driver(backend, config, limits, requests, options).Run();
}

}  // namespace recurve
