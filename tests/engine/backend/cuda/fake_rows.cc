// SPDX-License-Identifier: Apache-2.0
#include "tests/engine/backend/cuda/fake_rows.h"

#include <algorithm>

namespace recurve::cuda {
namespace {

class RowRunner {
 public:
  explicit RowRunner(const FakeRowsArgs& args) : args_(args), model_(*args.model) {}

  // The row's entry, from what the row is before it attends.
  void Append(const Row& row) const {
    if (!HasLayers(row) || row.entry == kNoEntry) return;
    const FakeEntry entry = model_.Append(args_.hidden[row.hidden].value, row.group, row.position);
    const EntryPlace place = PlaceOf(args_.slots, args_.sizes, row.slot, row.group, row.entry);
    args_.pool.pages.Set(Half(row.group, place, 0), static_cast<uint32_t>(entry.value));
    args_.pool.pages.Set(Half(row.group, place, 1), static_cast<uint32_t>(entry.value >> 32));
    args_.pool.positions.Set(Beside(place), entry.position);
  }

  // Entries are judged by those rows that append to their group.
  void Attend(const Row& row, uint32_t layer) const {
    if (!HasLayers(row)) return;
    FakeRow& own = args_.hidden.Edit(row.hidden);
    const TableSizes& sizes = args_.sizes;
    const bool judges = row.entry != kNoEntry &&
                        args_.slots.records[row.slot].eviction == EvictionPolicy::kAttention;
    const size_t masses = (size_t{row.slot} * sizes.groups + row.group) * sizes.max_positions;
    // The model knows no overlay: its rows attend to the entries of their own group alone.
    const bool overlay = sizes.overlay != 0 && row.recursion > 1;
    const uint32_t visible = overlay ? row.entry + 1 : row.visible;
    std::vector<FakeEntry> seen;
    for (uint32_t t = 0; t < visible; ++t) {
      seen.push_back(EntryAt(row, t));
      if (judges) args_.slots.mass.Add(masses + t, model_.Mass(own.value, seen.back()));
    }
    own.value = model_.Attend(own.value, layer, seen);
  }

  void Enter(const Row& row) const {
    const uint32_t positions = args_.sizes.max_positions;
    const TokenId token =
        args_.slots.tokens[size_t{row.slot} * positions + row.position % positions];
    args_.hidden.Set(row.hidden, {.value = model_.Embed(token, row.position)});
  }

  // What the router of a row's recursion decides, and the score by which the row passes.
  void Route(const Row& row, uint32_t index) const {
    FakeRow& own = args_.hidden.Edit(row.hidden);
    own.depth = row.recursion;
    const uint32_t cap = CapOfRow(args_.slots, args_.sizes, row.slot, row.position);
    (*args_.caps)[index] = cap;
    const bool passes = model_.Continues({own.value, own.depth}, own.entered, cap,
                                         args_.slots.records[row.slot].threshold_logit);
    args_.lists.passes.Set(index, passes ? 1 : 0);
    const FakeEntry next = model_.Append(own.value, row.group, row.position);
    if (passes) args_.row_scores.Set(row.hidden, static_cast<float>(next.score));
  }

  // A row with logits.
  void Sample(const Row& row, uint32_t index) const {
    const SlotRecord& slot = args_.slots.records[row.slot];
    const uint64_t value = args_.hidden[row.hidden].value;
    if ((slot.wants & kWantsRawLogits) != 0) WriteLogits(value, index);
    Verdict verdict;
    if (args_.broken != 0 && Mix(value, 0xBAD) % args_.broken == 0) {
      verdict.flags = kNotFinite;
      args_.lists.verdicts.Set(index, verdict);
      return;
    }
    TokenId told = kNoToken;
    if (WantsGivenToken(slot, row.position)) told = GivenToken(row);
    if (SamplesRow(slot, row.position)) {
      verdict.token = SampleToken(row, slot, value);
      if (IsStopId(row.slot, verdict.token)) verdict.flags = kStopId;
      if (told == kNoToken && slot.logprobs != kNoLogprobs) told = verdict.token;
    }
    if (told != kNoToken) verdict.logprobs = TellLogprobs(row, index, told, slot.logprobs);
    args_.lists.verdicts.Set(index, verdict);
  }

 private:
  bool HasLayers(const Row& row) const { return args_.sizes.page_entries[row.group] != 0; }

  // Where half of an entry's value lies: the lower one is its key.
  size_t Half(uint32_t group, const EntryPlace& place, uint32_t half) const {
    return args_.layout.Offset(place.page, args_.sizes.page_entries[group], 0, half, 0,
                               place.entry);
  }
  size_t Beside(const EntryPlace& place) const {
    return size_t{place.page} * args_.layout.page_capacity + place.entry;
  }

