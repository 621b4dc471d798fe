// SPDX-License-Identifier: Apache-2.0
#include "tests/engine/backend/cuda/page_load.h"

#include <algorithm>
#include <cstring>
#include <numeric>
#include <random>
#include <vector>

#include "absl/strings/str_cat.h"
#include "engine/backend/cuda/page_changes.h"
#include "engine/backend/eviction.h"
#include "engine/base/status_macros.h"
#include "tests/simt/device_vectors.h"
#include "tests/simt/runtime_emulated.h"

namespace recurve::cuda {
namespace {

constexpr uint32_t kSlots = 2;
constexpr uint32_t kPositions = 330;
constexpr uint32_t kEntries = 16;  // of a page
constexpr uint32_t kGroupPages = (kPositions + kEntries - 1) / kEntries;
constexpr StepShape kShape = {.recursions = 2, .shared_kv = 0};
constexpr uint32_t kTables = kSlots * kShape.groups();
constexpr uint32_t kFreePages = 8;  // in no table
constexpr uint32_t kPages = kTables * kGroupPages + kFreePages;

EmulatedOptions OptionsOf(uint64_t seed) {
  EmulatedOptions options;
  options.seed = seed;
  return options;
}

// The pool and what stands beside it.
struct Pool {
  std::vector<uint32_t> pages;
  std::vector<uint32_t> positions;
  std::vector<float> scores;
  std::vector<uint64_t> mass;
};

class PageLoad {
 public:
  explicit PageLoad(uint64_t seed) : random_(seed), runtime_(OptionsOf(seed)) {}

  std::string Run() {
    DrawLayout();
    DrawSlots();
    DrawPool();
    DrawPlan();
    const absl::Status status = RunDevice();
    if (!status.ok()) return status.ToString();
    RunHost();
    return Difference();
  }

 private:
  uint32_t Draw(uint32_t low, uint32_t high) {
    return low + static_cast<uint32_t>(random_() % (high - low + 1));
  }
  size_t TableOf(uint32_t slot, uint32_t group) const {
    return (size_t{slot} * kShape.groups() + group) * kGroupPages;
  }
  uint32_t PageOf(const Evict& evict, uint32_t entry) const {
    return tables_[TableOf(evict.slot, evict.group) + entry / kEntries];
  }
  size_t Beside(const Evict& evict, uint32_t entry) const {
    return size_t{PageOf(evict, entry)} * kEntries + entry % kEntries;
  }
  size_t MassOf(const Evict& evict, uint32_t entry) const {
    return (size_t{evict.slot} * kShape.groups() + evict.group) * kPositions + entry;
  }

  void DrawLayout();
  void DrawSlots();
  void DrawPool();
  void DrawPlan();
  absl::Status RunDevice();
  void RunHost();
  void EvictOnHost(const Evict& evict);
  void MoveOnHost(const Evict& evict, const EntryMove& move);
  std::string Difference();
  template <typename T>
  std::string DifferenceOf(const char* what, const DeviceMemory& memory,
                           const std::vector<T>& expected);

