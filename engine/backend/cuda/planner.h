// SPDX-License-Identifier: Apache-2.0
// The device's planner: applies a plan's changes to the slots, decides which slots take part in a
// step and makes the lists of its rows. What the CPU backend does in SlotTable, Selection and
// Batch, by the same functions (rows.h, step.h). One block, a thread a slot or a row; a step calls
// it between the parts whose results it needs:
//
//   Admit       drops and admissions. Then the evictions and copies of the plan, if it has any.
//   PlanExit    the other changes; whether the ends run; the rows of EXIT.
//   PlanBlock   after sampling: what became of EXIT; the rows of ENTRY and of the block.
//   Publish     after the routers: what became of the block; the step's result, for the host.
//
// Bytes, for a plan without changes. Tables and lists of [slots] elements count in whole; what is
// both read and written counts twice:
//
//   Admit       header read; stamp written
//   PlanExit    header, records [slots] read; outcomes, exit_slots [slots], counts written;
//               selection both
//               a row of EXIT: its Row written
//   PlanBlock   header, exit_slots [slots] read; block_slots, block_first [slots], stamp written;
//               records, outcomes [slots], counts, selection both
//               a row of EXIT: its Verdict, Row and depth read, its depth and token written
//               a row of ENTRY: its Row, place in `active` and depth written
//               a row of the block: its Row written, its place in `active` read; from recursion 2
//               on, if its entry is its recursion's own, the number of the entry's page read, and
//               its router score written and, where there is a router, read
//   Publish     header, block_slots, block_first [slots], counts, stamps [kStepParts] read; records
//               [slots] both; outcomes [slots] both and to the host; the result's header to the
//               host a row of EXIT: its depth read, and to the host a row of the block: its Row and
//               decision read; its place in `active` and depth both
//
// PlanBlock and Publish count an Nth of a row of EXIT and of ENTRY for each row of the block, as if
// every token took all N recursions (router.h). What a plan changes, and what penalties, log
// probabilities and raw logits cost the rows that want them, is not counted. There are no FLOPs.
//
// Nothing here is checked but what keeps accesses inside of their spans: the host replays each step
// with its results and refuses a plan that contradicts itself or a slot's state.
#ifndef RECURVE_ENGINE_BACKEND_CUDA_PLANNER_H_
#define RECURVE_ENGINE_BACKEND_CUDA_PLANNER_H_

#include <cstdint>

#include "absl/status/status.h"
#include "engine/backend/cuda/plan_words.h"
#include "engine/backend/cuda/runtime.h"
#include "engine/backend/cuda/simt.h"
#include "engine/backend/cuda/step_tables.h"

namespace recurve::cuda {

// A thread a slot.
inline constexpr uint32_t kMostSlots = 1024;

struct PlannerArgs {
  TableSizes sizes;
  simt::In<uint32_t> plan;  // the plan's words
  SlotTables<simt::Out> slots;
  StepLists<simt::Out> lists;
  simt::Out<SelectionState> selection;  // [1]
  simt::Out<uint64_t> stamps;           // [kStepParts + 1]
};

absl::Status LaunchAdmit(Runtime& runtime, const PlannerArgs& args);
absl::Status LaunchPlanExit(Runtime& runtime, const PlannerArgs& args);

// What PlanBlock writes and reads beside the planner's own.
struct PlanBlockArgs {
  PlannerArgs planner;
  simt::In<float> row_scores;     // [hidden rows]: by which a row got into its recursion
  simt::Out<float> entry_scores;  // [pages][page_capacity]
  uint32_t page_capacity = 0;     // most entries of a page
  uint32_t has_scores = 0;        // 0: models of fixed depth, whose scores are 0
};
absl::Status LaunchPlanBlock(Runtime& runtime, const PlanBlockArgs& args);

struct PublishArgs {
  PlannerArgs planner;
  simt::In<TokenLogprob> logprobs;  // [ends][row_logprobs]
  uint32_t row_logprobs = 0;        // most of one row
  simt::In<float> logits;           // [ends][vocab]
  ResultLayout layout;
  simt::Out<uint32_t> result;   // mapped: [2][layout.words]; step `epoch` writes number epoch % 2
  simt::Out<float> raw_logits;  // [2][ends][vocab]: of rows that asked for them
};
absl::Status LaunchPublish(Runtime& runtime, const PublishArgs& args);

}  // namespace recurve::cuda

#endif  // RECURVE_ENGINE_BACKEND_CUDA_PLANNER_H_
