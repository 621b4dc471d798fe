// SPDX-License-Identifier: Apache-2.0
// How fast attention is by itself.
#ifndef RECURVE_ENGINE_BACKEND_CPU_ATTENTION_PROBE_H_
#define RECURVE_ENGINE_BACKEND_CPU_ATTENTION_PROBE_H_

#include <cstdint>
#include <vector>

#include "absl/status/statusor.h"
#include "engine/backend/cpu/kernels/isa.h"
#include "engine/backend/machine_probe.h"
#include "engine/backend/precision.h"
#include "engine/model/config.h"

namespace recurve {

// MachineProbe::MeasureAttention on one thread, with contexts of 128, 1,024 and 4,096 entries:
// medians of `rounds` rounds, of random numbers by `seed`. Takes 256 MB. RESOURCE_EXHAUSTED when
// there is no memory.
absl::StatusOr<std::vector<AttentionFigures>> MeasureAttention(const ModelConfig& config, Isa isa,
                                                               Precision kv_precision,
                                                               uint32_t rounds, uint64_t seed);

}  // namespace recurve

#endif  // RECURVE_ENGINE_BACKEND_CPU_ATTENTION_PROBE_H_
