// SPDX-License-Identifier: Apache-2.0
// Slots with cached keys and values for tests of attention, on the host and on a device.
#ifndef RECURVE_TESTS_ENGINE_BACKEND_CUDA_ATTENTION_CACHE_H_
#define RECURVE_TESTS_ENGINE_BACKEND_CUDA_ATTENTION_CACHE_H_

#include <cstddef>
#include <cstdint>
#include <optional>
#include <ostream>
#include <vector>

#include "absl/status/statusor.h"
#include "engine/backend/arithmetic.h"
#include "engine/backend/cuda/attention_bf16.h"
#include "tests/engine/backend/cuda/kernel_data.h"
#include "tests/engine/backend/cuda/kernel_device.h"

namespace recurve::cuda {

struct AttentionSizes {
  uint32_t head_dim = 0;
  uint32_t sharing_heads = 1;  // of each KV head
  uint32_t kv_heads = 1;
  uint32_t page_entries = 7;
  bool overlay = false;
};

// What GoogleTest prints of a parameter; by itself it prints bytes.
inline void PrintTo(const AttentionSizes& sizes, std::ostream* out) {
  *out << "heads of " << sizes.head_dim << ", " << sizes.sharing_heads << " a KV head";
}

// A row and its query vectors.
struct Query {
  Row row = {};
  std::vector<Bf16> q;  // [heads * head_dim]
};

// What a launch made: of each query the attended values, and the attention mass.
struct Attended {
  std::vector<std::vector<Bf16>> rows;
  std::vector<uint64_t> mass;             // [kSlots][kGroups][kMostEntries]
  std::optional<uint64_t> bytes_written;  // KernelDevice::BytesWritten
};

// Memory that no Append has written has no value: a device reports who reads it.
class AttentionCache {
 public:
  static constexpr uint32_t kSlots = 3;
  static constexpr uint32_t kGroups = 4;
  static constexpr uint32_t kMostEntries = 1100;
  // The layer under test, of two in each group.
  static constexpr uint32_t kLayer = 1;

  AttentionCache(const AttentionSizes& sizes, uint32_t seed);

  // Entries of a slot's group, behind those that there are, of tokens at these positions.
  void Append(uint32_t slot, uint32_t group, const std::vector<uint32_t>& positions);
  // Those of positions 0, 1, ...
  void AppendFirst(uint32_t slot, uint32_t group, uint32_t count);

  void SetEviction(uint32_t slot, EvictionPolicy policy) { records_[slot].eviction = policy; }

  // A query of a row whose newest entry is `visible` - 1, or that has none.
  Query MakeQuery(uint32_t slot, uint32_t group, uint32_t visible, bool has_entry = true);

  uint32_t heads() const { return sizes_.sharing_heads * sizes_.kv_heads; }
  static size_t MassIndex(uint32_t slot, uint32_t group, uint32_t entry) {
    return (size_t{slot} * kGroups + group) * kMostEntries + entry;
  }

  // On a new device. `may_split`: whether several blocks may share a row's entries, as many as the
  // device runs side by side.
  absl::StatusOr<Attended> Run(const std::vector<Query>& queries, const Way& way,
                               bool may_split = true) const;

  // Attention in double: [heads * head_dim].
  std::vector<double> Exact(const Query& query) const;
  // The largest magnitude among the values that a query sees.
  double LargestValue(const Query& query) const;

  // Adds what the query's heads give to the mass of the entries that it sees: scores as the tensor
  // cores sum them, shares as MassShare says, with the sum of the weights rounded once.
  void AddMass(const Query& query, std::vector<uint64_t>* mass) const;

 private:
  struct Entry {
    uint32_t position = 0;
    std::vector<Bf16> key, value;  // [kv_heads * head_dim]
  };

  // The entry that stands for entry `index` of what a row sees.
  const Entry& Seen(const Row& row, uint32_t index) const;
  const std::vector<Entry>& Entries(uint32_t slot, uint32_t group) const {
    return entries_[slot * kGroups + group];
  }
  float Score(const Query& query, uint32_t head, const Entry& entry) const;
  AttentionBf16Args Upload(Runtime& runtime, const std::vector<Query>& queries) const;
  void UploadEntries(Runtime& runtime, AttentionBf16Args* args) const;
  std::vector<Bf16> StridedQueries(const std::vector<Query>& queries) const;

  const AttentionSizes sizes_;
  KvLayout layout_;
  TableSizes tables_;
  Numbers numbers_;
  std::vector<std::vector<Entry>> entries_;  // [kSlots * kGroups]
  std::vector<SlotRecord> records_;          // [kSlots]
  std::vector<uint32_t> pages_;              // [kSlots * kGroups * group pages]
};

}  // namespace recurve::cuda

#endif  // RECURVE_TESTS_ENGINE_BACKEND_CUDA_ATTENTION_CACHE_H_
