// SPDX-License-Identifier: Apache-2.0
// ProjectQkv of --precision=bf16 against a naive one, bit for bit.
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "engine/backend/cuda/linear_bf16.h"
#include "engine/model/rope.h"
#include "gtest/gtest.h"
#include "tests/engine/backend/cuda/host_product.h"
#include "tests/engine/backend/cuda/kernel_data.h"
#include "tests/engine/backend/cuda/kernel_device.h"

namespace recurve::cuda {
namespace {

constexpr uint32_t kHeads = 4;
constexpr uint32_t kKvHeads = 2;
constexpr uint32_t kSlots = 3;
constexpr uint32_t kGroups = 2;
constexpr uint32_t kGroupPages = 3;
constexpr uint32_t kLayer = 1;
constexpr uint32_t kTabledPositions = 32;

// Two groups, whose pages hold 5 entries of two layers and 3 of three.
constexpr uint32_t kPageEntries[kGroups] = {5, 3};

KvLayout LayoutOf(uint32_t head_dim) {
  KvLayout layout;
  layout.kv_heads = kKvHeads;
  layout.head_dim = head_dim;
  layout.stride = StepsOf(head_dim) * kStepInputs;
  layout.page_capacity = 10;
  layout.page_elements = size_t{2} * kKvHeads * layout.stride * layout.page_capacity;
  layout.layers[0] = 2;
  layout.layers[1] = 3;
  return layout;
}

TableSizes TestSizes() {
  TableSizes sizes;
  sizes.slots = kSlots;
  sizes.groups = kGroups;
  sizes.group_pages = kGroupPages;
  std::copy_n(kPageEntries, kGroups, sizes.page_entries);
  return sizes;
}

// Angles of a model whose context was extended, for positions in the table and far beyond.
std::vector<double> Frequencies(uint32_t head_dim) {
  ModelConfig config;
  config.head_dim = head_dim;
  config.rope_theta = 500000.0F;
  config.rope_scaling = {.type = RopeScaling::Type::kLlama3,
                         .factor = 8.0F,
                         .low_frequency_factor = 1.0F,
                         .high_frequency_factor = 4.0F,
                         .original_positions = 16};
  return RotaryFrequencies(config);
}

// Each row has an entry of its own in its slot and group, but every fourth one, which has none.
std::vector<Row> MakeRows(uint32_t count) {
  constexpr uint32_t kPositions[] = {0, 5, 31, 32, 33, 8191, 131071, (1 << 24) - 1};
  uint32_t used[kSlots][kGroups] = {};
  std::vector<Row> rows(count);
  for (uint32_t i = 0; i < count; ++i) {
    Row& row = rows[i];
    row = {};
    row.slot = i % kSlots;
    row.group = i / kSlots % kGroups;
    row.position = kPositions[i % std::size(kPositions)];
    uint32_t& next = used[row.slot][row.group];
    const bool is_full = next == kGroupPages * kPageEntries[row.group];
    row.entry = i % 4 == 3 || is_full ? kNoEntry : next++;
  }
  return rows;
}

// What the kernel writes.
struct Written {
  std::vector<Bf16> q, pages;
  std::vector<uint32_t> positions;
};

class QkvCase {
 public:
  QkvCase(uint32_t head_dim, uint32_t inputs, uint32_t rows, std::vector<uint32_t> recursions = {})
      : layout_(LayoutOf(head_dim)),
        product_({.inputs = inputs,
                  .outputs = (kHeads + 2 * kKvHeads) * head_dim,
                  .rows = rows,
                  .has_norm = true,
                  .order = {head_dim / 2},
                  .recursions = std::move(recursions)},
                 head_dim),
        rows_(MakeRows(rows)),
        frequencies_(Frequencies(head_dim)),
        pages_(kSlots * kGroups * kGroupPages) {
    // Every page of the pool is somebody's, in no order.
    for (uint32_t i = 0; i < pages_.size(); ++i) pages_[i] = (7 * i + 4) % pages_.size();
    before_.q.assign(size_t{rows + 1} * kHeads * layout_.stride, kUntouchedBf16);
    before_.pages.assign(pages_.size() * layout_.page_elements, kUntouchedBf16);
    before_.positions.assign(pages_.size() * layout_.page_capacity, 999);
  }

  Written Expected() const {
    Written written = before_;
    for (uint32_t i = 0; i < rows_.size(); ++i) {
      for (uint32_t head = 0; head < kHeads + 2 * kKvHeads; ++head) StoreHead(i, head, &written);
    }
    return written;
  }

