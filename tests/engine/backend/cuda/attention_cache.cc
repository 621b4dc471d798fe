// SPDX-License-Identifier: Apache-2.0
#include "tests/engine/backend/cuda/attention_cache.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <numeric>

#include "engine/backend/cuda/softmax_state.h"
#include "engine/base/status_macros.h"
#include "tests/engine/backend/cuda/host_product.h"
#include "tests/simt/mma_hopper.h"

namespace recurve::cuda {

AttentionCache::AttentionCache(const AttentionSizes& sizes, uint32_t seed)
    : sizes_(sizes), numbers_(seed), entries_(kSlots * kGroups), records_(kSlots) {
  layout_.kv_heads = sizes.kv_heads;
  layout_.head_dim = sizes.head_dim;
  layout_.stride = StepsOf(sizes.head_dim) * kStepInputs;
  layout_.page_capacity = sizes.page_entries;
  layout_.page_elements = size_t{2} * 2 * sizes.kv_heads * layout_.stride * sizes.page_entries;
  tables_.slots = kSlots;
  tables_.groups = kGroups;
  tables_.max_positions = kMostEntries;
  tables_.group_pages = (kMostEntries + sizes.page_entries - 1) / sizes.page_entries;
  tables_.overlay = sizes.overlay ? 1 : 0;
  for (uint32_t group = 0; group < kGroups; ++group) {
    layout_.layers[group] = 2;
    tables_.page_entries[group] = sizes.page_entries;
  }
  // Every page of the pool is somebody's, in no order.
  pages_.resize(size_t{kSlots} * kGroups * tables_.group_pages);
  std::iota(pages_.begin(), pages_.end(), 0U);
  for (size_t i = pages_.size() - 1; i > 0; --i) {
    std::swap(pages_[i], pages_[numbers_.Below(static_cast<uint32_t>(i + 1))]);
  }
}

void AttentionCache::Append(uint32_t slot, uint32_t group, const std::vector<uint32_t>& positions) {
  const size_t elements = size_t{sizes_.kv_heads} * sizes_.head_dim;
  for (const uint32_t position : positions) {
    entries_[slot * kGroups + group].push_back(
        {position, numbers_.Bf16s(elements, 1.0F), numbers_.Bf16s(elements, 1.0F)});
  }
}

void AttentionCache::AppendFirst(uint32_t slot, uint32_t group, uint32_t count) {
  std::vector<uint32_t> positions(count);
  std::iota(positions.begin(), positions.end(), 0U);
  Append(slot, group, positions);
}

Query AttentionCache::MakeQuery(uint32_t slot, uint32_t group, uint32_t visible, bool has_entry) {
  Query query;
  query.row.slot = slot;
  query.row.group = group;
  query.row.position = visible - 1;
  query.row.entry = has_entry ? visible - 1 : kNoEntry;
  query.row.visible = visible;
  // Scores of some units, so that weights differ.
  query.q = numbers_.Bf16s(size_t{heads()} * sizes_.head_dim, 2.0F);
  return query;
}

// ---- On a device ----

std::vector<Bf16> AttentionCache::StridedQueries(const std::vector<Query>& queries) const {
  std::vector<Bf16> strided(queries.size() * heads() * layout_.stride);
  for (size_t i = 0; i < queries.size() * heads(); ++i) {
    const Bf16* const from = &queries[i / heads()].q[i % heads() * sizes_.head_dim];
    std::copy_n(from, sizes_.head_dim, &strided[i * layout_.stride]);
  }
  return strided;
}

// Entry by entry, with zeros up to the stride.
void AttentionCache::UploadEntries(Runtime& runtime, AttentionBf16Args* args) const {
  const DeviceMemory pool =
      *runtime.Allocate("pages", pages_.size() * layout_.page_elements * sizeof(Bf16));
  const DeviceMemory positions = *runtime.Allocate(
      "entry positions", pages_.size() * layout_.page_capacity * sizeof(uint32_t));
  for (uint32_t list = 0; list < entries_.size(); ++list) {
    for (uint32_t i = 0; i < entries_[list].size(); ++i) {
      const Entry& entry = entries_[list][i];
      const uint32_t page = pages_[size_t{list} * tables_.group_pages + i / sizes_.page_entries];
      const uint32_t in_page = i % sizes_.page_entries;
      for (uint32_t part = 0; part < 2 * sizes_.kv_heads; ++part) {
        const uint32_t kv_head = part % sizes_.kv_heads;
        const bool is_value = part >= sizes_.kv_heads;
        std::vector<Bf16> strided(layout_.stride);
        const std::vector<Bf16>& from = is_value ? entry.value : entry.key;
        std::copy_n(&from[size_t{kv_head} * sizes_.head_dim], sizes_.head_dim, strided.data());
        const size_t at =
            layout_.Offset(page, sizes_.page_entries, kLayer, is_value ? 1 : 0, kv_head, in_page) *
            sizeof(Bf16);
        EXPECT_EQ(runtime.Upload(pool, at, strided.data(), strided.size() * sizeof(Bf16)),
                  absl::OkStatus());
      }
      const size_t at = (size_t{page} * layout_.page_capacity + in_page) * sizeof(uint32_t);
      EXPECT_EQ(runtime.Upload(positions, at, &entry.position, sizeof(uint32_t)), absl::OkStatus());
    }
  }
  args->pages = All<simt::In, simt::Words2>(pool);
  args->entry_positions = All<simt::In, uint32_t>(positions);
}

AttentionBf16Args AttentionCache::Upload(Runtime& runtime,
                                         const std::vector<Query>& queries) const {
  std::vector<Row> rows;
  for (const Query& query : queries) rows.push_back(query.row);
  ListCounts counts;
  counts.block_rows = static_cast<uint32_t>(rows.size());
  AttentionBf16Args args;
  args.set = RowSet::kBlock;
  args.sizes = tables_;
  args.layout = layout_;
  args.heads = heads();
  args.layer = kLayer;
  args.counts = Give<simt::In, ListCounts>(runtime, "counts", std::vector<ListCounts>{counts});
  args.rows = Give<simt::In, Row>(runtime, "rows", rows);
  args.slots.records = Give<simt::In, SlotRecord>(runtime, "slot records", records_);
  args.slots.pages = Give<simt::In, uint32_t>(runtime, "page tables", pages_);
  args.q = Give<simt::In, simt::Words2>(runtime, "q", StridedQueries(queries));
  UploadEntries(runtime, &args);
  return args;
}

absl::StatusOr<Attended> AttentionCache::Run(const std::vector<Query>& queries, const Way& way,
                                             bool may_split) const {
  const std::unique_ptr<KernelDevice> device = MakeKernelDevice(way);
  Runtime& runtime = device->runtime();
  AttentionBf16Args args = Upload(runtime, queries);
  const uint32_t columns = heads() * sizes_.head_dim;
  const auto count = static_cast<uint32_t>(queries.size());
  const DeviceMemory y = Uploaded(
      runtime, "attended", std::vector<Bf16>(OperandElements(count, columns), kUntouchedBf16));
  const DeviceMemory mass =
      Uploaded(runtime, "mass", std::vector<uint64_t>(size_t{kSlots} * kGroups * kMostEntries));
  args.y = All<simt::Out, Bf16>(y);
  args.mass = All<simt::Out, uint64_t>(mass);
  args.split.sizes = SplitSizesOf(runtime, layout_, heads(), may_split ? count : 0, kMostEntries);
  const size_t partials = args.split.sizes.Partials(heads());
  const DeviceMemory came =
      Uploaded(runtime, "who came",
               std::vector<uint32_t>(SplitItems(args.split.sizes, layout_, heads()) + 1));
  args.split.came = All<simt::Out, uint32_t>(came);
  args.split.states = All<simt::Out, SoftmaxState>(
      *runtime.Allocate("states", (partials + 1) * sizeof(SoftmaxState)));
  args.split.outputs = All<simt::Out, Floats4>(*runtime.Allocate(
      "outputs", (partials * SplitPieces(sizes_.head_dim) + 1) * sizeof(Floats4)));
  RETURN_IF_ERROR(LaunchAttention(runtime, way.rows, way.programmatic, args));
  const std::vector<Bf16> operand = Downloaded<Bf16>(runtime, y);
  Attended attended;
  attended.mass = Downloaded<uint64_t>(runtime, mass);
  attended.bytes_written = device->BytesWritten("attention_bf16");
  // The next launch counts from 0 again.
  const std::vector<uint32_t> counters = Downloaded<uint32_t>(runtime, came);
  ExpectSame(counters, std::vector<uint32_t>(counters.size()));
  std::vector<Bf16> all;
  for (uint32_t row = 0; row < count; ++row) {
    std::vector<Bf16>& out = attended.rows.emplace_back(columns);
    for (uint32_t i = 0; i < columns; ++i) {
      out[i] = operand[OperandIndex(row, i, StepsOf(columns))];
    }
    all.insert(all.end(), out.begin(), out.end());
  }
  // Nothing else was written.
  ExpectSame(operand, OperandOf(all, count, columns, kUntouchedBf16));
  return attended;
}

// ---- On the host ----

const AttentionCache::Entry& AttentionCache::Seen(const Row& row, uint32_t index) const {
  if (!sizes_.overlay || row.recursion <= 1) return Entries(row.slot, row.group)[index];
  const std::vector<Entry>& own = Entries(row.slot, row.group);
  for (uint32_t i = 0; i <= row.entry; ++i) {
    if (own[i].position == index) return own[i];
  }
  return Entries(row.slot, 1)[index];
}

std::vector<double> AttentionCache::Exact(const Query& query) const {
  const uint32_t head_dim = sizes_.head_dim;
  std::vector<double> out;
  for (uint32_t head = 0; head < heads(); ++head) {
    const size_t in_entry = size_t{head / sizes_.sharing_heads} * head_dim;
    std::vector<double> sums(head_dim);
    double weights = 0.0;
    for (uint32_t i = 0; i < query.row.visible; ++i) {
      const Entry& entry = Seen(query.row, i);
      double score = 0.0;
      for (uint32_t d = 0; d < head_dim; ++d) {
        score += double{Bf16ToFloat(query.q[size_t{head} * head_dim + d])} *
                 double{Bf16ToFloat(entry.key[in_entry + d])};
      }
      // Scores are small, so that none needs to be subtracted from another.
      const double weight = std::exp(score / std::sqrt(static_cast<double>(head_dim)));
      weights += weight;
      for (uint32_t d = 0; d < head_dim; ++d) {
        sums[d] += weight * double{Bf16ToFloat(entry.value[in_entry + d])};
      }
    }
    for (const double sum : sums) out.push_back(sum / weights);
  }
  return out;
}

double AttentionCache::LargestValue(const Query& query) const {
  double largest = 0.0;
  for (uint32_t i = 0; i < query.row.visible; ++i) {
    for (const Bf16 value : Seen(query.row, i).value) {
      largest = std::max(largest, std::fabs(double{Bf16ToFloat(value)}));
    }
  }
  return largest;
}

float AttentionCache::Score(const Query& query, uint32_t head, const Entry& entry) const {
  const uint32_t head_dim = sizes_.head_dim;
  const size_t in_entry = size_t{head / sizes_.sharing_heads} * head_dim;
  uint32_t sum = 0;
  for (uint32_t begin = 0; begin < head_dim; begin += kStepInputs) {
    const uint32_t count = std::min(kStepInputs, head_dim - begin);
    Bf16 q[kStepInputs] = {};
    Bf16 key[kStepInputs] = {};
    std::copy_n(&query.q[size_t{head} * head_dim + begin], count, q);
    std::copy_n(&entry.key[in_entry + begin], count, key);
    sum = MmaSum(q, 1, key, 1, sum);
  }
  return std::bit_cast<float>(sum) * ScoreScale(head_dim);
}

void AttentionCache::AddMass(const Query& query, std::vector<uint64_t>* mass) const {
  const Row& row = query.row;
  for (uint32_t head = 0; head < heads(); ++head) {
    std::vector<float> scores;
    for (uint32_t i = 0; i < row.visible; ++i) {
      scores.push_back(Score(query, head, Seen(row, i)));
    }
    const float largest = *std::max_element(scores.begin(), scores.end());
    double sum = 0.0;
    for (const float score : scores) sum += double{SoftmaxWeight(score, largest)};
    const float inverse = 1.0F / static_cast<float>(sum);
    for (uint32_t i = 0; i < row.visible; ++i) {
      (*mass)[MassIndex(row.slot, row.group, i)] +=
          MassShare(SoftmaxWeight(scores[i], largest), inverse);
    }
  }
}

}  // namespace recurve::cuda