  std::mt19937_64 random_;
  EmulatedRuntime runtime_;
  TableSizes sizes_;
  KvLayout layout_;
  std::vector<SlotRecord> records_;
  std::vector<uint32_t> tables_;  // [slots][groups][kGroupPages]
  Pool pool_;
  StepPlan plan_;
  StepMemory memory_;
  DeviceMemory pages_, positions_, scores_;
};

void PageLoad::DrawLayout() {
  layout_.kv_heads = 2;
  layout_.stride = 3;
  layout_.page_capacity = kEntries;
  sizes_.shape = kShape;
  sizes_.slots = kSlots;
  sizes_.chunk = sizes_.vocab = sizes_.max_biases = sizes_.max_stop_ids = sizes_.max_caps = 1;
  sizes_.rows = sizes_.ends = 1;
  sizes_.max_positions = kPositions;
  sizes_.groups = kShape.groups();
  sizes_.group_pages = kGroupPages;
  for (uint32_t group = 0; group < kShape.groups(); ++group) {
    layout_.layers[group] = 2;
    sizes_.page_entries[group] = kEntries;
  }
  layout_.page_elements = size_t{2} * 2 * layout_.kv_heads * kEntries * layout_.stride;
}

void PageLoad::DrawSlots() {
  records_.resize(kSlots);
  for (SlotRecord& record : records_) {
    record.eviction = static_cast<EvictionPolicy>(Draw(1, 3));
    record.sinks = Draw(0, 5);
    record.recent = Draw(0, 40);
  }
  tables_.resize(kPages);
  std::iota(tables_.begin(), tables_.end(), 0);
  std::shuffle(tables_.begin(), tables_.end(), random_);  // the last ones are free
}

void PageLoad::DrawPool() {
  pool_.pages.resize(kPages * layout_.page_elements);
  std::iota(pool_.pages.begin(), pool_.pages.end(), 0);
  pool_.positions.resize(size_t{kPages} * kEntries);
  std::iota(pool_.positions.begin(), pool_.positions.end(), 0);
  std::shuffle(pool_.positions.begin(), pool_.positions.end(), random_);
  pool_.scores.resize(pool_.positions.size());
  for (float& score : pool_.scores) score = static_cast<float>(Draw(0, 9)) - 4.0F;
  pool_.mass.resize(size_t{kTables} * kPositions);
  for (uint64_t& mass : pool_.mass) mass = Draw(0, 9);
}

void PageLoad::DrawPlan() {
  for (uint32_t slot = 0; slot < kSlots; ++slot) {
    for (uint32_t group = 0; group < kShape.groups(); ++group) {
      const uint32_t count = Draw(2, kPositions);
      plan_.evicts.push_back({slot, group, count, Draw(1, count - 1)});
    }
  }
  // Of pages that no eviction touches; what was copied from may be copied to.
  std::vector<uint32_t> pages(tables_.end() - kFreePages, tables_.end());
  for (uint32_t i = 0; i + 1 < kFreePages; ++i) plan_.copies.push_back({pages[i + 1], pages[i]});
}

absl::Status PageLoad::RunDevice() {
  ASSIGN_OR_RETURN(memory_, AllocateStepMemory(runtime_, sizes_));
  RETURN_IF_ERROR(
      runtime_.Upload(memory_.records, 0, records_.data(), kSlots * sizeof(SlotRecord)));
  RETURN_IF_ERROR(runtime_.Upload(memory_.pages, 0, tables_.data(),
                                  size_t{kTables} * kGroupPages * sizeof(uint32_t)));
  RETURN_IF_ERROR(
      runtime_.Upload(memory_.mass, 0, pool_.mass.data(), pool_.mass.size() * sizeof(uint64_t)));
  pages_ = Uploaded(runtime_, "pages", pool_.pages);
  positions_ = Uploaded(runtime_, "positions", pool_.positions);
  scores_ = Uploaded(runtime_, "scores", pool_.scores);
  std::vector<uint32_t> words(1000);
  PlanWriter().Write(plan_, words);
  EvictArgs args;
  args.sizes = sizes_;
  args.layout = layout_;
  args.plan = simt::In<uint32_t>(Uploaded(runtime_, "plan", words), 0, words.size());
  args.slots = SlotTables<simt::In>(memory_);
  args.mass = simt::Out<uint64_t>(memory_.mass, 0, pool_.mass.size());
  args.pool = {simt::Out<uint32_t>(pages_, 0, pool_.pages.size()),
               simt::Out<uint32_t>(positions_, 0, pool_.positions.size()),
               simt::Out<float>(scores_, 0, pool_.scores.size())};
  const size_t scratch = EvictBlocks(runtime_) * size_t{kPositions};
  const auto take = [&](auto* span, const char* name) -> absl::Status {
    using Span = std::remove_pointer_t<decltype(span)>;
    ASSIGN_OR_RETURN(const DeviceMemory memory,
                     runtime_.Allocate(name, scratch * sizeof(uint64_t)));
    *span = Span(memory, 0, scratch);
    return absl::OkStatus();
  };
  RETURN_IF_ERROR(take(&args.positions, "positions of entries"));
  RETURN_IF_ERROR(take(&args.stays, "who stays"));
  RETURN_IF_ERROR(take(&args.holes, "holes"));
  RETURN_IF_ERROR(take(&args.survivors, "survivors"));
  RETURN_IF_ERROR(take(&args.scores, "scores of entries"));
  RETURN_IF_ERROR(LaunchEvict(runtime_, args, plan_.evicts));
  return LaunchCopyPages(runtime_, {layout_, args.plan, args.pool}, plan_.copies.size());
}

void PageLoad::RunHost() {
  for (const Evict& evict : plan_.evicts) EvictOnHost(evict);
  const auto copy = [](auto& all, size_t size, const PageCopy& pages) {
    std::copy_n(all.begin() + static_cast<std::ptrdiff_t>(pages.from * size), size,
                all.begin() + static_cast<std::ptrdiff_t>(pages.to * size));
  };
  for (const PageCopy& pages : plan_.copies) {
    copy(pool_.pages, layout_.page_elements, pages);
    copy(pool_.positions, kEntries, pages);
    copy(pool_.scores, kEntries, pages);
  }
}

void PageLoad::EvictOnHost(const Evict& evict) {
  const SlotRecord& slot = records_[evict.slot];
  const EvictionRule rule = RuleFor({slot.eviction, slot.sinks, slot.recent}, evict.group, kShape);
  const bool has_mass = slot.eviction == EvictionPolicy::kAttention;
  std::vector<uint32_t> positions;
  std::vector<uint64_t> scores;
  for (uint32_t entry = 0; entry < evict.count; ++entry) {
    positions.push_back(pool_.positions[Beside(evict, entry)]);
    scores.push_back(has_mass ? pool_.mass[MassOf(evict, entry)]
                              : ScoreKey(pool_.scores[Beside(evict, entry)]));
  }
  Eviction eviction(evict.count);
  for (const EntryMove& move : eviction.Choose(rule, evict.keep, positions, scores)) {
    MoveOnHost(evict, move);
    if (has_mass) pool_.mass[MassOf(evict, move.to)] = pool_.mass[MassOf(evict, move.from)];
  }
  for (uint32_t entry = evict.keep; has_mass && entry < evict.count; ++entry) {
    pool_.mass[MassOf(evict, entry)] = 0;
  }
}

void PageLoad::MoveOnHost(const Evict& evict, const EntryMove& move) {
  for (uint32_t layer = 0; layer < 2; ++layer) {
    for (uint32_t value = 0; value < 2; ++value) {
      for (uint32_t head = 0; head < layout_.kv_heads; ++head) {
        const size_t from = layout_.Offset(PageOf(evict, move.from), kEntries, layer, value, head,
                                           move.from % kEntries);
        const size_t to = layout_.Offset(PageOf(evict, move.to), kEntries, layer, value, head,
                                         move.to % kEntries);
        for (uint32_t d = 0; d < layout_.stride; ++d) pool_.pages[to + d] = pool_.pages[from + d];
      }
    }
  }
  pool_.positions[Beside(evict, move.to)] = pool_.positions[Beside(evict, move.from)];
  if (!HasRouterScores(evict.group, kShape)) return;
  pool_.scores[Beside(evict, move.to)] = pool_.scores[Beside(evict, move.from)];
}

template <typename T>
std::string PageLoad::DifferenceOf(const char* what, const DeviceMemory& memory,
                                   const std::vector<T>& expected) {
  const std::vector<T> found = Downloaded<T>(runtime_, memory);
  for (size_t i = 0; i < expected.size(); ++i) {
    if (found[i] == expected[i]) continue;
    return absl::StrCat("element ", i, " of ", what, " is ", found[i], ", expected ", expected[i]);
  }
  return "";
}

std::string PageLoad::Difference() {
  std::string difference = DifferenceOf("the pages", pages_, pool_.pages);
  if (difference.empty()) difference = DifferenceOf("the positions", positions_, pool_.positions);
  if (difference.empty()) difference = DifferenceOf("the scores", scores_, pool_.scores);
  if (difference.empty()) difference = DifferenceOf("the mass", memory_.mass, pool_.mass);
  return difference;
}

}  // namespace

std::string RunPageChanges(uint64_t seed) { return PageLoad(seed).Run(); }

}  // namespace recurve::cuda
