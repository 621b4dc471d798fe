// SPDX-License-Identifier: Apache-2.0
#include "tests/engine/backend/cuda/compare_lists.h"

#include <cstdint>
#include <vector>

#include "absl/strings/str_cat.h"
#include "engine/base/math.h"
#include "engine/sampling/arithmetic.h"

namespace recurve::cuda {
namespace {

// Collects the first difference between the device's words and the CPU's.
class Comparison {
 public:
  Comparison(const FakeDevice& device, const CpuLists& cpu)
      : sizes_(device.sizes()), memory_(device.memory()), device_(device), cpu_(cpu) {}

  void Exit();
  void Block();
  void RowCaps();
  void Slots();
  const std::string& first() const { return first_; }

 private:
  template <typename... Where>
  void Compare(const char* field, uint64_t device, uint64_t cpu, const Where&... where) {
    if (device == cpu || !first_.empty()) return;
    first_ = absl::StrCat(where..., ": ", field, " is ", device, ", the CPU's is ", cpu);
  }

  template <typename T>
  static const T* HostOf(const DeviceMemory& memory) {
    return FakeDevice::HostOf<T>(memory);
  }
  const ListCounts& counts() const { return *HostOf<ListCounts>(memory_.counts); }

  void Rows(const char* list, const DeviceMemory& rows, const std::vector<Row>& of_cpu);
  void SlotList(const char* list, const DeviceMemory& ids, const std::vector<uint32_t>& of_cpu);
  void Recursions();
  void FirstRows();
  void State(uint32_t id);
  void Span(uint32_t id);
  void Tokens(uint32_t id);
  void Pages(uint32_t id);
  void Caps(uint32_t id);
  void Admitted(uint32_t id);
  void TokenCounts(uint32_t id);

