// SPDX-License-Identifier: Apache-2.0
// The rows of a step by FakeModel, as kernels of one thread: they stand where the backend's kernels
// for layers, head, sampling and routers stand, read the planner's lists and write what the planner
// reads. An entry's value is two floats of its page, one where keys lie and one where values do, so
// evictions and copies carry it as they carry real ones.
#ifndef RECURVE_TESTS_ENGINE_BACKEND_CUDA_FAKE_ROWS_H_
#define RECURVE_TESTS_ENGINE_BACKEND_CUDA_FAKE_ROWS_H_

#include <cstdint>
#include <vector>

#include "absl/status/status.h"
#include "engine/backend/cuda/kv_layout.h"
#include "engine/backend/cuda/page_changes.h"
#include "engine/backend/cuda/runtime.h"
#include "engine/backend/cuda/simt.h"
#include "engine/backend/cuda/step_tables.h"
#include "tests/engine/schedule/fake_model.h"

namespace recurve::cuda {

// A hidden row.
struct FakeRow {
  uint64_t value = 0;
  uint64_t entered = 0;  // value after ENTRY
  uint32_t depth = 0;
  uint32_t padding = 0;
};

// All tokens of each slot from position 0 on; the device keeps the last ones alone.
using FakeHistory = std::vector<std::vector<TokenId>>;

struct FakeRowsArgs {
  // The emulated device sees what is the host's.
  const FakeModel* model = nullptr;
  const FakeHistory* history = nullptr;
  std::vector<uint32_t>* caps = nullptr;  // [block rows]: the cap that each had
  TableSizes sizes;
  KvLayout layout;  // one layer of one head with one dimension
  SlotTables<simt::Out> slots;
  StepLists<simt::Out> lists;
  PageSpans pool;
  simt::Out<FakeRow> hidden;         // [hidden rows]
  simt::Out<float> row_scores;       // [hidden rows]
  simt::Out<TokenLogprob> logprobs;  // [ends][row_logprobs]
  simt::Out<float> logits;           // [ends][vocab]
  uint32_t row_logprobs = 0;
  uint32_t broken = 0;  // one row with logits in so many is not finite; 0: none
};

// EXIT and sampling, ENTRY, and the block with its routers.
absl::Status LaunchFakeExit(Runtime& runtime, const FakeRowsArgs& args);
absl::Status LaunchFakeEntry(Runtime& runtime, const FakeRowsArgs& args);
absl::Status LaunchFakeBlock(Runtime& runtime, const FakeRowsArgs& args);

}  // namespace recurve::cuda

#endif  // RECURVE_TESTS_ENGINE_BACKEND_CUDA_FAKE_ROWS_H_
