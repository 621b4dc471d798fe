// SPDX-License-Identifier: Apache-2.0
// The processor's bounds, and the CPU backend's products by themselves.
#ifndef RECURVE_ENGINE_BACKEND_CPU_CPU_PROBE_H_
#define RECURVE_ENGINE_BACKEND_CPU_CPU_PROBE_H_

#include <cstdint>
#include <memory>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "engine/backend/cpu/activations.h"
#include "engine/backend/cpu/kernels/huge_buffer.h"
#include "engine/backend/cpu/kernels/kernels.h"
#include "engine/backend/cpu/kernels/packed_matrix.h"
#include "engine/backend/cpu/thread_team.h"
#include "engine/backend/machine_probe.h"
#include "engine/backend/precision.h"

namespace recurve {

// Memory that caches hold little of.
size_t UncachedBytes();

// Has a team of its own, and memory to read from.
class CpuProbe final : public MachineProbe {
 public:
  // Reads `bytes`, and multiplies with as many. RESOURCE_EXHAUSTED when memory or threads are
  // missing. Precondition: threads >= 1, and `isa` is one of SupportedIsas().
  static absl::StatusOr<std::unique_ptr<CpuProbe>> Create(Isa isa, Precision precision,
                                                          uint32_t threads,
                                                          size_t bytes = UncachedBytes());

  MachineRates Measure() override;
  absl::Status Load(const ProductShape& shape, uint32_t most_rows) override;
  uint64_t matrix_bytes() const override { return matrices_.front().bytes(); }
  uint64_t all_bytes() const override { return matrices_.size() * matrix_bytes(); }
  double Time(uint32_t rows) override;
  // On one thread.
  absl::StatusOr<std::vector<AttentionFigures>> MeasureAttention(const ModelConfig& config,
                                                                 Precision kv_precision,
                                                                 uint32_t rounds,
                                                                 uint64_t seed) override;

 private:
  CpuProbe(Isa isa, Precision precision, std::unique_ptr<ThreadTeam> team, HugeBuffer memory);

  double SecondsOfRead();
  // Seconds that all threads need for so many rounds, and the FLOPs of all.
  double SecondsOfPeak(uint64_t rounds, double& flops);
  void RunProducts(uint32_t rows, uint64_t count);

  const Isa isa_;
  const Precision precision_;
  const std::unique_ptr<ThreadTeam> team_;
  HugeBuffer memory_;  // that Measure reads
  // Of Load:
  Epilogue epilogue_ = Epilogue::kStore;
  std::vector<PackedMatrix> matrices_;
  Activations in_, out_, scratch_;
  std::vector<BlockingChoices> blockings_;  // [threads]
  uint64_t products_ = 0;  // that have run, so that each begins with the matrix after the last one
};

}  // namespace recurve

#endif  // RECURVE_ENGINE_BACKEND_CPU_CPU_PROBE_H_