  const TableSizes& sizes_;
  const StepMemory& memory_;
  const FakeDevice& device_;
  const CpuLists& cpu_;
  std::string first_;
};

void Comparison::Rows(const char* list, const DeviceMemory& rows, const std::vector<Row>& of_cpu) {
  const Row* const of_device = HostOf<Row>(rows);
  for (size_t i = 0; i < of_cpu.size() && first_.empty(); ++i) {
    const Row& a = of_device[i];
    const Row& b = of_cpu[i];
    const auto compare = [&](const char* field, uint32_t x, uint32_t y) {
      Compare(field, x, y, list, " row ", i, " of slot ", b.slot);
    };
    compare("slot", a.slot, b.slot);
    compare("position", a.position, b.position);
    compare("hidden row", a.hidden, b.hidden);
    compare("recursion", a.recursion, b.recursion);
    compare("group", a.group, b.group);
    compare("entry", a.entry, b.entry);
    compare("visible", a.visible, b.visible);
  }
}

void Comparison::SlotList(const char* list, const DeviceMemory& ids,
                          const std::vector<uint32_t>& of_cpu) {
  for (size_t i = 0; i < of_cpu.size() && first_.empty(); ++i) {
    Compare("slot", HostOf<uint32_t>(ids)[i], of_cpu[i], list, " slot ", i);
  }
}

void Comparison::Exit() {
  Compare("ends_run", counts().ends_run, cpu_.ends_run() ? 1 : 0, "counts");
  Compare("exit_slots", counts().exit_slots, cpu_.exit_slots().size(), "counts");
  SlotList("EXIT", memory_.exit_slots, cpu_.exit_slots());
  Compare("exit_rows", counts().exit_rows, cpu_.exit().size(), "counts");
  Compare("logit_rows", counts().logit_rows, cpu_.exit().logit_rows(), "counts");
  Compare("query_rows", counts().query_rows, cpu_.exit().query_rows(), "counts");
  Compare("exit_span_rows", counts().exit_span_rows, cpu_.exit_span_rows(), "counts");
  Rows("EXIT", memory_.exit_rows, cpu_.exit().rows());
}

void Comparison::Block() {
  Compare("entry_rows", counts().entry_rows, cpu_.entry().size(), "counts");
  Rows("ENTRY", memory_.entry_rows, cpu_.entry().rows());
  Compare("block_slots", counts().block_slots, cpu_.block_slots().size(), "counts");
  SlotList("block", memory_.block_slots, cpu_.block_slots());
  Compare("block_rows", counts().block_rows, cpu_.block().size(), "counts");
  Rows("block", memory_.block_rows, cpu_.block().rows());
  Recursions();
  FirstRows();
}

// The device has a range for each recursion, empty ones too.
void Comparison::Recursions() {
  uint32_t row = 0;
  for (uint32_t recursion = 1; recursion <= sizes_.shape.recursions; ++recursion) {
    const uint32_t begin = row;
    while (row < cpu_.block().size() && cpu_.block().rows()[row].recursion == recursion) ++row;
    const RowRange& range = counts().recursions[recursion - 1];
    Compare("first row", range.begin, begin, "recursion ", recursion);
    Compare("end of rows", range.end, row, "recursion ", recursion);
  }
}

void Comparison::FirstRows() {
  const std::vector<Row>& rows = cpu_.block().rows();
  for (uint32_t i = 0; i < rows.size(); ++i) {
    if (i > 0 && rows[i].slot == rows[i - 1].slot) continue;
    const uint32_t slot = rows[i].slot;
    Compare("first block row", HostOf<uint32_t>(memory_.block_first)[slot], i, "slot ", slot);
  }
}

void Comparison::RowCaps() {
  for (uint32_t i = 0; i < cpu_.block().size(); ++i) {
    const Row& row = cpu_.block().rows()[i];
    const uint32_t cap = cpu_.table().slot(row.slot).CapAt(row.position, sizes_.shape.recursions);
    Compare("cap", device_.caps()[i], cap, "block row ", i, " of slot ", row.slot);
  }
}

void Comparison::Slots() {
  for (uint32_t id = 0; id < cpu_.table().size() && first_.empty(); ++id) {
    State(id);
    if (cpu_.table().slot(id).state.stage == Stage::kNone) continue;
    Span(id);
    Tokens(id);
    Pages(id);
    Caps(id);
    Admitted(id);
    TokenCounts(id);
  }
}

void Comparison::State(uint32_t id) {
  const SlotRecord& a = HostOf<SlotRecord>(memory_.records)[id];
  const Slot& b = cpu_.table().slot(id);
  const auto compare = [&](const char* field, uint64_t x, uint64_t y) {
    Compare(field, x, y, "slot ", id);
  };
  compare("stage", static_cast<uint32_t>(a.state.stage), static_cast<uint32_t>(b.state.stage));
  if (b.state.stage == Stage::kNone) return;
  compare("recursion", a.state.recursion, b.state.recursion);
  compare("position", a.state.position, b.state.position);
  compare("rows", a.state.rows, b.state.rows);
  compare("active", a.state.active, b.state.active);
  for (uint32_t group = 0; group < sizes_.groups; ++group) {
    Compare("count", a.state.count[group], b.state.count[group], "slot ", id, ", group ", group);
  }
  compare("prompt", a.limits.prompt, b.limits.prompt);
  compare("end", a.limits.end, b.limits.end);
  compare("room", a.limits.room, b.limits.room);
  compare("chunk", a.limits.chunk, b.limits.chunk);
  compare("area", a.area, b.area);
  compare("wants", a.wants, b.wants);
  compare("logprobs", a.logprobs, b.logprobs);
  compare("bits of the threshold", FloatBits(a.threshold_logit), FloatBits(b.threshold_logit));
}

void Comparison::Span(uint32_t id) {
  const Slot& slot = cpu_.table().slot(id);
  const size_t first = size_t{id} * sizes_.chunk;
  if (slot.state.stage != Stage::kBlock && slot.state.stage != Stage::kExit) return;
  for (uint32_t i = 0; i < slot.state.active; ++i) {
    Compare("span row", HostOf<uint32_t>(memory_.active)[first + i], slot.active[i], "slot ", id,
            ", active row ", i);
  }
  for (uint32_t row = 0; row < slot.state.rows; ++row) {
    Compare("depth", HostOf<uint32_t>(memory_.row_depth)[first + row], slot.row_depth[row], "slot ",
            id, ", row ", row);
  }
}

// The CPU's table forgets what is behind; the device's ring overwrites it.
void Comparison::Tokens(uint32_t id) {
  const Slot& slot = cpu_.table().slot(id);
  const size_t first = size_t{id} * sizes_.max_positions;
  for (uint32_t i = 0; i < sizes_.max_positions; ++i) {
    if (slot.tokens[i] == kNoToken) continue;
    Compare("token", HostOf<TokenId>(memory_.tokens)[first + i], slot.tokens[i], "slot ", id,
            ", place ", i, " of its history");
  }
}

void Comparison::Pages(uint32_t id) {
  const Slot& slot = cpu_.table().slot(id);
  for (uint32_t group = 0; group < sizes_.groups; ++group) {
    for (uint32_t i = 0; i < slot.pages[group].size(); ++i) {
      if (slot.pages[group][i] == kNoPage) continue;
      Compare("page", HostOf<uint32_t>(memory_.pages)[PageIndex(sizes_, id, group, i)],
              slot.pages[group][i], "slot ", id, ", group ", group, ", index ", i);
    }
  }
}

void Comparison::Caps(uint32_t id) {
  const std::vector<DepthCap>& caps = cpu_.table().slot(id).caps;
  const CapRing& ring = HostOf<CapRing>(memory_.cap_rings)[id];
  Compare("number of caps", ring.count, caps.size(), "slot ", id);
  for (uint32_t i = 0; i < caps.size() && first_.empty(); ++i) {
    const size_t at = size_t{id} * sizes_.max_caps + (ring.first + i) % sizes_.max_caps;
    const DepthCap& cap = HostOf<DepthCap>(memory_.caps)[at];
    Compare("position", cap.position, caps[i].position, "slot ", id, ", cap ", i);
    Compare("cap", cap.cap, caps[i].cap, "slot ", id, ", cap ", i);
  }
}

void Comparison::Admitted(uint32_t id) {
  const Slot& slot = cpu_.table().slot(id);
  const size_t first_bias = size_t{id} * sizes_.max_biases;
  const size_t first_stop = size_t{id} * sizes_.max_stop_ids;
  Compare("number of biases", HostOf<uint32_t>(memory_.bias_counts)[id], slot.biases.size(),
          "slot ", id);
  Compare("number of stop ids", HostOf<uint32_t>(memory_.stop_counts)[id], slot.stop_ids.size(),
          "slot ", id);
  if (!first_.empty()) return;
  for (size_t i = 0; i < slot.biases.size(); ++i) {
    const TokenBias& bias = HostOf<TokenBias>(memory_.biases)[first_bias + i];
    Compare("token", bias.token, slot.biases[i].token, "slot ", id, ", bias ", i);
    Compare("bits of the value", FloatBits(bias.value), FloatBits(slot.biases[i].value), "slot ",
            id, ", bias ", i);
  }
  for (size_t i = 0; i < slot.stop_ids.size(); ++i) {
    Compare("id", HostOf<TokenId>(memory_.stop_ids)[first_stop + i], slot.stop_ids[i], "slot ", id,
            ", stop id ", i);
  }
}

// Penalties count the tokens before the span in flight.
void Comparison::TokenCounts(uint32_t id) {
  const Slot& slot = cpu_.table().slot(id);
  if (!UsesTokenCounts(slot.sampling)) return;
  std::vector<uint32_t> expected(sizes_.vocab);
  for (uint32_t position = 0; position < slot.state.position; ++position) {
    const TokenId token = device_.history()[id][position];
    if (token == kNoToken) continue;  // a later plan tells it
    expected[token] |= kSeenToken;
    if (position >= slot.sampling.generated) ++expected[token];
  }
  const uint32_t* const counts = HostOf<uint32_t>(memory_.token_counts) + size_t{id} * sizes_.vocab;
  for (uint32_t token = 0; token < sizes_.vocab; ++token) {
    Compare("count", counts[token], expected[token], "slot ", id, ", token ", token);
  }
}

}  // namespace

std::string CompareExit(const FakeDevice& device, const CpuLists& cpu) {
  Comparison comparison(device, cpu);
  comparison.Exit();
  return comparison.first();
}

std::string CompareBlock(const FakeDevice& device, const CpuLists& cpu) {
  Comparison comparison(device, cpu);
  comparison.Block();
  return comparison.first();
}

std::string CompareCaps(const FakeDevice& device, const CpuLists& cpu) {
  Comparison comparison(device, cpu);
  comparison.RowCaps();
  return comparison.first();
}

std::string CompareSlots(const FakeDevice& device, const CpuLists& cpu) {
  Comparison comparison(device, cpu);
  comparison.Slots();
  return comparison.first();
}

}  // namespace recurve::cuda
