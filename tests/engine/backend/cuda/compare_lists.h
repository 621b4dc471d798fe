// SPDX-License-Identifier: Apache-2.0
// Where what the device's planner has made differs from what the CPU backend makes of the same
// plan, such as "EXIT row 3 of slot 1: entry is 8, the CPU's is 7". Empty: nowhere.
#ifndef RECURVE_TESTS_ENGINE_BACKEND_CUDA_COMPARE_LISTS_H_
#define RECURVE_TESTS_ENGINE_BACKEND_CUDA_COMPARE_LISTS_H_

#include <string>

#include "tests/engine/backend/cuda/cpu_lists.h"
#include "tests/engine/backend/cuda/fake_device.h"

namespace recurve::cuda {

// After PlanExit: who runs, and the rows of EXIT.
std::string CompareExit(const FakeDevice& device, const CpuLists& cpu);

// After PlanBlock: the rows of ENTRY and of the block.
std::string CompareBlock(const FakeDevice& device, const CpuLists& cpu);

// After RunRows: the caps that rows of the block had.
std::string CompareCaps(const FakeDevice& device, const CpuLists& cpu);

// After Publish: what is kept of each slot.
std::string CompareSlots(const FakeDevice& device, const CpuLists& cpu);

}  // namespace recurve::cuda

#endif  // RECURVE_TESTS_ENGINE_BACKEND_CUDA_COMPARE_LISTS_H_