  Written Run(const Way& way) const {
    const std::unique_ptr<KernelDevice> device = MakeKernelDevice(way);
    Runtime& runtime = device->runtime();
    ProjectQkvBf16Args args;
    args.product = product_.Upload(runtime);
    args.rows = Give<simt::In, Row>(runtime, "rows", rows_);
    args.sizes = TestSizes();
    args.layout = layout_;
    args.heads = kHeads;
    args.layer = kLayer;
    args.slots.pages = Give<simt::In, uint32_t>(runtime, "page tables", pages_);
    args.rotary = UploadAngles(runtime);
    const DeviceMemory q = Uploaded(runtime, "q", before_.q);
    const DeviceMemory pages = Uploaded(runtime, "pages", before_.pages);
    const DeviceMemory positions = Uploaded(runtime, "entry positions", before_.positions);
    args.q = All<simt::Out, Bf16>(q);
    args.pages = All<simt::Out, Bf16>(pages);
    args.entry_positions = All<simt::Out, uint32_t>(positions);
    EXPECT_EQ(LaunchProjectQkv(runtime, {way.rows, way.programmatic}, args), absl::OkStatus());
    return {Downloaded<Bf16>(runtime, q), Downloaded<Bf16>(runtime, pages),
            Downloaded<uint32_t>(runtime, positions)};
  }

 private:
  // Queries come first, then keys, then values.
  void StoreHead(uint32_t i, uint32_t head, Written* written) const {
    const Row& row = rows_[i];
    const uint32_t half = layout_.head_dim / 2;
    const bool is_query = head < kHeads;
    const bool is_value = head >= kHeads + kKvHeads;
    if (!is_query && row.entry == kNoEntry) return;
    Bf16* out = &written->q[(size_t{i} * kHeads + head) * layout_.stride];
    if (!is_query) {
      const uint32_t per_page = kPageEntries[row.group];
      const uint32_t index = (row.slot * kGroups + row.group) * kGroupPages + row.entry / per_page;
      const uint32_t page = pages_[index];
      const uint32_t entry = row.entry % per_page;
      out = &written->pages[layout_.Offset(page, per_page, kLayer, is_value ? 1 : 0,
                                           (head - kHeads) % kKvHeads, entry)];
      written->positions[page * layout_.page_capacity + entry] = row.position;
    }
    for (uint32_t pair = 0; pair < half; ++pair) {
      float a = product_.At(i, head * layout_.head_dim + pair);
      float b = product_.At(i, head * layout_.head_dim + half + pair);
      const double angle = row.position * frequencies_[pair];
      if (!is_value) Rotate(Cos(angle), Sin(angle), a, b);
      out[pair] = FloatToBf16(a);
      out[half + pair] = FloatToBf16(b);
    }
  }

  RotaryTable UploadAngles(Runtime& runtime) const {
    std::vector<float> cos, sin;
    for (uint32_t position = 0; position < kTabledPositions; ++position) {
      for (const double frequency : frequencies_) {
        cos.push_back(Cos(position * frequency));
        sin.push_back(Sin(position * frequency));
      }
    }
    RotaryTable rotary;
    rotary.cos = Give<simt::Constant, float>(runtime, "cosines", cos);
    rotary.sin = Give<simt::Constant, float>(runtime, "sines", sin);
    rotary.frequencies = Give<simt::Constant, double>(runtime, "frequencies", frequencies_);
    rotary.tabled_positions = kTabledPositions;
    return rotary;
  }

  const KvLayout layout_;
  const HostProduct product_;
  const std::vector<Row> rows_;
  const std::vector<double> frequencies_;
  std::vector<uint32_t> pages_;  // [kSlots][kGroups][kGroupPages]
  Written before_;
};

void ExpectNaive(const QkvCase& qkv) {
  const Written expected = qkv.Expected();
  for (const Way& way : {Way{8, 200, true, 0},
                         {8, 1, false, 1},
                         {32, 1, false, 0},
                         {64, 200, true, 1},
                         {64, 1, false, 0}}) {
    SCOPED_TRACE(
        absl::StrCat("cut for ", way.rows, " rows on ", way.multiprocessors, " multiprocessors"));
    const Written written = qkv.Run(way);
    ExpectSame(written.q, expected.q);
    ExpectSame(written.pages, expected.pages);
    ExpectSame(written.positions, expected.positions);
    if (testing::Test::HasFailure()) return;
  }
}

TEST(ProjectQkvBf16, HeadsOfAnySize) {
  for (const uint32_t head_dim : {2, 6, 10, 16, 20, 34}) {
    SCOPED_TRACE(absl::StrCat("heads of ", head_dim));
    ExpectNaive(QkvCase(head_dim, 40, 13));
  }
}

TEST(ProjectQkvBf16, ManyRowsAndInputs) { ExpectNaive(QkvCase(12, 130, 40)); }

TEST(ProjectQkvBf16, WeightsOfEachRecursion) {
  ExpectNaive(QkvCase(12, 24, 12, {3, 0, 9}));
  ExpectNaive(QkvCase(12, 24, 0, {0, 0, 0}));
}

}  // namespace
}  // namespace recurve::cuda
