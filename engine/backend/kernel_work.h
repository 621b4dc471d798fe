// SPDX-License-Identifier: Apache-2.0
#ifndef RECURVE_ENGINE_BACKEND_KERNEL_WORK_H_
#define RECURVE_ENGINE_BACKEND_KERNEL_WORK_H_

#include <cstdint>
#include <string>
#include <vector>

#include "engine/backend/step.h"

namespace recurve {

// What a kernel moves and computes, as counted from its sizes, pads included.
struct WorkCount {
  StepPart part = kPartExit;  // whose rows these are
  double launch_bytes = 0;    // whatever rows there are, and without any
  double weight_bytes = 0;    // read once, however many rows there are
  double row_bytes = 0, row_flops = 0;
  double entry_bytes = 0, entry_flops = 0;  // for each row and cached entry that it attends to

  WorkCount& operator+=(const WorkCount& more);
  WorkCount& operator/=(double parts);

  // Of a step with so many rows, each of which sees so many entries.
  double Bytes(double rows, double entries) const;
  double Flops(double rows, double entries) const;
};

// All launches of one kernel for one part of a step, or their mean over several steps.
struct KernelWork {
  std::string name;
  double launches = 0;
  WorkCount work;  // of all of them
};

// Adds a launch to the kernels' sums, which come in the order of their first launches.
void AddLaunch(const std::string& name, const WorkCount& work, std::vector<KernelWork>& kernels);

}  // namespace recurve

#endif  // RECURVE_ENGINE_BACKEND_KERNEL_WORK_H_
