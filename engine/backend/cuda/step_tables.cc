// SPDX-License-Identifier: Apache-2.0
#include "engine/backend/cuda/step_tables.h"

#include <algorithm>
#include <vector>

#include "engine/backend/cuda/memory_taker.h"
#include "engine/backend/limits.h"
#include "engine/backend/model_shape.h"
#include "engine/base/status_macros.h"

namespace recurve::cuda {

TableSizes SizesOf(const ModelConfig& config, const BackendLimits& limits) {
  TableSizes sizes;
  sizes.shape = ShapeOf(config);
  sizes.hidden = {limits.slots, limits.chunk};
  sizes.slots = limits.slots;
  sizes.chunk = limits.chunk;
  sizes.max_positions = limits.max_positions;
  sizes.groups = sizes.shape.groups();
  const auto entries = PageEntries(config);
  std::copy(entries.begin(), entries.end(), sizes.page_entries);
  for (uint32_t group = 0; group < sizes.groups; ++group) {
    if (entries[group] == 0) continue;
    const uint32_t pages = (limits.max_positions + entries[group] - 1) / entries[group];
    sizes.group_pages = std::max(sizes.group_pages, pages);
  }
  sizes.vocab = config.vocab_size;
  sizes.max_biases = limits.max_biases;
  sizes.max_stop_ids = limits.max_stop_ids;
  sizes.max_caps = limits.max_positions + 1;
  sizes.overlay = config.kv_mode == KvMode::kSharedUpdate ? 1 : 0;
  sizes.exit_layers = config.exit_layers();
  sizes.rows = MaxRows(limits);
  sizes.ends = limits.ends;
  return sizes;
}

absl::StatusOr<StepMemory> AllocateStepMemory(Runtime& runtime, const TableSizes& sizes) {
  StepMemory m;
  m.sizes = sizes;
  const size_t slots = sizes.slots;
  MemoryTaker tables(runtime);
  tables.Take<SlotRecord>("slot records", slots, &m.records);
  tables.Take<uint32_t>("active rows", slots * sizes.chunk, &m.active);
  tables.Take<uint32_t>("row depths", slots * sizes.chunk, &m.row_depth);
  tables.TakeZeros<TokenId>("token history", slots * sizes.max_positions, &m.tokens);
  // Page 0 stands where a plan has not given a page, so that what a wrong plan makes of it stays
  // inside of the pool.
  tables.TakeZeros<uint32_t>("page tables", slots * sizes.groups * sizes.group_pages, &m.pages);
  tables.Take<DepthCap>("depth caps", slots * sizes.max_caps, &m.caps);
  tables.TakeZeros<CapRing>("rings of depth caps", slots, &m.cap_rings);
  tables.Take<TokenBias>("logit biases", slots * sizes.max_biases, &m.biases);
  tables.TakeZeros<uint32_t>("numbers of logit biases", slots, &m.bias_counts);
  tables.Take<TokenId>("stop ids", slots * sizes.max_stop_ids, &m.stop_ids);
  tables.TakeZeros<uint32_t>("numbers of stop ids", slots, &m.stop_counts);
  tables.Take<uint32_t>("token counts", slots * sizes.vocab, &m.token_counts);
  tables.Take<uint64_t>("attention mass", slots * sizes.groups * sizes.max_positions, &m.mass);
  tables.TakeZeros<SelectionState>("selection", 1, &m.selection);
  tables.Take<ListCounts>("list counts", 1, &m.counts);
  tables.Take<Outcome>("outcomes", slots, &m.outcomes);
  tables.Take<uint32_t>("EXIT slots", slots, &m.exit_slots);
  tables.Take<uint32_t>("block slots", slots, &m.block_slots);
  tables.Take<uint32_t>("first block rows", slots, &m.block_first);
  tables.Take<Row>("EXIT rows", sizes.rows, &m.exit_rows);
  tables.Take<Row>("ENTRY rows", sizes.rows, &m.entry_rows);
  tables.Take<Row>("block rows", sizes.rows, &m.block_rows);
  tables.Take<uint32_t>("EXIT depths", sizes.rows, &m.exit_depths);
  tables.Take<uint32_t>("routers' decisions", sizes.rows, &m.passes);
  tables.Take<Verdict>("verdicts", sizes.ends, &m.verdicts);
  RETURN_IF_ERROR(tables.status());
  const std::vector<SlotRecord> free(slots);
  RETURN_IF_ERROR(runtime.Upload(m.records, 0, free.data(), slots * sizeof(SlotRecord)));
  return m;
}

}  // namespace recurve::cuda
