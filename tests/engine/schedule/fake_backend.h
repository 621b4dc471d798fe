// SPDX-License-Identifier: Apache-2.0
// A backend without a model: runs FakeModel over real page tables, hidden rows and token histories,
// at random moments between Submit and Collect, as a device would. Written from the rules of
// engine/backend/step.h alone, apart from any backend's own planner.
#ifndef RECURVE_TESTS_ENGINE_SCHEDULE_FAKE_BACKEND_H_
#define RECURVE_TESTS_ENGINE_SCHEDULE_FAKE_BACKEND_H_

#include <array>
#include <cstdint>
#include <deque>
#include <limits>
#include <random>
#include <span>
#include <string>
#include <vector>

#include "engine/backend/backend.h"
#include "engine/backend/step.h"
#include "engine/kv/page_tables.h"
#include "tests/engine/schedule/fake_model.h"

namespace recurve {

// Rules of the backend's side that a test may break, to see that it would be noticed.
enum class FakeFault {
  kNone,
  kExitsEarly,       // a span passes EXIT while some of its rows are active
  kChangesAtSubmit,  // changes take effect when they are submitted
  kDropsLast,        // drops are applied after the other changes
  kIgnoresRoom,      // spans begin past their slot's room
  kIgnoresCaps,      // caps on recursions are not applied
  kIgnoresCopies,    // pages are not copied
  kCopiesFirst,      // pages are copied before entries are evicted
  kCopiesBackwards,  // the last copy of a plan comes first
  kRefusesNothing,   // changes of one page that contradict each other are carried out
};

class FakeBackend : public Backend {
 public:
  FakeBackend(const FakeModel& model, const BackendLimits& limits,
              const EntriesPerPage& entries_per_page, uint64_t seed, FakeFault fault);

  // A slot may wait for EXIT in so many steps in which EXIT does not run.
  void set_longest_wait(uint32_t steps) { longest_wait_ = steps; }

  absl::Status Submit(const StepPlan& plan) override;
  // Internal says what a plan did that it must not do.
  absl::Status Collect(StepResult& result) override;
  uint32_t Outstanding() const override {
    return static_cast<uint32_t>(plans_.size() + results_.size());
  }

 private:
  struct Slot {
    bool owned = false;  // admitted and not dropped
    SlotState state;
    Admission admission;  // limits.room is kept up to date
    std::vector<TokenBias> biases;
    std::vector<uint32_t> stop_ids;
    std::vector<uint32_t> history;                         // [max_positions]
    std::array<std::vector<uint32_t>, kMaxGroups> tables;  // pages
    std::vector<CapChange> caps;
    uint32_t waited = 0;  // steps for EXIT
  };
  struct Row {
    FakeHidden hidden;
    uint64_t entered = 0;  // value after ENTRY
    bool active = false;
  };
  // What the plan at hand has done to a page.
  enum class Change { kNone, kEvicted, kEmptied, kCopied, kGiven };
  // One list of the selection: slots in slot order from the first one left out last time.
  struct Selection {
    uint32_t next = 0;
  };

  // fake_backend_changes.cc: a plan's changes, checked.
  void Apply(const StepPlan& plan);
  void ApplyDrops(const StepPlan& plan);
  void ApplyAdmission(const StepPlan& plan, const Admission& admission);
  void ApplyEvictions(const StepPlan& plan);
  void ApplyCopies(const StepPlan& plan);
  void ApplyPages(const StepPlan& plan);
  void ApplyTokensCapsRooms(const StepPlan& plan);
  void Check(bool condition, const std::string& what);

  // fake_backend_pages.cc: which changes of one plan may touch the same page.
  void CheckEviction(const Evict& evict);
  void CheckCopy(const PageCopy& copy);
  void CheckChange(const PageChange& change);
  void CheckOwners();
  // Pages that hold the slot's first `entries` entries of `group`, at most those in its table.
  std::span<const uint32_t> PagesOf(const Slot& slot, uint32_t group, uint32_t entries) const;
  // The most entries that the slot comes to hold in `group` before it has another room.
  uint32_t EntriesByRoom(const Slot& slot, uint32_t group) const;

  // `slot` may be changed: there is such a slot, and it belongs to a sequence.
  bool IsOwned(uint32_t slot, const char* change);

  // fake_backend.cc: a step.
  void RunOldest();
  bool EndsRun(const StepPlan& plan) const;
  void CheckWaits(bool ends_run);
  std::vector<uint32_t> Select(Selection& selection, Stage stage, uint32_t generated_rows,
                               uint32_t prompt_rows) const;
  uint32_t RowsToRun(const Slot& slot, Stage stage) const;
  uint32_t RowsWithLogits(const Slot& slot) const;
  void RunExit(uint32_t slot, Outcome& outcome, std::vector<uint32_t>& depths, StepResult& result);
  void RunExitLogits(uint32_t slot, uint32_t row, Outcome& outcome, StepResult& result);
  void RunEntry(Slot& slot, Outcome& outcome);
  void RunBlock(Slot& slot, Outcome& outcome);
  void RunSurplus(Slot& slot, Outcome& outcome);
  FakeEntry* EntryAt(const Slot& slot, uint32_t group, uint32_t index);
  // Appends the row's entry as the group's `index`-th and attends to all up to its own position.
  void AppendAndAttend(const Slot& slot, uint32_t row, uint32_t group, uint32_t layer,
                       uint32_t index, bool append);
  Row& RowOf(const Slot& slot, uint32_t row);
  uint32_t CapAt(const Slot& slot, uint32_t position) const;
  bool InPrompt(const Slot& slot) const {
    return slot.state.position < slot.admission.limits.prompt;
  }

  const FakeModel model_;
  const BackendLimits limits_;
  const EntriesPerPage entries_per_page_;
  const FakeFault fault_;
  uint32_t longest_wait_ = std::numeric_limits<uint32_t>::max();
  std::mt19937_64 random_;

  std::vector<Slot> slots_;
  std::vector<Row> rows_;                      // [slots + areas * chunk]
  std::vector<std::vector<FakeEntry>> pages_;  // [pages][most entries of a page]
  Selection exit_, entry_, block_;
  std::deque<StepPlan> plans_;      // submitted, not yet run
  std::deque<StepResult> results_;  // run, not yet collected
  uint32_t epoch_ = 0;              // of the last submitted plan
  std::vector<Change> changes_;     // [pages], of the plan at hand
  std::string violation_;           // the first one; empty: none
};

}  // namespace recurve

#endif  // RECURVE_TESTS_ENGINE_SCHEDULE_FAKE_BACKEND_H_
