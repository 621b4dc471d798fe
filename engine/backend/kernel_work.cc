// SPDX-License-Identifier: Apache-2.0
#include "engine/backend/kernel_work.h"

#include <algorithm>

namespace recurve {

WorkCount& WorkCount::operator+=(const WorkCount& more) {
  launch_bytes += more.launch_bytes;
  weight_bytes += more.weight_bytes;
  row_bytes += more.row_bytes;
  row_flops += more.row_flops;
  entry_bytes += more.entry_bytes;
  entry_flops += more.entry_flops;
  return *this;
}

WorkCount& WorkCount::operator/=(double parts) {
  launch_bytes /= parts;
  weight_bytes /= parts;
  row_bytes /= parts;
  row_flops /= parts;
  entry_bytes /= parts;
  entry_flops /= parts;
  return *this;
}

double WorkCount::Bytes(double rows, double entries) const {
  const double of_rows = rows > 0 ? weight_bytes + rows * (row_bytes + entries * entry_bytes) : 0;
  return launch_bytes + of_rows;
}

double WorkCount::Flops(double rows, double entries) const {
  return rows * (row_flops + entries * entry_flops);
}

void AddLaunch(const std::string& name, const WorkCount& work, std::vector<KernelWork>& kernels) {
  const auto same = [&](const KernelWork& kernel) {
    return kernel.name == name && kernel.work.part == work.part;
  };
  auto kernel = std::find_if(kernels.begin(), kernels.end(), same);
  if (kernel == kernels.end()) {
    kernels.push_back({name, 0, {.part = work.part}});
    kernel = kernels.end() - 1;
  }
  ++kernel->launches;
  kernel->work += work;
}

}  // namespace recurve