  FakeEntry EntryAt(const Row& row, uint32_t index) const {
    const EntryPlace place = PlaceOf(args_.slots, args_.sizes, row.slot, row.group, index);
    const uint64_t low = args_.pool.pages[Half(row.group, place, 0)];
    const uint64_t high = args_.pool.pages[Half(row.group, place, 1)];
    return {.value = low | high << 32, .position = args_.pool.positions[Beside(place)]};
  }

  void WriteLogits(uint64_t value, uint32_t index) const {
    for (uint32_t id = 0; id < args_.sizes.vocab; ++id) {
      args_.logits.Set(size_t{index} * args_.sizes.vocab + id,
                       static_cast<float>(Mix(value, id) % 4096));
    }
  }

  TokenId GivenToken(const Row& row) const {
    const uint32_t positions = args_.sizes.max_positions;
    return args_.slots.tokens[size_t{row.slot} * positions + (row.position + 1) % positions];
  }

  TokenId SampleToken(const Row& row, const SlotRecord& slot, uint64_t value) const {
    const TableSizes& sizes = args_.sizes;
    std::vector<TokenBias> biases;
    for (uint32_t i = 0; i < args_.slots.bias_counts[row.slot]; ++i) {
      biases.push_back(args_.slots.biases[size_t{row.slot} * sizes.max_biases + i]);
    }
    std::vector<TokenId> stop_ids;
    for (uint32_t i = 0; i < args_.slots.stop_counts[row.slot]; ++i) {
      stop_ids.push_back(args_.slots.stop_ids[size_t{row.slot} * sizes.max_stop_ids + i]);
    }
    const std::vector<TokenId>& history = (*args_.history)[row.slot];
    return model_.Sample(value, {history.data(), row.position + 1},
                         {slot.sampling, slot.threshold_logit, biases, stop_ids});
  }

  bool IsStopId(uint32_t slot, TokenId token) const {
    for (uint32_t i = 0; i < args_.slots.stop_counts[slot]; ++i) {
      if (args_.slots.stop_ids[size_t{slot} * args_.sizes.max_stop_ids + i] == token) return true;
    }
    return false;
  }

  uint32_t TellLogprobs(const Row& row, uint32_t index, TokenId token, uint32_t top) const {
    std::vector<TokenLogprob> logprobs;
    model_.Logprobs(args_.hidden[row.hidden].value, row.slot, row.position + 1, token,
                    top == kNoLogprobs ? 0 : top, logprobs);
    for (size_t i = 0; i < logprobs.size(); ++i) {
      args_.logprobs.Set(size_t{index} * args_.row_logprobs + i, logprobs[i]);
    }
    return static_cast<uint32_t>(logprobs.size());
  }

  const FakeRowsArgs& args_;
  const FakeModel& model_;
};

void FakeExitKernel(FakeRowsArgs args) {
  simt::GridWait();
  const RowRunner run(args);
  const ListCounts counts = args.lists.counts[0];
  for (uint32_t i = 0; i < counts.exit_rows; ++i) run.Append(args.lists.exit_rows[i]);
  for (uint32_t i = 0; i < counts.query_rows; ++i) run.Attend(args.lists.exit_rows[i], kMaxGroups);
  for (uint32_t i = 0; i < counts.logit_rows; ++i) run.Sample(args.lists.exit_rows[i], i);
}

void FakeEntryKernel(FakeRowsArgs args) {
  simt::GridWait();
  const RowRunner run(args);
  const uint32_t rows = args.lists.counts[0].entry_rows;
  for (uint32_t i = 0; i < rows; ++i) run.Enter(args.lists.entry_rows[i]);
  for (uint32_t i = 0; i < rows; ++i) run.Append(args.lists.entry_rows[i]);
  for (uint32_t i = 0; i < rows; ++i) {
    const Row row = args.lists.entry_rows[i];
    run.Attend(row, row.group);
    FakeRow& own = args.hidden.Edit(row.hidden);
    own.entered = own.value;
  }
}

void FakeBlockKernel(FakeRowsArgs args) {
  simt::GridWait();
  const RowRunner run(args);
  const uint32_t rows = args.lists.counts[0].block_rows;
  for (uint32_t i = 0; i < rows; ++i) run.Append(args.lists.block_rows[i]);
  for (uint32_t i = 0; i < rows; ++i) {
    const Row row = args.lists.block_rows[i];
    run.Attend(row, row.recursion);
    run.Route(row, i);
  }
}

}  // namespace

absl::Status LaunchFakeExit(Runtime& runtime, const FakeRowsArgs& args) {
  return Launch(runtime, "fake_exit", FakeExitKernel, {}, args);
}

absl::Status LaunchFakeEntry(Runtime& runtime, const FakeRowsArgs& args) {
  return Launch(runtime, "fake_entry", FakeEntryKernel, {}, args);
}

absl::Status LaunchFakeBlock(Runtime& runtime, const FakeRowsArgs& args) {
  return Launch(runtime, "fake_block", FakeBlockKernel, {}, args);
}

}  // namespace recurve::cuda
