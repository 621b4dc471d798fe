// SPDX-License-Identifier: Apache-2.0
// The most that one thread computes: what products are measured against.
#ifndef RECURVE_ENGINE_BACKEND_CPU_KERNELS_PEAK_H_
#define RECURVE_ENGINE_BACKEND_CPU_KERNELS_PEAK_H_

#include <cstdint>

#include "engine/backend/cpu/kernels/isa.h"
#include "engine/backend/precision.h"

namespace recurve {

// Runs `rounds` rounds of the multiply-adds that products of `isa`, one of SupportedIsas(), are
// made of in this precision, on registers alone and independent of each other, so that nothing but
// the units that compute them is waited for. Returns how many FLOPs that were: some thousands a
// round.
uint64_t RunPeak(Isa isa, Precision precision, uint64_t rounds);

}  // namespace recurve

#endif  // RECURVE_ENGINE_BACKEND_CPU_KERNELS_PEAK_H_
