// SPDX-License-Identifier: Apache-2.0
// The instruction set that everything of ours is compiled for. recurve_cpu_baseline, linked into a
// program, ends it with a sentence where the processor lacks that.
#ifndef RECURVE_ENGINE_BASE_CPU_BASELINE_H_
#define RECURVE_ENGINE_BASE_CPU_BASELINE_H_

#if defined(__x86_64__)

#include "engine/base/cpu_words.h"

namespace recurve {

// What x86-64-v3 has and these lack, by name, one of them; null if nothing.
const char* MissingOfX86_64V3(const CpuWords& words);

}  // namespace recurve

#endif  // __x86_64__

#endif  // RECURVE_ENGINE_BASE_CPU_BASELINE_H_
