// SPDX-License-Identifier: Apache-2.0
// What bounds a backend on the machine at hand, and its matrix products beside that.
#ifndef RECURVE_ENGINE_BACKEND_MACHINE_PROBE_H_
#define RECURVE_ENGINE_BACKEND_MACHINE_PROBE_H_

#include <cstdint>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "engine/backend/precision.h"
#include "engine/model/config.h"

namespace recurve {

// What all that computes reaches together, as measured.
struct MachineRates {
  double bytes_per_second = 0;  // read from memory that no cache holds
  double flops_per_second = 0;  // of the fastest products in the backend's precision
};

// A product of a model: [outputs][inputs] weights.
struct ProductShape {
  enum class Use { kStore, kAdd, kGate };  // kGate: half of the outputs gate the other half

  uint32_t outputs = 0;
  uint32_t inputs = 0;
  Use use = Use::kStore;
};

// What attention takes with a number of rows and entries.
struct AttentionFigures {
  uint32_t entries = 0;    // that a row sees
  uint32_t rows = 0;       // that attend together: 1, or as many as of a prompt's chunk
  double from_memory = 0;  // seconds for each row, entry and KV head, with all its query heads
  double from_cache = 0;   // the same with keys and values that were just read
};

// Measures with what a backend computes with: its threads, its instructions. Times are those of the
// moment; whoever wants medians asks again. Thread-compatible.
class MachineProbe {
 public:
  virtual ~MachineProbe() = default;

  // Takes some hundredths of a second.
  virtual MachineRates Measure() = 0;

  // Makes random weights of this shape, as many matrices of it as no cache holds, in the place of
  // those before, and rows for Time. RESOURCE_EXHAUSTED when there is no memory.
  virtual absl::Status Load(const ProductShape& shape, uint32_t most_rows) = 0;

  // Bytes of one matrix, and of all.
  virtual uint64_t matrix_bytes() const = 0;
  virtual uint64_t all_bytes() const = 0;

  // Seconds of one product with `rows` rows, 1 to `most_rows`: the mean of products with one matrix
  // after the other, for about 20 milliseconds. After Load.
  virtual double Time(uint32_t rows) = 0;

  // What attention takes with heads as `config` has them, for some contexts: medians of `rounds`
  // rounds, of random numbers by `seed`. RESOURCE_EXHAUSTED when there is no memory.
  virtual absl::StatusOr<std::vector<AttentionFigures>> MeasureAttention(const ModelConfig& config,
                                                                         Precision kv_precision,
                                                                         uint32_t rounds,
                                                                         uint64_t seed) = 0;
};

}  // namespace recurve

#endif  // RECURVE_ENGINE_BACKEND_MACHINE_PROBE_H_
